//! What a process knows of messages: which are in progress, which were handled a moment ago, and how many of
//! their deliveries were no attempts. Pure.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use crate::Settled;

/// Handled messages that are remembered, in case the broker did not hear of it and delivers them again.
const HANDLED_MAX: usize = 20_000;

/// Messages of which it is remembered that some deliveries were no attempts.
const SPARED_MAX: usize = 20_000;

/// A message: its number in its stream, and when that got it, in nanoseconds. A stream that is made anew
/// counts from 1 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageKey {
    pub(crate) sequence: u64,
    pub(crate) published_ns: i128,
}

/// What a process knows of messages. `T` is time.
#[derive(Debug)]
pub(crate) struct Deliveries<T> {
    in_progress: HashMap<MessageKey, InProgress<T>>,
    handled: HashSet<MessageKey>,
    // Invariant: has the same keys as `handled`, oldest first.
    order: VecDeque<MessageKey>,
    /// How many deliveries were no attempts.
    spared: HashMap<MessageKey, u32>,
}

#[derive(Debug)]
struct InProgress<T> {
    /// Where the broker wants to hear of it.
    reply: String,
    /// When the broker last heard of it.
    told: T,
    settled: Option<Settled>,
}

/// What is to be done with a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is to be handled, as this attempt.
    Handle {
        /// From 1.
        attempt: u32,
    },
    /// It is in progress.
    Repeated,
    /// It was handled: the broker is to be told once more.
    Handled,
}

impl<T: Copy + PartialOrd> Deliveries<T> {
    pub(crate) fn new() -> Self {
        Self {
            in_progress: HashMap::new(),
            handled: HashSet::new(),
            order: VecDeque::new(),
            spared: HashMap::new(),
        }
    }

    /// Messages in progress, with those that are settled and of which the broker has not heard.
    pub(crate) fn len(&self) -> usize {
        self.in_progress.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_progress.is_empty()
    }

    /// Notes that the message `key` came at `now`, for the time `delivered` by the broker's count, from 1.
    pub(crate) fn came(&mut self, key: MessageKey, delivered: u64, reply: String, now: T) -> Arrival {
        if let Some(in_progress) = self.in_progress.get_mut(&key) {
            (in_progress.reply, in_progress.told) = (reply, now);
            self.spare(key);
            return Arrival::Repeated;
        }
        if self.handled.contains(&key) {
            return Arrival::Handled;
        }
        self.in_progress.insert(key, InProgress { reply, told: now, settled: None });
        let spared = self.spared.get(&key).copied().unwrap_or(0);
        let attempt = delivered.saturating_sub(u64::from(spared)).max(1);
        Arrival::Handle { attempt: u32::try_from(attempt).unwrap_or(u32::MAX) }
    }

    /// Notes that a delivery of `key` was no attempt.
    fn spare(&mut self, key: MessageKey) {
        if self.spared.len() < SPARED_MAX || self.spared.contains_key(&key) {
            *self.spared.entry(key).or_default() += 1;
        }
    }

    /// Notes what becomes of the message `key`. It is in progress until the broker [was told](Self::told).
    pub(crate) fn settle(&mut self, key: MessageKey, settled: Settled) {
        match settled {
            Settled::Acknowledged | Settled::Dead => {
                self.spared.remove(&key);
                if self.handled.insert(key) {
                    self.order.push_back(key);
                }
                if self.order.len() > HANDLED_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.handled.remove(&oldest);
                }
            }
            Settled::Released { .. } => self.spare(key),
            Settled::Retry { .. } => {}
        }
        if let Some(in_progress) = self.in_progress.get_mut(&key) {
            in_progress.settled = Some(settled);
        }
    }

    /// What the broker is to be told of the message `key`, and where; `None` if it is not settled, or the
    /// broker is another now.
    pub(crate) fn news_of(&self, key: MessageKey) -> Option<(&str, &Settled)> {
        let InProgress { reply, settled, .. } = self.in_progress.get(&key)?;
        Some((reply, settled.as_ref()?))
    }

    /// Notes that the broker was told what became of the message `key`.
    pub(crate) fn told(&mut self, key: MessageKey) {
        self.in_progress.remove(&key);
    }

    /// The messages that are settled, of which the broker has not heard.
    pub(crate) fn untold(&self) -> Vec<MessageKey> {
        let untold = self.in_progress.iter().filter(|(_, in_progress)| in_progress.settled.is_some());
        untold.map(|(key, _)| *key).collect()
    }

    /// Where the broker is to hear that messages are still in progress: those of which it heard last before
    /// `before`. They count as told at `now`.
    pub(crate) fn still(&mut self, before: T, now: T) -> Vec<String> {
        let due = self.in_progress.values_mut().filter(|in_progress| in_progress.told < before);
        due.map(|in_progress| {
            in_progress.told = now;
            in_progress.reply.clone()
        })
        .collect()
    }

    /// Forgets all that the broker would have to hear: it has another stream now.
    pub(crate) fn abandon(&mut self) {
        self.in_progress.clear();
    }
}

/// What the broker understands (NATS, "Consumer Details", acknowledgements).
pub(crate) fn acknowledgement(settled: &Settled) -> String {
    let delayed = |after: Duration| {
        if after.is_zero() {
            return "-NAK".to_owned();
        }
        format!("-NAK {{\"delay\":{}}}", after.as_nanos())
    };
    match settled {
        Settled::Acknowledged => "+ACK".to_owned(),
        Settled::Dead => "+TERM".to_owned(),
        Settled::Retry { after } | Settled::Released { after } => delayed(*after),
    }
}

#[cfg(test)]
mod tests;
