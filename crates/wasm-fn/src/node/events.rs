//! Events: connects the inbox, the triggers of the control plane, and the data plane that delivers.

mod followed;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, header};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use wasm_fn_control::{Note, state::SeenRollout};
use wasm_fn_core::{FunctionName, InvocationTrigger, StageName, VersionNo};
use wasm_fn_delivery::{
    Deliver, Destination, Ended, EventRunner, Events, EventsOptions, Pauses, Pausing, Recipient, Triggers,
    WallClock,
};
use wasm_fn_events::{PausedBy, Redeliver, TICK_TYPE, Timestamp, TriggerId};
use wasm_fn_rollout::{Command, Phase};
use wasm_fn_runtime::EgressOptions;
use wasm_fn_server::{
    Delivered, DeliveryError, DeliveryOptions, DeliveryTarget, EventDispatcher, Redelivery,
};
use wasm_fn_store::{Inbox as _, StoreError};

use super::{
    cluster::NodeInbox,
    deploying::{Deployer, FetcherOptions},
    host::NodeControl,
    hosted::Hosted,
    queues::{QueueParts, Queues, SecretOf},
    webhooks::Webhooks,
};
use crate::tls;

/// Bytes of an answer that are kept for people.
const ANSWER_BYTES_MAX: usize = 4096;

/// Characters of an answer that people see.
const DETAIL_CHARS_MAX: usize = 200;

/// Deliveries in flight for each thread that runs guests.
const IN_FLIGHT_PER_THREAD: usize = 64;

/// The events of a node, and what keeps them going.
pub(super) struct NodeEvents {
    events: Arc<Events<NodeInbox>>,
    deliver: Arc<DataPlane>,
    /// `None` while another process has the inbox.
    runner: Option<EventRunner<NodeInbox>>,
    /// `None` while another process has the inbox.
    queues: Option<Queues<DataPlane>>,
    /// Finds secrets for brokers.
    secret: SecretOf,
    egress: EgressOptions,
    following: JoinHandle<()>,
    triggers: watch::Receiver<Arc<Triggers>>,
}

/// Delivers by the data plane.
pub(super) struct DataPlane(EventDispatcher<Hosted>);

/// Pauses triggers and rollouts by the control plane.
struct ByControl(Arc<NodeControl>);

impl NodeEvents {
    /// The events in `inbox` of the triggers of `control`, delivered by `dispatcher`, or deployed with what
    /// is fetched by `fetcher`. Nothing begins before [`start`](Self::start). Connections to brokers are as
    /// `egress` says.
    pub(super) fn new(
        inbox: NodeInbox,
        control: &Arc<NodeControl>,
        dispatcher: EventDispatcher<Hosted>,
        egress: EgressOptions,
        fetcher: FetcherOptions,
    ) -> Self {
        let mut states = control.follow();
        let mut state = Arc::clone(&states.borrow_and_update());
        let (sender, triggers) = watch::channel(Arc::new(followed::triggers(&state)));
        let following = tokio::spawn(async move {
            while states.changed().await.is_ok() {
                let next = Arc::clone(&states.borrow_and_update());
                sender.send_if_modified(|triggers| followed::follow(triggers, &state, &next));
                state = next;
            }
        });
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let options = EventsOptions { in_flight_max: threads.saturating_mul(IN_FLIGHT_PER_THREAD) };
        let pauses = Box::new(ByControl(Arc::clone(control)));
        let deploys = Deployer::new(Arc::clone(control), fetcher);
        let events = Events::new(inbox, WallClock::wall(now), options, triggers.clone(), pauses, deploys);
        let deliver = Arc::new(DataPlane(dispatcher));
        let secrets = Arc::clone(control);
        let secret: SecretOf =
            Arc::new(move |id| secrets.newest_secret(id).map_err(|error| error.to_string()));
        Self { events, deliver, runner: None, queues: None, secret, egress, following, triggers }
    }

    /// What people may do with events.
    pub(super) fn events(&self) -> Arc<Events<NodeInbox>> {
        Arc::clone(&self.events)
    }

    /// Receives webhooks, with secrets from `control`.
    pub(super) fn webhooks(&self, control: &Arc<NodeControl>) -> Arc<Webhooks> {
        let (events, deliver) = (Arc::clone(&self.events), Arc::clone(&self.deliver));
        Webhooks::new(events, deliver, Arc::clone(control), self.triggers.clone())
    }

    /// Begins to tick and to deliver.
    pub(super) fn start(&mut self) {
        if self.runner.is_none() {
            self.runner = Some(self.events.start(Arc::clone(&self.deliver)));
            self.queues = Some(Queues::start(QueueParts {
                events: Arc::clone(&self.events),
                deliver: Arc::clone(&self.deliver),
                secret: Arc::clone(&self.secret),
                triggers: self.triggers.clone(),
                egress: self.egress.clone(),
            }));
        }
    }

    /// Ends deliveries, for at most `timeout`, and releases the inbox.
    pub(super) async fn stop(&mut self, timeout: Duration) {
        let began = Instant::now();
        // Their dead letters need the inbox.
        if let Some(queues) = self.queues.take()
            && !queues.stop(timeout).await
        {
            tracing::info!("messages in progress were broken off, and come again later");
        }
        if let Some(runner) = self.runner.take()
            && !runner.stop(timeout.saturating_sub(began.elapsed())).await
        {
            tracing::info!("events in flight were broken off, and are delivered again later");
        }
    }

