//! Whether the node is in touch with its cluster: it knows everything that the cluster had decided a lease
//! ago.
//!
//! Two proofs are needed, each as old as the question that led to it. The leader of the log said which commit
//! was the last, and this node has published it. And a majority of the brokers wrote what this node sent,
//! since a leader that others have deposed does not know it yet. Time is an argument in [`Proofs`], which is
//! pure; it is counted from before a question was sent, on a clock that goes on while the process is stopped.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::Revision;

use crate::looking;

/// Proofs at most that wait until what they are about is published.
const UNPUBLISHED_MAX: usize = 64;

/// What part of a lease is left unused, for clocks that run at different speeds.
const MARGIN_DIVISOR: u32 = 10;

/// The bound of [`patience`].
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// Whether the node is in touch with its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// It is.
    In,
    /// It is not.
    Out {
        /// Since when, Unix milliseconds.
        since_ms: u64,
        /// Why, as far as it is known.
        reason: String,
    },
}

/// Says whether the node is in touch with its cluster.
#[derive(Clone)]
pub struct Contact {
    shared: Arc<Shared>,
}

struct Shared {
    lease: Duration,
    state: Mutex<Kept>,
    sender: watch::Sender<ContactState>,
}

struct Kept {
    proofs: Proofs<Instant>,
    /// What the node has published; everything until it says.
    published: Revision,
    /// When the log was asked, and what it ended with: the newest that was published, and those that are not,
    /// in their order.
    newest: Option<(Instant, Revision)>,
    unpublished: VecDeque<(Instant, Revision)>,
    reason: String,
    /// When there was no proof yet.
    began: Instant,
}

/// When the questions were sent that led to the last proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proofs<T> {
    log: Option<T>,
    majority: Option<T>,
}

impl<T> Default for Proofs<T> {
    fn default() -> Self {
        Self { log: None, majority: None }
    }
}

impl<T: Copy + Ord + std::ops::Add<Duration, Output = T>> Proofs<T> {
    /// Until when both count.
    pub(crate) fn until(&self, lease: Duration) -> Option<T> {
        Some(self.log?.min(self.majority?) + usable(lease))
    }
}

/// The part of a lease for which its holder may count on it.
pub(crate) fn usable(lease: Duration) -> Duration {
    lease - lease / MARGIN_DIVISOR
}

/// Longest time to wait for an answer on which a lease depends, before the same is asked again: one that is
/// lost does not end the lease.
pub(crate) fn patience(lease: Duration) -> Duration {
    PATIENCE_MAX.min(lease * 2 / 5)
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("state", &*self.shared.sender.borrow()).finish_non_exhaustive()
    }
}

impl Contact {
    /// Looks at the clock, on the current tokio runtime, until `stop`.
    pub(crate) fn start(lease: Duration, stop: CancellationToken) -> Self {
        let reason = "there was no connection to the broker yet".to_owned();
        let kept = Kept {
            proofs: Proofs::default(),
            published: Revision(u64::MAX),
            newest: None,
            unpublished: VecDeque::new(),
            reason: reason.clone(),
            began: Instant::now(),
        };
        let (sender, _) = watch::channel(ContactState::Out { since_ms: unix_ms(Duration::ZERO), reason });
        let contact = Self { shared: Arc::new(Shared { lease, state: Mutex::new(kept), sender }) };
        let looking = contact.clone();
        looking::until(stop, move || {
            looking.look();
        });
        contact
    }

    /// Whether the node is in touch. It looks at the clock, so that a process that was stopped is out of
    /// touch at once when it goes on.
    pub fn is_in_touch(&self) -> bool {
        self.look() == ContactState::In
    }

    /// Whether the node is in touch, now.
    pub fn state(&self) -> ContactState {
        self.look()
    }

    /// Whether the node is in touch, as it changes. It lags by some milliseconds.
    pub fn watch(&self) -> watch::Receiver<ContactState> {
        self.shared.sender.subscribe()
    }

    /// The node publishes what it has from now on, and has published `revision`. Until it says so for the
    /// first time, it has published what its replica has.
    pub fn published(&self, revision: Revision) {
        self.kept().publish(revision);
        self.look();
    }

    /// The node's replica has everything up to `last`, with which the log of the leader ended when it was
    /// asked, at `asked` or later.
    pub(crate) fn caught_up(&self, asked: Instant, last: Revision) {
        self.kept().caught_up(asked, last);
        self.look();
    }

    /// A majority wrote what was sent at `asked`.
    pub(crate) fn written(&self, asked: Instant) {
        {
            let proofs = &mut self.kept().proofs;
            proofs.majority = proofs.majority.max(Some(asked));
        }
        self.look();
    }

    /// Why there will be no proof, or there was none lately.
    pub(crate) fn missing(&self, reason: impl Into<String>) {
        self.kept().reason = reason.into();
    }

    /// Why there was no proof lately.
    pub(crate) fn reason(&self) -> String {
        self.kept().reason.clone()
    }

    fn look(&self) -> ContactState {
        let kept = self.kept();
        let now = Instant::now();
        let until = kept.proofs.until(self.shared.lease);
        let state = match until {
            Some(until) if now < until => ContactState::In,
            until => ContactState::Out {
                since_ms: unix_ms(now.saturating_duration_since(until.unwrap_or(kept.began))),
                reason: kept.reason.clone(),
            },
        };
        self.shared.sender.send_if_modified(|told| {
            let is_new = match (&*told, &state) {
                (ContactState::In, ContactState::In) => false,
                // The time is computed anew each time, and tells nothing new.
                (ContactState::Out { reason: told, .. }, ContactState::Out { reason, .. }) => told != reason,
                _ => true,
            };
            if is_new {
                match (&mut *told, &state) {
                    (ContactState::Out { reason: told, .. }, ContactState::Out { reason, .. }) => {
                        told.clone_from(reason);
                    }
                    (told, state) => *told = state.clone(),
                }
            }
            is_new
        });
        state
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Nothing panics while holding the lock.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn publish(&mut self, revision: Revision) {
        self.published = revision;
        // Only at first: what is published grows after that.
        if let Some(newest) = self.newest.take_if(|(_, last)| *last > revision) {
            self.proofs.log = None;
            self.unpublished.push_front(newest);
        }
        self.prove();
    }

    fn caught_up(&mut self, asked: Instant, last: Revision) {
        if self.unpublished.len() == UNPUBLISHED_MAX {
            self.unpublished.pop_front();
        }
        self.unpublished.push_back((asked, last));
        self.prove();
    }

    fn prove(&mut self) {
        while let Some((asked, last)) = self.unpublished.pop_front_if(|(_, last)| *last <= self.published) {
            self.newest = Some((asked, last));
            self.proofs.log = self.proofs.log.max(Some(asked));
        }
    }
}

/// The time `ago`, Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "people are told when it was; nothing is decided by it")]
fn unix_ms(ago: Duration) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
}

/// A time in Unix milliseconds, for people.
pub(crate) fn rfc3339(ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}

#[cfg(test)]
mod tests;
