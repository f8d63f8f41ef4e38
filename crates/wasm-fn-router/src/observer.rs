//! The observer of a stage's traffic: it learns how requests began and ended, and may withhold the canary.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use wasm_fn_core::{Side, Trap};

use crate::InvocationRecord;

/// Observes the traffic of a stage to compare a canary with the version that it is to replace.
///
/// Each table has its own observer. A request keeps the one of the table that it started with, so the
/// observer knows the canary's share at that time.
pub trait TrafficObserver: Send + Sync {
    /// Takes note that a request begins at `at`. [`request_ended`](Self::request_ended) follows exactly once.
    fn request_began(&self, assignment: &Assignment, at: Instant) -> ObservationTicket;

    /// Takes note that a request ended. This runs in the request's own task: it must not block.
    fn request_ended(&self, observation: &Observation<'_>);

    /// Whether requests must not go to the canary any more, although the table says so: the decision to end
    /// it has been made but is not published yet.
    fn is_withheld(&self) -> bool;

    /// Completes when running requests on the canary are to be cut off; at once if they already are.
    fn recalled(&self) -> Recalled;
}

/// See [`TrafficObserver::recalled`].
pub type Recalled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Identifies a running request to its observer. Only the observer knows what the number means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObservationTicket(pub u64);

/// How a request came to its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// By a draw or the user's key: it counts for the comparison.
    Chance,
    /// By a cohort rule: it has no share, and is judged apart.
    Rule,
    /// By an override: it counts for nothing.
    Request,
}

/// The part of a request in its stage's comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The side that answers it.
    pub side: Side,
    /// How it came there.
    pub placement: Placement,
    /// 64-bit hash of the user's key.
    pub user: Option<u64>,
    /// The time after which the fallback answers in its place; `None` if the fallback never does.
    pub fallback_after: Option<Duration>,
}

/// The end of one observed request.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// What [`TrafficObserver::request_began`] returned.
    pub ticket: ObservationTicket,
    /// The side that answered, or failed to.
    pub side: Side,
    /// How the request came there.
    pub placement: Placement,
    /// How it ended.
    pub record: InvocationRecord,
    /// Whether the client left while the version worked, after it had sent everything. Then
    /// [`InvocationRecord::latency`] is how long the client waited for the version.
    pub abandoned: bool,
    /// When it ended.
    pub at: Instant,
    /// 64-bit hash of the user's key.
    pub user: Option<u64>,
    /// The id of the request.
    pub request_id: u128,
    /// The trap that ended it.
    pub trap: Option<&'a Trap>,
}
