//! Another node, as far as it was heard.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{JointEntry, JointMessage, SILENT};
use crate::RoundReport;

/// Maximum number of reports of one node that wait for those of others.
const WAITING_MAX: usize = 64;

/// Maximum number of entries of one node that wait for those before them.
const EARLY_MAX: usize = 64;

/// How long to wait for an entry that is late, before it is asked for.
const LATE: Duration = Duration::from_millis(4);

/// How long to wait for what was asked for.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Another node.
#[derive(Debug)]
pub(super) struct Member {
    instance: u64,
    /// Its life before this one, whose late messages do not count.
    earlier: Option<u64>,
    heard: Instant,
    /// The round in which it was when it last was heard.
    pub(super) round: u64,
    /// The newest round that it had heard of then.
    wanted: u64,
    pub(super) begun: [u64; 2],
    pub(super) contribution: Contribution,
    /// Whether it was silent or deaf for too long, and what it had heard of by then.
    gone: Option<u64>,
    /// Number of the entry that must come next.
    next: u64,
    /// Number of the entry that it will have next.
    end: u64,
    // Invariant: at most EARLY_MAX.
    early: BTreeMap<u64, JointEntry>,
    /// When to ask for what is missing.
    ask_at: Option<Instant>,
}

/// The reports of one node that the gate has not taken.
#[derive(Debug)]
pub(super) struct Contribution {
    /// The first round that counts.
    from: u64,
    /// All rounds before this one were reported.
    pub(super) reported: u64,
    // Invariant: at most WAITING_MAX.
    pub(super) rounds: BTreeMap<u64, RoundReport>,
}

impl Member {
    /// How many rounds a node can be ahead of another. A number above is garbled.
    pub(super) const AHEAD_MAX: u64 = 1 << 40;

    pub(super) fn new(message: &JointMessage, earlier: Option<u64>, now: Instant) -> Self {
        // What happened on it may be why it is heard now, so that must not count.
        let from = if message.is_fresh { message.round } else { message.round.saturating_add(1) };
        Self {
            instance: message.instance,
            earlier,
            heard: now,
            round: message.round,
            wanted: message.wanted,
            begun: message.begun,
            contribution: Contribution::from(from),
            gone: None,
            next: message.first,
            end: message.end,
            early: BTreeMap::new(),
            ask_at: None,
        }
    }

    /// Whether `message` was sent before the node started again.
    pub(super) fn is_of_earlier_life(&self, message: &JointMessage) -> bool {
        self.earlier == Some(message.instance)
    }

    /// Begins again if the node did, or if it was not waited for and hears again; it does if it is in
    /// `round`. Returns whether it started again.
    pub(super) fn meet(&mut self, message: &JointMessage, round: u64, now: Instant) -> bool {
        if message.instance != self.instance {
            *self = Self::new(message, Some(self.instance), now);
            return true;
        }
        if self.gone.is_some_and(|heard_of| message.round >= round || message.wanted > heard_of) {
            self.gone = None;
            self.contribution.go_on_from(message.round.saturating_add(1));
        }
        false
    }

    /// Takes note of everything but the entries.
    pub(super) fn note(&mut self, message: &JointMessage, now: Instant) {
        self.heard = now;
        self.round = self.round.max(message.round);
        self.wanted = self.wanted.max(message.wanted).max(self.round);
        for (begun, heard) in self.begun.iter_mut().zip(message.begun) {
            *begun = (*begun).max(heard);
        }
    }

    /// The entries that are next, now that `message` is there.
    pub(super) fn take_entries(&mut self, message: JointMessage, now: Instant) -> Vec<JointEntry> {
        if message.oldest > self.next {
            // They cannot be told again.
            self.next = message.oldest;
            self.contribution.go_on_from(message.round.saturating_add(1));
        }
        self.end = self.end.max(message.end);
        for (number, entry) in
            (message.first..).zip(message.entries).filter(|(number, _)| *number >= self.next)
        {
            if self.early.len() < EARLY_MAX || number == self.next {
                self.early.insert(number, entry);
            }
        }
        let mut taken = Vec::new();
        while let Some(entry) = self.early.remove(&self.next) {
            taken.push(entry);
            self.next += 1;
        }
        self.early = self.early.split_off(&self.next);
        if self.next >= self.end {
            self.ask_at = None;
        } else if self.ask_at.is_none() {
            self.ask_at = now.checked_add(LATE);
        }
        taken
    }

    /// Whether entries are missing.
    pub(super) fn misses(&self) -> bool {
        self.ask_at.is_some() && self.gone.is_none()
    }

    /// Its instance and the entry from which on it must tell again, if that is to be asked now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.ask_at.filter(|at| *at <= now && self.gone.is_none())?;
        self.ask_at = now.checked_add(ASK_AGAIN);
        Some((self.instance, self.next))
    }

    /// Lets nobody wait for it.
    pub(super) fn leave(&mut self) {
        self.gone.get_or_insert(self.wanted);
    }

    /// Whether it is waited for by a node that `entered` its `round` then. One that was told of the round and
    /// has no room for it is.
    pub(super) fn is_live(&self, round: u64, entered: Instant, now: Instant) -> bool {
        let soon = |since| now.saturating_duration_since(since) < SILENT;
        self.gone.is_none() && soon(self.heard) && (self.wanted >= round || soon(entered))
    }
}

impl Contribution {
    /// What counts from `round` on.
    pub(super) fn from(round: u64) -> Self {
        Self { from: round, reported: round, rounds: BTreeMap::new() }
    }

    /// Takes `report`, unless the gate has taken its round already: `next` is the oldest that it has not.
    pub(super) fn take(&mut self, report: &RoundReport, next: u64) {
        self.reported = self.reported.max(report.next);
        if report.round >= self.from.max(next) {
            self.rounds.insert(report.round, report.clone());
        }
        if self.rounds.len() > WAITING_MAX {
            self.rounds.clear();
        }
    }

    /// Leaves out what comes before `round`.
    fn go_on_from(&mut self, round: u64) {
        self.from = self.from.max(round);
        self.reported = self.reported.max(round);
    }
}
