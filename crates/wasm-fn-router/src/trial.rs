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

/// The end of one request.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// Who answered, or failed to.
    pub side: Side,
    /// Whether chance or the user's key placed it, so that it counts for the comparison. Requests that a
    /// cohort rule or an override placed do not.
    pub placed: bool,
    /// How it ended.
    pub ended: Ended,
    /// When it ended.
    pub at: Instant,
    /// 64-bit hash of the user's key, when that placed it.
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
    /// The version under test.
    pub canary: VersionNo,
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
    /// See [`Heard::placed`].
    pub placed: bool,
    /// 64-bit hash of the user's key, when that placed it.
    pub user: Option<u64>,
    /// Whether the stage's fallback answers if it fails: the time after which it has.
    pub shield: Option<Duration>,
}
