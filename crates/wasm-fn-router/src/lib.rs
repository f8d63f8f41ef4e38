//! Decides which version of which function answers a request, and counts how its invocations end.
//!
//! A [`RouteTable`] is built once per revision and never changes: requests read it without a lock and
//! keep the one they started with. What is decided per table (routes, roles, cumulative weights, names
//! of headers) is computed when it is built, so that a request only probes and compares.
//!
//! Invariants: no clock, no random source, no environment: the draw is an argument. The router knows
//! versions by number and carries the caller's handle `V` without looking at it. No request, however
//! hostile, makes it panic, allocate more than a bounded text, or do work that grows with the number of
//! functions.

mod clash;
mod crowd;
mod paths;
mod preview;
mod salt;
mod shielding;
mod stage;
mod table;
mod tally;
mod traits;
mod trial;

pub use clash::{RouteClash, check_clashes};
pub use preview::Preview;
pub use salt::Salt;
pub use shielding::Shielding;
pub use stage::{
    BaselineSpec, Chosen, HeldVersion, KEY_HEADER, NoSuchVersion, PlacedCohort, Reason, Stage, StageError,
    StageProblem, StageSpec, StageVersion, VersionEntry,
};
pub use table::RouteTable;
pub use tally::{Ended, Tally, TallySnapshot};
pub use traits::Traits;
pub use trial::{Heard, Part, Placement, Recalled, Ticket, Trial, TrialSpec};
