//! Takes events out of the inbox when they are due, has them delivered, and settles what becomes of them.

mod canary_run;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio_util::sync::CancellationToken;
use wasm_fn_core::VersionNo;
use wasm_fn_events::{
    Answer, DeadLetterReason, Disposition, Next, RetryPolicy, Timestamp, Trigger, TriggerId,
};
use wasm_fn_store::{Finish, Inbox, InboxError, Mark, Take, TakenEvent};

use self::canary_run::CanaryRun;
use crate::{
    deliver::{Deliver, Destination, Ended, Recipient},
    deploy::{DeployEnd, DeployOutcome, DeployingEvent},
    event_request::EventRequest,
    runner::{Events, Orders},
    stats::{DeployStats, Led},
};

/// Events that are taken at once.
const TAKEN_MAX: usize = 64;

/// Bytes of events that are taken at once.
const TAKEN_BYTES_MAX: u64 = 16 << 20;

/// How long to wait after the inbox has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an event waits that the node could not deliver, unless it is told otherwise.
const OF_NODE_PAUSE: Duration = Duration::from_secs(1);

/// Longest such wait.
const OF_NODE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the names of marks begin with, before the key of a trigger that deploys: what it remembers.
pub(crate) const MEMORY: &str = "deploy/";

/// What is remembered of a run that a later one broke off.
const BROKEN_OFF: &str = "broken off by the next run";