    /// Takes the inbox back from another process, and goes on.
    pub(super) async fn take_back(&mut self) -> Result<(), StoreError> {
        self.events.inbox().take_back().await?;
        self.start();
        Ok(())
    }
}

impl Drop for NodeEvents {
    fn drop(&mut self) {
        self.following.abort();
    }
}

pub(super) fn now() -> Timestamp {
    let since = tls::system_time().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl DataPlane {
    /// The data plane itself.
    pub(super) fn dispatcher(&self) -> &EventDispatcher<Hosted> {
        &self.0
    }
}

impl Deliver for DataPlane {
    fn canary(&self, function: &FunctionName, stage: &StageName) -> Option<VersionNo> {
        self.0.canary(function, stage)
    }

    async fn deliver(&self, destination: Destination, request: http::Request<Bytes>) -> Ended {
        let Destination { function, stage, recipient, redeliver } = destination;
        let redelivery = match redeliver {
            Redeliver::Always => Redelivery::Always,
            Redeliver::EffectFree => Redelivery::EffectFree,
        };
        let target = match recipient {
            Recipient::Drawn => DeliveryTarget::Drawn,
            Recipient::Stable => DeliveryTarget::Stable,
            Recipient::CanaryWithoutEffects => DeliveryTarget::CanaryWithoutEffects,
        };
        let answer_bytes_max = ANSWER_BYTES_MAX;
        let trigger = trigger_kind(request.headers());
        let options = DeliveryOptions { function, stage, target, redelivery, trigger, answer_bytes_max };
        match self.0.deliver(request, options).await {
            Ok(delivered) => ended(&delivered),
            Err(DeliveryError::NoSuchStage { .. }) => Ended::NoSuchStage,
            // Nobody has seen the answer, so it is as good as none. A canary is charged already, and a
            // repetition spends no attempt of the event.
            Err(error @ DeliveryError::BrokeOff { is_canary: true, .. }) if recipient == Recipient::Drawn => {
                Ended::OfNode { retry_after: Some(Duration::ZERO), detail: error.to_string() }
            }
            Err(DeliveryError::BrokeOff { version, is_canary, reason, refused_effect }) => Ended::Answered {
                version: Some(version),
                status: StatusCode::BAD_GATEWAY,
                retry_after: None,
                detail: format!("the answer broke off: {reason}"),
                is_canary,
                refused_effect,
            },
        }
    }
}

/// What sent the event of a delivery with `headers`.
fn trigger_kind(headers: &http::HeaderMap) -> InvocationTrigger {
    if headers.get("ce-type").is_some_and(|kind| kind == TICK_TYPE) {
        InvocationTrigger::Timer
    } else if headers.contains_key("nats-sequence") {
        InvocationTrigger::PubSub
    } else {
        InvocationTrigger::Http
    }
}

fn ended(delivered: &Delivered) -> Ended {
    let retry_after = delivered.headers.get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let detail = detail(delivered);
    if delivered.is_of_node {
        let seconds = retry_after.and_then(|text| text.parse().ok());
        return Ended::OfNode { retry_after: seconds.map(Duration::from_secs), detail };
    }
    let Delivered { version, status, is_canary, refused_effect, .. } = *delivered;
    Ended::Answered { version, status, retry_after, detail, is_canary, refused_effect }
}

/// What the answer says, if it is no success: the detail of a problem (RFC 9457), or its first line.
fn detail(delivered: &Delivered) -> String {
    if delivered.status.is_success() {
        return String::new();
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(&delivered.body).ok();
    let said = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    let text = match said {
        Some(said) => said.to_owned(),
        None => String::from_utf8_lossy(&delivered.body).lines().next().unwrap_or_default().to_owned(),
    };
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}

/// What the node notes of what it does by itself.
fn note(message: String) -> Note {
    Note {
        actor: "node".to_owned(),
        token: None,
        origin: String::new(),
        message: Some(message),
        expected_revision: None,
    }
}

impl Pauses for ByControl {
    fn pause<'a>(&'a self, trigger: &'a TriggerId, failures: u32) -> Pausing<'a> {
        let note = note(format!("{failures} runs failed one after the other"));
        Box::pin(async move {
            let paused = self.0.pause_trigger(trigger.clone(), PausedBy::Failures(failures), note).await;
            paused.map(drop).map_err(|error| error.to_string())
        })
    }

    fn pause_rollout<'a>(&'a self, trigger: &'a TriggerId, canary: VersionNo, reason: String) -> Pausing<'a> {
        Box::pin(async move {
            let (state, key) = (self.0.state(), (trigger.function.clone(), trigger.stage.clone()));
            let rollout = state.rollout(&key).filter(|rollout| rollout.canary == canary);
            let rollout = rollout.ok_or_else(|| format!("there is no rollout of {canary} any more"))?;
            if matches!(rollout.phase, Phase::Paused { .. } | Phase::Frozen { .. }) {
                return Ok(());
            }
            let (step, started_ms) = (rollout.step(), rollout.started_ms);
            let seen = SeenRollout { canary, started_ms, step, held: false };
            let (function, stage) = key;
            let paused = self.0.command_as_seen(function, stage, Command::Pause, Some(seen), note(reason));
            paused.await.map(drop).map_err(|error| error.to_string())
        })
    }
}
