//! The interface through which events of triggers that deploy lead to deployments.
//!
//! What an event says, where an artifact is and how it is released is behind it. In front of it is when an
//! event is handled, how often, and what becomes of it.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use wasm_fn_core::VersionNo;
use wasm_fn_events::{Timestamp, Trigger, TriggerId, WatchSource};

use crate::event_request::EventRequest;

/// A future of [`DeployEvents`].
pub type DeployFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Deploys what events are about.
pub trait DeployEvents: Send + Sync + 'static {
    /// Deploys what `event` is about. Events of one trigger come one at a time.
    ///
    /// # Cancel safety
    /// Dropping the future ends what is fetched. A deployment that has begun goes on.
    fn deploy<'a>(&'a self, event: DeployingEvent<'a>) -> DeployFuture<'a, DeployOutcome>;

    /// The digest that the tag of `watch`, which `trigger` watches, has now.
    ///
    /// # Errors
    /// Why it cannot be told. For people.
    fn digest<'a>(
        &'a self,
        trigger: &'a TriggerId,
        watch: &'a WatchSource,
    ) -> DeployFuture<'a, Result<String, String>>;
}

/// An event of a trigger that deploys.
#[derive(Debug)]
pub struct DeployingEvent<'a> {
    /// Its trigger.
    pub id: &'a TriggerId,
    /// The trigger, as it is now.
    pub trigger: &'a Trigger,
    /// The request by which a function would get it.
    pub request: &'a EventRequest,
    /// When it came, or was redriven.
    pub arrived: Timestamp,
    /// What the trigger remembers: the [`DeployOutcome::memory`] of its last event that had one.
    pub memory: Option<Bytes>,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployOutcome {
    /// How it ended.
    pub end: DeployEnd,
    /// What the trigger is to remember from now on, if that is something else. It is durable before the event
    /// is settled.
    pub memory: Option<Bytes>,
}

/// How an event of a trigger that deploys ended. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployEnd {
    /// There is a new version, or it has begun to get traffic, or it waits for approval.
    Deployed {
        /// The version.
        version: VersionNo,
        /// What was done.
        text: String,
    },
    /// There is nothing to deploy.
    Skipped {
        /// Why.
        text: String,
    },
    /// It cannot be deployed now. It is tried again.
    NotYet {
        /// Why.
        reason: String,
        /// The least wait.
        after: Option<Duration>,
    },
    /// It can never be deployed.
    Refused {
        /// Why.
        reason: String,
    },
    /// The node is to blame. It is tried again, and that spends no attempt.
    OfNode {
        /// Why.
        reason: String,
    },
}
