//! Changes of an inbox that several processes have in common. Each of them keeps all of it, and applies the
//! same changes in the same order, so that all come to the same.
//!
//! What may take long to decide, such as who has events of which triggers in flight, is decided outside.
//! Here is only what makes a decision that is out of date have no effect: a change that a holder makes names
//! its place, and is refused once somebody else has taken that.

use super::{DeadEvent, DeadLetters, Finish, InboxError, Mark, NewEvent, Put};

/// A process that alone takes the events of some triggers, its *shard*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHolder {
    /// The shard.
    pub shard: u16,
    /// The process.
    pub process: String,
    /// The number of its lease. One that took the shard later has a greater one.
    pub fence: u64,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxChange {
    /// From here on, this process has the shard. A process that has it already goes on: what it took before
    /// is still its own.
    Hold(ShardHolder),
    /// See [`Inbox::put`](super::Inbox::put). Refused unless all of `holders` hold their shards.
    Put {
        /// What to put.
        events: Vec<NewEvent>,
        /// What changes with it.
        marks: Vec<Mark>,
        /// Who has to have its shard.
        holders: Vec<ShardHolder>,
    },
    /// See [`Inbox::finish`](super::Inbox::finish). Refused unless `holder` has held the shard since it took
    /// the event, and the event waits for this attempt.
    Finish {
        /// The trigger.
        trigger: String,
        /// Where the event is among all.
        position: u64,
        /// Which attempt has ended, from 1.
        attempt: u32,
        /// Who took it.
        holder: ShardHolder,
        /// How it ended.
        finish: Finish,
    },
    /// See [`Inbox::bury`](super::Inbox::bury).
    Bury(DeadEvent),
    /// See [`Inbox::redrive`](super::Inbox::redrive) and [`Inbox::discard`](super::Inbox::discard). Applies
    /// to some, and tells what is left.
    Dispose {
        /// The trigger.
        trigger: String,
        /// Which dead letters.
        letters: DeadLetters,
        /// Only those up to this position.
        last: u64,
        /// Whether they are put into the inbox again; else they are removed.
        is_redriven: bool,
    },
    /// See [`Inbox::forget`](super::Inbox::forget). Nothing is done if the trigger has an event behind this
    /// position: it was made anew.
    Forget {
        /// The trigger.
        trigger: String,
        /// The last position that is known to be of the trigger that is gone.
        last: u64,
    },
}

/// What a change led to.
#[derive(Debug)]
pub enum ChangeOutcome {
    /// Whether the process has the shard: it has unless another took it with a greater fence.
    Held(bool),
    /// Of a put.
    Put(Result<Vec<Put>, InboxError>),
    /// Of an end of a delivery.
    Finished(Result<(), InboxError>),
    /// Of a burial.
    Buried(Result<Put, InboxError>),
    /// How many dead letters were disposed of, and which are left to dispose of.
    Disposed(Result<(u64, Option<DeadLetters>), InboxError>),
    /// Whether the trigger is forgotten.
    Forgotten(bool),
}

/// A place in the log of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPlace {
    /// What tells the log from others; 0 if nothing was applied yet.
    pub log: u64,
    /// The number of the last entry that was applied; 0 if none was.
    pub sequence: u64,
    /// What tells that entry from others.
    pub digest: u64,
}
