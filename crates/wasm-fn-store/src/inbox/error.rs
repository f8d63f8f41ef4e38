//! Why the inbox refuses.

use std::fmt;

use crate::StoreError;

/// What the inbox has a bound for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxBound {
    /// Waiting events of all triggers.
    Events,
    /// Bytes of waiting events of all triggers.
    Bytes,
    /// Waiting events of this trigger.
    EventsOf(String),
    /// Bytes of waiting events of this trigger.
    BytesOf(String),
    /// Dead letters of this trigger.
    DeadLettersOf(String),
    /// Bytes of dead letters of this trigger.
    DeadLetterBytesOf(String),
    /// Triggers.
    Triggers,
    /// Marks.
    Marks,
}

impl fmt::Display for InboxBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("waiting events"),
            Self::Bytes => f.write_str("bytes of waiting events"),
            Self::EventsOf(trigger) => write!(f, "waiting events of `{trigger}`"),
            Self::BytesOf(trigger) => write!(f, "bytes of waiting events of `{trigger}`"),
            Self::DeadLettersOf(trigger) => write!(f, "dead letters of `{trigger}`"),
            Self::DeadLetterBytesOf(trigger) => write!(f, "bytes of dead letters of `{trigger}`"),
            Self::Triggers => f.write_str("triggers"),
            Self::Marks => f.write_str("marks"),
        }
    }
}

/// Why the inbox refuses.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// There is no room.
    #[error("inbox is full: {found} {what}, expected at most {limit}")]
    Full {
        /// What there would be too many of.
        what: InboxBound,
        /// How many there would be.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A part of an event or of a mark is too large.
    #[error("{what} has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The size that it may have.
        limit: u64,
    },
    /// The delivery was ended before, its trigger was forgotten, or the inbox was opened anew.
    #[error("event is not in flight")]
    NotInFlight,
    /// Another process takes the events of the trigger.
    #[error("another node has the trigger now")]
    NotHeld,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
