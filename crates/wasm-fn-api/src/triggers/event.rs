//! Events in the inbox, and what is done with them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InboxView, TriggerCountsView};
use crate::words::{EventsOfText, FunctionText, StageText, TriggerText};

/// A schedule runs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerRun {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = TriggerText)]
    pub trigger: String,
    /// The id of the event.
    pub event: String,
}

/// The body of `POST …/triggers/{trigger}/backfill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// The first time, Unix milliseconds.
    pub from_ms: u64,
    /// The last time, Unix milliseconds.
    pub to_ms: u64,
}

/// A schedule runs for times that are past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerBackfilled {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = TriggerText)]
    pub trigger: String,
    /// How many runs were put into the inbox. Times that ran within the last day do not run again.
    pub runs: u64,
    /// Where to go on, if there were more times than one request takes, which is 1,000; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_ms: Option<u64>,
}

/// Which events to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventsState {
    /// Those that wait or are being delivered.
    #[default]
    Waiting,
    /// The dead letters.
    Dead,
}

/// Parameters of `GET …/triggers/{trigger}/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Which events; `waiting` if absent.
    #[serde(default)]
    #[param(inline)]
    pub state: EventsState,
    /// Only events behind this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many events, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Events of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsPage {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = EventsOfText)]
    pub trigger: String,
    /// The events, in the order in which they came.
    pub events: Vec<EventView>,
    /// Whether there are more: ask again with `after` set to the last position here.
    pub more: bool,
    /// What the trigger has in the inbox.
    pub inbox: InboxView,
    /// What became of its events since the node started.
    pub counts: TriggerCountsView,
}

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its id, unique within the trigger.
    pub id: String,
    /// Its place in the list, which grows with each event that comes.
    pub position: u64,
    /// When it came, Unix milliseconds.
    pub arrived_ms: u64,
    /// What it is in order with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// What became of it.
    pub state: EventStateView,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum EventStateView {
    /// It waits.
    Waiting {
        /// When it is due, Unix milliseconds.
        due_ms: u64,
        /// Deliveries that were made.
        attempts: u32,
        /// Why the last one failed; absent before the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It is being delivered.
    Running {
        /// Deliveries that were made before.
        attempts: u32,
    },
    /// The function has handled it.
    Acknowledged {
        /// When, Unix milliseconds.
        at_ms: u64,
        /// What is remembered of the answer.
        text: String,
    },
    /// It is a dead letter.
    Dead {
        /// Since when, Unix milliseconds.
        at_ms: u64,
        /// Deliveries that were made.
        attempts: u32,
        /// Why it was given up.
        reason: String,
    },
    /// It was a dead letter, and somebody removed it.
    Discarded {
        /// When, Unix milliseconds.
        at_ms: u64,
    },
}

/// An event: the answer to `GET …/triggers/{trigger}/events/{event}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventStatus {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = EventsOfText)]
    pub trigger: String,
    /// Its id.
    pub id: String,
    /// What became of it.
    pub state: EventStateView,
    /// When it came, Unix milliseconds; absent if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_ms: Option<u64>,
    /// What it is in order with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// What is delivered; absent if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<EventRequestView>,
}

/// The request by which a function gets an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRequestView {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its headers, without those that the node adds to each delivery.
    pub headers: Vec<EventHeaderView>,
    /// Its body, if that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its body in base64 (RFC 4648, section 4), if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// A header of an event's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventHeaderView {
    /// Its name.
    pub name: String,
    /// Its value, with U+FFFD for what is not UTF-8; absent if it is a credential, which is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The body of `POST …/events/redrive` and `…/events/discard`: either ids, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersRequest {
    /// The dead letters with these ids, at most 1,000. Other ids are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// All dead letters of the trigger.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub all: bool,
}

/// Dead letters were redriven or discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLettersChanged {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The trigger.
    #[schema(value_type = EventsOfText)]
    pub trigger: String,
    /// How many.
    pub events: u64,
}
