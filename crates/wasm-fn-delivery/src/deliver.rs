//! The interface through which events reach the data plane.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_events::Redeliver;

/// Delivers events to functions, as the data plane delivers requests.
pub trait Deliver: Send + Sync + 'static {
    /// The canary of a stage, if it has one besides stable.
    fn canary(&self, function: &FunctionName, stage: &StageName) -> Option<VersionNo>;

    /// Has the function at `destination` handle `request`.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the invocation.
    fn deliver(
        &self,
        destination: Destination,
        request: http::Request<Bytes>,
    ) -> impl Future<Output = Ended> + Send;
}

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// Which version gets it.
    pub recipient: Recipient,
    /// When it goes to stable at once if a canary fails.
    pub redeliver: Redeliver,
}

/// Which version gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The one that a request would get.
    Drawn,
    /// The stable one.
    Stable,
    /// The canary, which can have no effect.
    CanaryWithoutEffects,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The function answered, or failed to.
    Answered {
        /// The version.
        version: Option<VersionNo>,
        /// The status.
        status: StatusCode,
        /// Its `retry-after` (RFC 9110, section 10.2.3).
        retry_after: Option<String>,
        /// What the answer says, shortened. For people.
        detail: String,
        /// Whether a canary answered, and stable was not asked.
        is_canary: bool,
        /// Whether the version was refused an effect, so that its answer says nothing about it.
        refused_effect: bool,
    },
    /// The node could not have the function answer, or not to the end.
    OfNode {
        /// When to try again.
        retry_after: Option<Duration>,
        /// Why. For people.
        detail: String,
    },
    /// The function has no such stage, or nothing is deployed there.
    NoSuchStage,
}
