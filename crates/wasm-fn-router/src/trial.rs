//! A rollout as requests meet it: who hears how they ended, and whether the canary may still be chosen.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use wasm_fn_core::{Side, Trap, VersionNo};

use crate::Ended;

/// Compares a canary with what it is to replace, response by response.
///
/// One trial belongs to one table: requests carry the trial they started with, so it knows the canary's
/// share at their start.
pub trait Trial: Send + Sync {
    /// Takes the beginning of one request, at `at`. Each that began [ends](Self::hear), once.
    fn begin(&self, part: &Part, at: Instant) -> Ticket;

    /// Takes the end of one request. Called on the request's own task: it must not block.
    fn hear(&self, heard: &Heard<'_>);

    /// Whether nobody is to be placed on the canary any more, though the table says otherwise: its
    /// end is decided and on its way.
    fn is_withheld(&self) -> bool;

    /// Ends when requests under way on the canary are to be cut off; at once when they already are.
    fn recalled(&self) -> Recalled;
}

/// See [`Trial::recalled`].
pub type Recalled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a trial knows a request by, for as long as that is under way; its own affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// How a request came to its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// By a draw or the user's key: it counts for the comparison.
    Chance,
    /// By a cohort rule: it has no share, and is judged apart.
    Rule,
    /// Somebody asked for the version: it is judged by nobody.
    Request,
}

/// The end of one request.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// What its beginning gave.
    pub ticket: Ticket,
    /// Who answered, or failed to.
    pub side: Side,
    /// How it came there.
    pub placement: Placement,
    /// How it ended.
    pub ended: Ended,
    /// Whether its client left while the version worked, having sent all that it had to send: then
    /// [`Ended::latency`] is how long it had waited for the version.
    pub abandoned: bool,
    /// When it ended.
    pub at: Instant,
    /// 64-bit hash of the user's key.
    pub user: Option<u64>,
    /// The request's id.
    pub request_id: u128,
    /// The trap that ended it.
    pub trap: Option<&'a Trap>,
}

/// A trial with its place in a stage.
#[derive(Clone)]
pub struct TrialSpec {
    /// Who hears.
    pub trial: Arc<dyn Trial>,
    /// The version under test; `None` while there is none, and the trial hears of the cohorts that would be on it.
    pub canary: Option<VersionNo>,
    /// The version it is compared with, which takes its requests when it is withheld.
    pub fallback: VersionNo,
    /// Whether `fallback` answers requests that failed on the canary: the time after which one that has not
    /// answered counts as failed, for there must be time left for the second run.
    pub shield: Option<Duration>,
}

/// A request's part in its stage's trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which side it is on.
    pub side: Side,
    /// How it came there.
    pub placement: Placement,
    /// 64-bit hash of the user's key.
    pub user: Option<u64>,
    /// Whether the stage's fallback answers if it fails: the time after which it has.
    pub shield: Option<Duration>,
}
