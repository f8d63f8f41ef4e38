//! Decides which version of which function answers a request, and counts how invocations end.
//!
//! A [`RouteTable`] is built once per revision and never changes. Requests read it without a lock and keep
//! the one that they started with. Routes, roles, cumulative weights and names of headers are prepared when
//! the table is built, so a request only looks up and compares.
//!
//! Invariants: no clock, no random source, no environment: the draw is an argument. The router knows versions
//! by number and carries the caller's handle `V` without looking at it. No request, however hostile, makes it
//! panic, allocate more than a bounded text, or do work that grows with the number of functions.

mod clash;
#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;
mod key_skew;
mod observer;
mod paths;
mod preview;
mod request_attributes;
mod salt;
mod shielding;
mod stage;
mod table;
mod tally;

pub use clash::{RouteClash, check_clashes};
pub use observer::{Assignment, Observation, ObservationTicket, Placement, Recalled, TrafficObserver};
pub use preview::PreviewMatch;
pub use request_attributes::RequestAttributes;
pub use salt::Salt;
pub use shielding::Shielding;
pub use stage::{
    BaselineSpec, Chosen, ComparisonSpec, HeldVersion, KEY_HEADER, NoSuchVersion, PlacedCohort, Reason,
    Stage, StageError, StageProblem, StageSpec, StageVersion, VersionEntry,
};
pub use table::{RouteTable, matching_route};
pub use tally::{
    Distribution, InvocationRecord, LatencyCounts, LatencyExemplar, Tally, TallySnapshot, TrapNews,
    TrapReporter,
};
