//! Decides what a rollout does next, from its plan, the gate's verdict and the time.
//!
//! [`Gate`] turns what versions did into a [`Verdict`], by a sequential test that may be looked at after
//! every response. [`Feed`] gives it what they did, in the order in which requests began. [`Plan`] is the
//! strategy, parsed; [`Phase`] is where a rollout stands; [`advance`] and [`command`] give the [`Decision`],
//! [`apply`] the phase after it. Nothing here acts.
//!
//! Invariants: no clock, no randomness, no input or output; the same inputs give the same decision, so a
//! rollout that is loaded from a store goes on where it stood. Every collection has a bound.

mod feed;
mod gate;
mod joint;
mod phase;
mod plan;
mod signal;

pub use feed::{Drained, Ending, Feed, FeedTicket, Piece, RoundReport, Stretch, VoiceBits, WAIT_MAX};
pub use gate::{
    Against, AlphaBudget, Arm, Bad, Baseline, Batch, CheckState, Counts, EProcess, Evidence, Factor, Floor,
    Gate, GateError, GateFailure, GateScope, GateSpec, GateState, Group, NODES_MAX, PastCounts, RATIOS,
    RUNS_MAX, Response, Run, SideLimits, SignalEvidence, StateError, Thresholds, Trapped, UserSeen, UserSet,
    Verdict, Waiting,
};
pub use joint::{EVERY, Joint, JointEntry, JointMessage, NodeCounts, SILENT};
pub use phase::{
    Command, CommandError, Decision, HoldCause, Phase, Place, Time, advance, apply, command, failed,
};
pub use plan::{OnFail, OnNoData, Plan, PlanError, PlanSpec, Step, StepError, Strategy};
pub use signal::{Class, Event, Signal, SignalError};