/// Runs until it is to stop; then waits for what is in flight.
pub(crate) async fn run<I: Inbox, D: Deliver>(events: Arc<Events<I>>, deliver: Arc<D>, orders: Orders) {
    let mut triggers = events.triggers.clone();
    let tasks = tokio_util::task::TaskTracker::new();
    while !orders.stop.is_cancelled() {
        let room = events.options.in_flight_max.saturating_sub(tasks.len()).min(TAKEN_MAX);
        let taken = if room == 0 { Ok(Vec::new()) } else { take(&events, room).await };
        let (count, pause) = match taken {
            Ok(taken) => {
                let count = taken.len();
                for event in taken {
                    let (events, deliver) = (Arc::clone(&events), Arc::clone(&deliver));
                    let orders = orders.clone();
                    tasks.spawn(async move { handle(&events, &*deliver, event, &orders).await });
                }
                (count, None)
            }
            Err(error) => {
                tracing::warn!(%error, "events wait: the inbox cannot be read");
                (0, Some(events.clock.now().saturating_add(PAUSE)))
            }
        };
        if count > 0 && count == room {
            continue;
        }
        let due = events.inbox.next_due_ms().map(Timestamp::from_unix_ms);
        let due = due.into_iter().chain(events.pacer.next()).min();
        tokio::select! {
            () = orders.stop.cancelled() => {}
            () = events.clock.sleep(pause.or(due)) => {}
            () = events.inbox.changed(), if pause.is_none() => {}
            () = events.finished.notified(), if pause.is_none() => {
                // What else has ended by now makes room too: taking one by one costs more.
                tokio::task::yield_now().await;
            }
            changed = triggers.changed() => if changed.is_err() { return },
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn take<I: Inbox>(events: &Events<I>, events_max: usize) -> Result<Vec<TakenEvent>, InboxError> {
    let (triggers, pacer) = (Arc::clone(&events.triggers.borrow()), Arc::clone(&events.pacer));
    let now = events.clock.now();
    pacer.begin_round();
    let admit = move |key: &str, in_flight: usize| {
        let (in_flight_max, rate) = triggers.limits(key);
        in_flight < in_flight_max && rate.is_none_or(|rate| pacer.begin(key, rate, now))
    };
    let take = Take { events_max, bytes_max: TAKEN_BYTES_MAX, admit };
    events.inbox.take(now.unix_ms(), take).await
}

/// Delivers `event` once, and settles it.
async fn handle<I: Inbox, D: Deliver>(events: &Events<I>, deliver: &D, event: TakenEvent, orders: &Orders) {
    let key = Arc::clone(&event.trigger);
    let running = events.progress.begin(&event);
    let receipt = event.receipt;
    let finish = if running.is_superseded() {
        Finish::Acknowledged { text: BROKEN_OFF.to_owned() }
    } else {
        let is_exclusive = event.ordering_key.is_some() || events.triggers.borrow().is_exclusive(&key);
        let attempt = attempt(events, deliver, event, running.cancelled(), orders);
        let attempt = async {
            tokio::select! {
                finish = attempt => finish,
                // Somebody else may begin the same run, and two at a time are not wanted.
                () = events.inbox.lost(receipt), if is_exclusive => {
                    tracing::warn!(trigger = %key, "run is broken off: another node may have its trigger");
                    events.stats.note(&key, |stats| stats.cancelled += 1);
                    Finish::Released
                }
            }
        };
        match orders.cut.run_until_cancelled(attempt).await {
            Some(finish) => finish,
            // It is in flight until the inbox is opened again.
            None => return,
        }
    };
    loop {
        let now = events.clock.now().unix_ms();
        match events.inbox.finish(now, receipt, finish.clone()).await {
            Ok(()) => break,
            Err(InboxError::NotInFlight) => {
                tracing::debug!(trigger = %key, "delivery has ended for somebody else");
                break;
            }
            Err(error @ InboxError::Full { .. }) => {
                tracing::warn!(trigger = %key, %error, "trigger is blocked");
                break;
            }
            // The event stays in flight. To leave it there would lose it until the node starts again.
            Err(error) => {
                tracing::warn!(trigger = %key, %error, "delivery is not settled yet");
                if orders.cut.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                    return;
                }
            }
        }
    }
    running.end();
    events.finished.notify_one();
}

/// Delivers `event` once. Returns what becomes of it.
async fn attempt<I: Inbox, D: Deliver>(
    events: &Events<I>,
    deliver: &D,
    event: TakenEvent,
    cancelled: CancellationToken,
    orders: &Orders,
) -> Finish {
    let key = Arc::clone(&event.trigger);
    let triggers = Arc::clone(&events.triggers.borrow());
    let Some(route) = triggers.route(&key) else {
        // What is gone is forgotten, with its events.
        return Finish::Released;
    };
    let request = match EventRequest::decode(&event.body) {
        Ok(request) => request,
        Err(error) => return Finish::Dead { reason: error.to_string() },
    };
    if let Some((id, trigger)) = route.trigger.filter(|(_, trigger)| trigger.deploys()) {
        return deploy(events, (id, trigger), request, &event, orders).await;
    }
    let id = route.trigger.map(|(id, _)| id.clone());
    let canary_run = CanaryRun::of(&events.stats, deliver, &route, &event);
    let recipient = if canary_run.is_some() { Recipient::Stable } else { Recipient::Drawn };
    let redeliver = route.trigger.map(|(_, trigger)| trigger.redeliver).unwrap_or_default();
    let destination = Destination { function: route.function, stage: route.stage, recipient, redeliver };
    let request = request.attempt(id.as_ref(), event.attempt, event.ordering_key.as_deref());
    let lag = events.clock.now().since(Timestamp::from_unix_ms(event.due_ms));
    // A repetition shows nothing new, and would count as another tick.
    let canary_run = canary_run.filter(|_| event.attempt == 1);
    let deliveries = async {
        let Some(run) = canary_run else { return deliver.deliver(destination, request).await };
        let on_canary = run.run(&events.stats, deliver, destination.clone(), request.clone());
        let (ended, on_canary) = tokio::join!(deliver.deliver(destination, request), on_canary);
        run.judge(&events.stats, &*events.pauses, on_canary, &ended).await;
        ended
    };
    let ended = tokio::select! {
        ended = deliveries => ended,
        () = cancelled.cancelled() => {
            events.stats.note(&key, |stats| stats.cancelled += 1);
            return Finish::Acknowledged { text: BROKEN_OFF.to_owned() };
        }
    };
    let arrived = Timestamp::from_unix_ms(event.arrived_ms);
    match ended {
        Ended::Answered { version, status, retry_after, detail, is_canary, .. } => {
            let answered = Answered { version, status, retry_after, detail, is_canary };
            let (finish, led) = settle(&route.retry, &answered, event.attempt, arrived, events.clock.now());
            let failures = events.stats.ended(&key, version, lag, led);
            if let (Led::Failed, Some(id)) = (led, &id) {
                events.note_failures(id, failures).await;
            }
            finish
        }
        Ended::OfNode { retry_after, detail } => {
            events.stats.note(&key, |stats| stats.of_node += 1);
            wait(events, &route.retry, &event, (retry_after, detail), orders).await
        }
        Ended::NoSuchStage => {
            let detail = "nothing is deployed in the stage".to_owned();
            wait(events, &route.retry, &event, (Some(OF_NODE_PAUSE_MAX), detail), orders).await
        }
    }
}

/// Deploys what `event` is about, and has its trigger remember what it is to.
async fn deploy<I: Inbox>(
    events: &Events<I>,
    (id, trigger): (&TriggerId, &Trigger),
    request: EventRequest,
    event: &TakenEvent,
    orders: &Orders,
) -> Finish {
    let (key, memory) = (&event.trigger, format!("{MEMORY}{}", event.trigger));
    let of_node = |reason: String| {
        events.stats.note(key, |stats| stats.of_node += 1);
        wait(events, &trigger.retry, event, (None, reason), orders)
    };
    let remembered = match events.mark(&memory).await {
        Ok(remembered) => remembered,
        Err(error) => return of_node(error.to_string()).await,
    };
    let lag = events.clock.now().since(Timestamp::from_unix_ms(event.due_ms));
    let arrived = Timestamp::from_unix_ms(event.arrived_ms);
    let deploying = DeployingEvent { id, trigger, request: &request, arrived, memory: remembered };
    let DeployOutcome { end, memory: value } = events.deploys.deploy(deploying).await;
    if let Some(value) = value {
        let mark = Mark { trigger: key.to_string(), name: memory, value: Some(value) };
        if let Err(error) = events.put(events.clock.now(), Vec::new(), vec![mark]).await {
            return of_node(error.to_string()).await;
        }
    }
    let settled = |version, led, count: fn(&mut DeployStats) -> &mut u64| {
        events.stats.note(key, |stats| *count(&mut stats.deploys) += 1);
        events.stats.ended(key, version, lag, led);
    };
    match end {
        DeployEnd::Deployed { version, text } => {
            settled(Some(version), Led::Acknowledged, |stats| &mut stats.deployed);
            Finish::Acknowledged { text }
        }
        DeployEnd::Skipped { text } => {
            settled(None, Led::Acknowledged, |stats| &mut stats.skipped);
            Finish::Acknowledged { text }
        }
        DeployEnd::NotYet { reason, after } => {
            let now = events.clock.now();
            match trigger.retry.next(event.attempt, rand::random(), now, arrived, after) {
                Next::At(at) => {
                    settled(None, Led::Retried, |stats| &mut stats.retried);
                    Finish::Retry { due_ms: at.unix_ms(), reason }
                }
                Next::GiveUp(why) => {
                    settled(None, Led::Failed, |stats| &mut stats.failed);
                    Finish::Dead { reason: format!("{why}; it was not deployed since {reason}") }
                }
            }
        }
        DeployEnd::Refused { reason } => {
            settled(None, Led::Failed, |stats| &mut stats.failed);
            Finish::Dead { reason }
        }
        DeployEnd::OfNode { reason } => of_node(reason).await,
    }
}

/// How a function answered.
pub(crate) struct Answered {
    pub(crate) version: Option<VersionNo>,
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    pub(crate) detail: String,
    pub(crate) is_canary: bool,
}

/// What becomes of an event that was `answered` in its delivery number `attempt`.
pub(crate) fn settle(
    policy: &RetryPolicy,
    answered: &Answered,
    attempt: u32,
    arrived: Timestamp,
    now: Timestamp,
) -> (Finish, Led) {
    let Answered { version, status, retry_after, detail, is_canary } = answered;
    let by = version.map(|version| format!(" by {version}")).unwrap_or_default();
    let said = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    let answer = Answer::Response { status: *status, retry_after: retry_after.as_deref() };
    let dead = |why: DeadLetterReason| {
        let reason = format!("{why}; the last answer was {}{by}{said}", status.as_u16());
        (Finish::Dead { reason }, Led::Failed)
    };
    let disposition = match answer.disposition(now) {
        // That a canary refuses an event is no reason to give it up: stable may handle it.
        Disposition::DeadLetter { .. } if *is_canary => Disposition::Retry { after: None },
        disposition => disposition,
    };
    match disposition {
        Disposition::Acknowledge => {
            let text = format!("{}{by}", status.as_u16());
            (Finish::Acknowledged { text }, Led::Acknowledged)
        }
        Disposition::DeadLetter { reason } => dead(reason),
        Disposition::Retry { after } => match policy.next(attempt, rand::random(), now, arrived, after) {
            Next::At(at) => {
                let reason = format!("{}{by}{said}", status.as_u16());
                (Finish::Retry { due_ms: at.unix_ms(), reason }, Led::Retried)
            }
            Next::GiveUp(why) => dead(why),
        },
    }
}

/// Holds back an event that the node could not deliver, and gives it up only if it is too old.
///
/// It stays in flight meanwhile, so that a node that is overloaded takes fewer events.
async fn wait<I: Inbox>(
    events: &Events<I>,
    policy: &RetryPolicy,
    event: &TakenEvent,
    (retry_after, detail): (Option<Duration>, String),
    orders: &Orders,
) -> Finish {
    let pause = retry_after.unwrap_or(OF_NODE_PAUSE).min(OF_NODE_PAUSE_MAX);
    let age = events.clock.now().since(Timestamp::from_unix_ms(event.arrived_ms));
    let age_max = policy.options().age_max;
    if age + pause > age_max {
        return Finish::Dead { reason: format!("{}; {detail}", DeadLetterReason::Age { age_max }) };
    }
    let jittered = pause.mul_f64(rand::random_range(0.75..1.25));
    tokio::select! {
        () = events.clock.pause(jittered) => {}
        () = orders.stop.cancelled() => {}
    }
    Finish::Released
}

impl<I: Inbox> Events<I> {
    /// Pauses a schedule that has failed as often in a row as it may.
    async fn note_failures(&self, id: &TriggerId, failures: u32) {
        let triggers = Arc::clone(&self.triggers.borrow());
        let trigger = triggers.triggers.get(id).map(|active| &active.trigger.kind);
        let pauses = matches!(
            trigger,
            Some(wasm_fn_events::TriggerKind::Schedule(schedule)) if schedule.pauses_after(failures)
        );
        if pauses && let Err(error) = self.pauses.pause(id, failures).await {
            tracing::warn!(trigger = %id, failures, error, "trigger was not paused");
        }
    }
}
