//! Events, and what is said about them.

use std::sync::Arc;

use bytes::Bytes;

/// The bounds of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// Events that may wait or be in flight, of all triggers.
    pub events_max: u64,
    /// Their bytes.
    pub bytes_max: u64,
    /// Events that may wait or be in flight, of one trigger.
    pub trigger_events_max: u64,
    /// Their bytes.
    pub trigger_bytes_max: u64,
    /// Bytes of one event: its id, its ordering key and its body.
    pub event_bytes_max: u64,
    /// Dead letters of one trigger, until it is blocked.
    pub dead_max: u64,
    /// Their bytes, until it is blocked. The last one may exceed it.
    pub dead_bytes_max: u64,
    /// Finished events of one trigger that are remembered; the oldest are forgotten first.
    pub remembered_max: u64,
    /// How long finished events are remembered, in milliseconds.
    pub remembered_ms: u64,
    /// Triggers.
    pub triggers_max: u64,
    /// Marks.
    pub marks_max: u64,
}

impl InboxLimits {
    /// The bounds of a node: a million events in 1 GiB, a tenth of each for one trigger.
    pub const STANDARD: Self = Self {
        events_max: 1_000_000,
        bytes_max: 1 << 30,
        trigger_events_max: 100_000,
        trigger_bytes_max: 100 << 20,
        event_bytes_max: 1 << 20,
        dead_max: 10_000,
        dead_bytes_max: 100 << 20,
        remembered_max: 100_000,
        remembered_ms: 24 * 60 * 60 * 1000,
        triggers_max: 10_000,
        marks_max: 100_000,
    };

    /// Bytes of a trigger's name, of an id, of an ordering key, and of a mark's name.
    pub const NAME_BYTES_MAX: usize = 512;

    /// Bytes of the text of an acknowledgement or of a reason. Longer ones are cut.
    pub const TEXT_BYTES_MAX: usize = 1024;

    /// Bytes of a mark.
    pub const MARK_BYTES_MAX: usize = 4096;
}

/// Which event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// The trigger that it belongs to: `function/stage/trigger`.
    pub trigger: String,
    /// Its id, unique within the trigger.
    pub id: String,
}

/// An event to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Which event. One with the key of an event that is there or remembered is not put again.
    pub key: EventKey,
    /// When it is due.
    pub due_ms: u64,
    /// What it is to be in order with.
    pub ordering_key: Option<String>,
    /// What is delivered.
    pub body: Bytes,
}

/// An event to put as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEvent {
    /// Which event. One with the key of an event that is there or remembered is not put again.
    pub key: EventKey,
    /// Attempts that were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// What is delivered if it is redriven.
    pub body: Bytes,
}

/// A named value that changes together with the inbox, such as the last tick of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The trigger that it is about. Who takes the events of that trigger changes it.
    pub trigger: String,
    /// Its name.
    pub name: String,
    /// Its new value; `None` to remove it.
    pub value: Option<Bytes>,
}

/// Whether an event was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was.
    Accepted,
    /// It was not: one with its key is there or remembered.
    Duplicate,
}

/// What to take.
#[derive(Clone, Debug)]
pub struct Take<A> {
    /// At most so many events.
    pub events_max: usize,
    /// Events until they have so many bytes; at least one.
    pub bytes_max: u64,
    /// Whether one more event of a trigger may be in flight, beside as many as are. It is asked only about an
    /// event that is taken if it may. It must be quick, and not call the inbox.
    pub admit: A,
}

/// The right to finish a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub(crate) u64);

/// An event in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenEvent {
    /// Finishes this delivery.
    pub receipt: Receipt,
    /// The trigger.
    pub trigger: Arc<str>,
    /// The id.
    pub id: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it was due.
    pub due_ms: u64,
    /// When it was put.
    pub arrived_ms: u64,
    /// What it is in order with.
    pub ordering_key: Option<String>,
    /// What was put.
    pub body: Bytes,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The event was handled.
    Acknowledged {
        /// What is remembered of it, such as status and version.
        text: String,
    },
    /// It is to be delivered again.
    Retry {
        /// When.
        due_ms: u64,
        /// Why.
        reason: String,
    },
    /// It is given up.
    Dead {
        /// Why.
        reason: String,
    },
    /// Nothing was tried: it waits again, and the attempt does not count.
    Released,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It waits.
    Waiting {
        /// When it is due.
        due_ms: u64,
        /// Attempts that were made.
        attempts: u32,
        /// Why the last one failed; empty before the first.
        reason: String,
    },
    /// It is in flight.
    Running {
        /// Attempts that were made before.
        attempts: u32,
    },
    /// It was handled.
    Acknowledged {
        /// When.
        at_ms: u64,
        /// What was said of it.
        text: String,
    },
    /// It is a dead letter.
    Dead {
        /// Since when.
        at_ms: u64,
        /// Attempts that were made.
        attempts: u32,
        /// Why it was given up.
        reason: String,
    },
    /// It was a dead letter, and was removed.
    Discarded {
        /// When.
        at_ms: u64,
    },
}

/// Part of a list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Only events behind this [position](StoredEvent::position).
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the list, which grows with each event that is put.
    pub position: u64,
    /// The id.
    pub id: String,
    /// When it was put.
    pub arrived_ms: u64,
    /// What it is in order with.
    pub ordering_key: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// What became of it.
    pub state: EventState,
}

/// Which dead letters of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// Those with these ids. Ids that are not those of dead letters are ignored.
    Ids(Vec<String>),
    /// All of them.
    All,
}

/// What a trigger has in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerCounts {
    /// The trigger.
    pub trigger: Arc<str>,
    /// Events that wait.
    pub waiting: u64,
    /// Bytes of events that wait or are in flight.
    pub bytes: u64,
    /// Events in flight.
    pub in_flight: u64,
    /// Dead letters.
    pub dead: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// When the oldest event arrived that waits or is in flight.
    pub oldest_arrived_ms: Option<u64>,
    /// The position of its last event that waits, is in flight or is dead; 0 if there is none.
    pub last: u64,
    /// Whether its box of dead letters is full, so that none of its events is taken.
    pub is_blocked: bool,
}
