//! Triggers: added, shown, paused, run and removed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
};
use http::request::Parts;
use wasm_fn_access::{Permission, Target};
use wasm_fn_api as api;
use wasm_fn_control::{
    OperatedEvents,
    host::Host,
    state::{EventsOperation, ReleaseStrategy, State as ControlState, TriggerRelease, TriggerState},
};
use wasm_fn_core::Revision;
use wasm_fn_delivery::{
    DeployStats, EventOperations, EventsError, QueueStanding, QueueStats, TriggerStats, WatchStatus,
    trigger_key,
};
use wasm_fn_events::{
    HOOKS_PATH, Pause, PausedBy, PushDeploy, PushDeployOptions, RetryPolicy, Schedule, ScheduleTime,
    TriggerId, TriggerKind, WebhookMode,
};
use wasm_fn_store::{Store, TriggerCounts};

use super::functions::limit;
use crate::{
    ApiError,
    admin::Shared,
    authorize::Caller,
    extract::{Function, JsonBody, Parameters},
    trigger,
};

/// Number of triggers of all functions if the client sets no limit.
const ALL_DEFAULT: u32 = 1000;

/// Times of a schedule that are shown.
const NEXT_TIMES: usize = 5;

/// The trigger in the path.
pub(crate) struct Named(TriggerId);

impl<T: Send + Sync> FromRequestParts<T> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage, name)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Ok(Self(TriggerId { function: function.parse()?, stage: stage.parse()?, name: name.parse()? }))
    }
}

type Answer = Result<Json<api::TriggerView>, ApiError>;

/// What every trigger has in the inbox, by its key.
pub(super) type Counts = BTreeMap<Arc<str>, TriggerCounts>;

/// Reads what every trigger has in the inbox.
pub(super) async fn counts(events: &dyn EventOperations) -> Result<Counts, EventsError> {
    let counts = events.counts().await?;
    Ok(counts.into_iter().map(|counts| (Arc::clone(&counts.trigger), counts)).collect())
}

/// Lists the triggers of a function.
pub(crate) async fn list<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(name): Function,
    caller: Caller,
) -> Result<Json<api::TriggerList>, ApiError> {
    let state = admin.control.state();
    let function = state.function(&name)?;
    let counts = counts(&*admin.events).await?;
    let seen = function.triggers.iter().filter(|((stage, _), _)| caller.sees_stage(stage));
    let triggers = seen.map(|((stage, trigger), found)| {
        let (stage, trigger) = (stage.clone(), trigger.clone());
        let id = TriggerId { function: name.clone(), stage, name: trigger };
        view(&*admin.events, &id, found, function.revision, &counts)
    });
    Ok(Json(api::TriggerList { function: name.to_string(), triggers: triggers.collect() }))
}

/// Lists the triggers of all functions that the caller sees, by function, stage and name.
pub(crate) async fn list_all<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    caller: Caller,
    Parameters(query): Parameters<api::TriggersQuery>,
) -> Result<Json<api::AllTriggers>, ApiError> {
    let limit = limit(query.limit, ALL_DEFAULT)?;
    let after = query.after.as_deref().map(parse_id).transpose()?;
    let state = admin.control.state();
    let counts = counts(&*admin.events).await?;
    let mut seen = state
        .triggers()
        .filter(|(id, _)| after.as_ref().is_none_or(|after| id > after))
        .filter(|(id, _)| caller.sees(&id.function) && caller.sees_stage(&id.stage));
    let mut triggers = Vec::new();
    for (id, found) in seen.by_ref().take(limit) {
        let revision = state.function(&id.function)?.revision;
        triggers.push(view(&*admin.events, &id, found, revision, &counts));
    }
    let more = seen.next().is_some();
    Ok(Json(api::AllTriggers { triggers, more }))
}

/// The trigger that a text of function, stage and name means.
fn parse_id(text: &str) -> Result<TriggerId, ApiError> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(function), Some(stage), Some(name), None) => {
            Ok(TriggerId { function: function.parse()?, stage: stage.parse()?, name: name.parse()? })
        }
        _ => {
            let detail = format!("after is {text:?}, expected a trigger as function/stage/name");
            Err(ApiError::invalid_request(detail))
        }
    }
}

/// Shows a trigger.
pub(crate) async fn show<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
) -> Answer {
    answer(&*admin.events, &id, &admin.control.state()).await
}

async fn answer(events: &dyn EventOperations, id: &TriggerId, state: &ControlState) -> Answer {
    let (found, revision) = (state.trigger(id)?, state.function(&id.function)?.revision);
    Ok(Json(view(events, id, found, revision, &counts(events).await?)))
}

/// Adds a trigger.
pub(crate) async fn add<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
    JsonBody(request): JsonBody<api::TriggerRequest>,
) -> Answer {
    let trigger = trigger::trigger(&id.name, &request)?;
    let stage = Target::Stage(&id.function, &id.stage);
    let release = trigger::release(&trigger, &request, caller.may(Permission::MoveTraffic, stage))?;
    if release.is_some() && !caller.may(Permission::Deploy, stage) {
        // Nobody may have a trigger do what they may not do themselves.
        return Err(ApiError::may_not_deploy(&caller.actor().name, &id));
    }
    let granted = caller.on(Target::Stage(&id.function, &id.stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    if let TriggerKind::Webhook(source) = &trigger.kind {
        let state = admin.control.state();
        let function = state.function(&id.function)?;
        let is_set = |name| function.secrets.get(&id.stage, name).is_some();
        if let Some(name) = source.secrets().iter().find(|name| !is_set(name)) {
            return Err(ApiError::webhook_without_secret(&id, name));
        }
    }
    if let TriggerKind::Queue(source) = &trigger.kind
        && let Some(name) = source.credentials()
    {
        let state = admin.control.state();
        if state.function(&id.function)?.secrets.get(&id.stage, name).is_none() {
            return Err(ApiError::queue_without_secret(&id, name));
        }
    }
    if let Some(name) = trigger.credentials() {
        let state = admin.control.state();
        if state.function(&id.function)?.secrets.get(&id.stage, name).is_none() {
            return Err(ApiError::deploying_without_secret(&id, name));
        }
    }
    let state = admin.control.add_trigger(id.clone(), trigger, release, note).await?;
    answer(&*admin.events, &id, &state).await
}

/// Removes a trigger.
pub(crate) async fn remove<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
    Parameters(query): Parameters<api::DeleteQuery>,
) -> Result<Json<api::TriggerRemoved>, ApiError> {
    let granted = caller.on(Target::Stage(&id.function, &id.stage))?;
    let note = granted.note(query.message, query.expected_revision)?;
    let state = admin.control.remove_trigger(id.clone(), note).await?;
    let revision = state.function(&id.function)?.revision.0;
    let TriggerId { function, stage, name } = id;
    let (function, stage, name) = (function.to_string(), stage.to_string(), name.to_string());
    Ok(Json(api::TriggerRemoved { function, stage, name, revision }))
}

/// Pauses a trigger.
pub(crate) async fn pause<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
    JsonBody(request): JsonBody<api::TriggerCommand>,
) -> Answer {
    let granted = caller.on(Target::Stage(&id.function, &id.stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let state = admin.control.pause_trigger(id.clone(), PausedBy::Command, note).await?;
    answer(&*admin.events, &id, &state).await
}

/// Lets a paused trigger go on.
pub(crate) async fn resume<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
    JsonBody(request): JsonBody<api::TriggerCommand>,
) -> Answer {
    let granted = caller.on(Target::Stage(&id.function, &id.stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let state = admin.control.resume_trigger(id.clone(), note).await?;
    answer(&*admin.events, &id, &state).await
}

/// Runs a schedule once.
pub(crate) async fn run<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
) -> Result<Json<api::TriggerRun>, ApiError> {
    admin.control.state().trigger(&id)?;
    let note = caller.on(Target::Stage(&id.function, &id.stage))?.note(None, None)?;
    let event = admin.events.run_now(&id).await.map_err(not_there_yet)?;
    let ran = operated(&id, EventsOperation::Run, 1, format!("event {event}"));
    admin.control.record_events(ran, note).await?;
    let TriggerId { function, stage, name } = id;
    let (function, stage, trigger) = (function.to_string(), stage.to_string(), name.to_string());
    Ok(Json(api::TriggerRun { function, stage, trigger, event }))
}

/// Runs a schedule for times that are past.
pub(crate) async fn backfill<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named(id): Named,
    caller: Caller,
    JsonBody(request): JsonBody<api::BackfillRequest>,
) -> Result<Json<api::TriggerBackfilled>, ApiError> {
    admin.control.state().trigger(&id)?;
    let api::BackfillRequest { from_ms, to_ms } = request;
    let now = admin.events.now().unix_ms();
    if from_ms > to_ms || to_ms > now {
        let detail = format!(
            "from_ms is {from_ms} and to_ms is {to_ms}, expected from_ms to be no later than to_ms, and to_ms no \
             later than now, {now}"
        );
        return Err(ApiError::invalid_request(detail));
    }
    let (from, to) = (trigger::time("from_ms", from_ms)?, trigger::time("to_ms", to_ms)?);
    let note = caller.on(Target::Stage(&id.function, &id.stage))?.note(None, None)?;
    let backfilled = admin.events.backfill(&id, from, to).await.map_err(not_there_yet)?;
    let runs = u64::try_from(backfilled.runs).unwrap_or(u64::MAX);
    if runs > 0 {
        let until = backfilled.rest.map_or_else(|| format!("to {to}"), |rest| format!("to before {rest}"));
        let which = format!("times from {from} {until}");
        admin.control.record_events(operated(&id, EventsOperation::Backfill, runs, which), note).await?;
    }
    let TriggerId { function, stage, name } = id;
    Ok(Json(api::TriggerBackfilled {
        function: function.to_string(),
        stage: stage.to_string(),
        trigger: name.to_string(),
        runs,
        rest_ms: backfilled.rest.map(wasm_fn_events::Timestamp::unix_ms),
    }))
}

fn operated(id: &TriggerId, operation: EventsOperation, count: u64, which: String) -> OperatedEvents {
    let (function, stage) = (id.function.clone(), id.stage.clone());
    OperatedEvents { function, stage, trigger: id.name.to_string(), operation, count, which }
}

/// Why a trigger that is there was not run: the scheduler may not have heard of it.
fn not_there_yet(error: EventsError) -> ApiError {
    match error {
        EventsError::NoSuchTrigger(_) => ApiError::not_ready(
            "the trigger was added a moment ago and is not active yet, expected it to be soon",
        ),
        error => error.into(),
    }
}

fn view(
    events: &dyn EventOperations,
    id: &TriggerId,
    found: &TriggerState,
    revision: Revision,
    counts: &Counts,
) -> api::TriggerView {
    let (trigger, key) = (&*found.trigger, trigger_key(id));
    let next_ms = match &trigger.kind {
        TriggerKind::Schedule(schedule) => {
            let times = schedule.next_times(NEXT_TIMES, events.now());
            times.into_iter().map(wasm_fn_events::Timestamp::unix_ms).collect()
        }
        TriggerKind::Webhook(_) | TriggerKind::Queue(_) | TriggerKind::Watch(_) => Vec::new(),
    };
    let stats = events.stats(&key);
    let queue = match &trigger.kind {
        TriggerKind::Queue(_) => Some(queue_view(stats.queue.as_deref(), found)),
        TriggerKind::Schedule(_) | TriggerKind::Webhook(_) | TriggerKind::Watch(_) => None,
    };
    let is_sync = matches!(&trigger.kind, TriggerKind::Webhook(source) if source.mode() == WebhookMode::Sync);
    let watches = matches!(trigger.kind, TriggerKind::Watch(_));
    api::TriggerView {
        function: id.function.to_string(),
        stage: id.stage.to_string(),
        name: id.name.to_string(),
        source: source(&trigger.kind),
        path: trigger.path.to_string(),
        url_path: found.hook.as_ref().map(|hook| format!("{HOOKS_PATH}{hook}")),
        retry: retry(&trigger.retry),
        concurrency_max: trigger.concurrency_max.get(),
        rate: trigger.rate.map(|rate| rate.to_string()),
        ordered_by: trigger.ordered_by.as_ref().map(ToString::to_string),
        redeliver: (!is_sync && !trigger.deploys()).then(|| trigger.redeliver.to_string()),
        created_ms: found.created_ms,
        created_by: found.created_by.clone(),
        paused: trigger.paused.as_ref().map(pause_view),
        next_ms,
        release: found.release.as_deref().map(release_view),
        watch: watches.then(|| watch_view(stats.watch.as_ref())),
        inbox: inbox(counts.get(&*key)),
        counts: counts_view(&stats, trigger.deploys()),
        queue,
        revision: revision.0,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn source(kind: &TriggerKind) -> api::SourceSpec {
    match kind {
        TriggerKind::Schedule(schedule) => api::SourceSpec::Schedule(schedule_spec(schedule)),
        TriggerKind::Webhook(source) => api::SourceSpec::Webhook(api::WebhookSpec {
            provider: source.provider().to_string(),
            secrets: source.secrets().iter().map(ToString::to_string).collect(),
            mode: Some(source.mode().to_string()),
            deploy: source.deploy().map(deploy_spec),
        }),
        TriggerKind::Queue(source) => api::SourceSpec::Queue(api::QueueSpec {
            brokers: source.brokers().iter().map(ToString::to_string).collect(),
            stream: source.stream().to_string(),
            subject: source.subject().to_string(),
            credentials: source.credentials().map(ToString::to_string),
            start: Some(source.start().to_string()),
        }),
        TriggerKind::Watch(source) => api::SourceSpec::Watch(api::WatchSpec {
            artifact: source.artifact().to_owned(),
            every_ms: Some(millis(source.every())),
            credentials: source.credentials().map(ToString::to_string),
        }),
    }
}

/// How the broker of the queue `found` is. Before it is connected to, nothing is known.
fn queue_view(stats: Option<&QueueStats>, found: &TriggerState) -> api::QueueView {
    let (state, since_ms, reason) = match stats {
        _ if found.trigger.paused.is_some() => {
            ("paused", found.trigger.paused.as_ref().map_or(0, |pause| pause.since.unix_ms()), None)
        }
        None => ("connecting", found.active_ms, None),
        Some(QueueStats { standing, since, .. }) => {
            let (state, reason) = match standing {
                QueueStanding::Connecting | QueueStanding::Stopped => ("connecting", None),
                QueueStanding::Connected => ("connected", None),
                QueueStanding::Failing { reason } => ("failing", Some(reason.clone())),
            };
            (state, since.unix_ms(), reason)
        }
    };
    let count = |read: fn(&QueueStats) -> u64| stats.map_or(0, read);
    api::QueueView {
        state: state.to_owned(),
        since_ms,
        reason,
        pending: stats.and_then(|stats| stats.pending),
        unsettled: stats.and_then(|stats| stats.unsettled),
        delivered: count(|stats| stats.delivered),
        acknowledged: count(|stats| stats.acknowledged),
        retried: count(|stats| stats.retried),
        dead: count(|stats| stats.dead),
        repeated: count(|stats| stats.repeated),
    }
}

fn deploy_spec(deploy: &PushDeploy) -> api::WebhookDeploySpec {
    let PushDeployOptions { artifact, on, branches, tags, credentials } = deploy.options();
    api::WebhookDeploySpec {
        artifact: artifact.to_string(),
        on: on.iter().map(ToString::to_string).collect(),
        branches: branches.iter().map(ToString::to_string).collect(),
        tags: tags.iter().map(ToString::to_string).collect(),
        credentials: credentials.as_ref().map(ToString::to_string),
    }
}

fn release_view(release: &TriggerRelease) -> api::TriggerReleaseView {
    let strategy = match &release.strategy {
        ReleaseStrategy::AllAtOnce => api::StrategySpec::AllAtOnce,
        ReleaseStrategy::NoTraffic => api::StrategySpec::NoTraffic,
        ReleaseStrategy::Rollout(spec) => crate::view::strategy(&spec.plan().spec().strategy),
    };
    api::TriggerReleaseView { strategy, replace: release.replace, allow_new: release.allow_new }
}

/// A tag that was not looked at yet has an empty view.
fn watch_view(status: Option<&WatchStatus>) -> api::WatchView {
    let WatchStatus { digest, seen, looked, failing } = status.cloned().unwrap_or_default();
    let ms = |time: Option<wasm_fn_events::Timestamp>| time.map(wasm_fn_events::Timestamp::unix_ms);
    api::WatchView { digest, seen_ms: ms(seen), looked_ms: ms(looked), failing }
}

fn schedule_spec(schedule: &Schedule) -> api::ScheduleSpec {
    let options = schedule.options();
    let mut spec = api::ScheduleSpec {
        overlap: Some(options.overlap.to_string()),
        catch_up_ms: Some(millis(options.catch_up)),
        jitter_ms: Some(millis(options.jitter)),
        pause_on_failure: options.pause_on_failure.map(std::num::NonZeroU32::get),
        canary_runs: Some(options.canary_runs).filter(|runs| *runs > 0),
        start_ms: options.start.map(wasm_fn_events::Timestamp::unix_ms),
        end_ms: options.end.map(wasm_fn_events::Timestamp::unix_ms),
        ..api::ScheduleSpec::default()
    };
    for time in &options.times {
        match time {
            // All of a trigger have the same zone.
            ScheduleTime::Cron(cron) => {
                spec.cron.push(cron.expression().to_owned());
                spec.time_zone = Some(cron.zone().name().to_owned());
            }
            ScheduleTime::Every(interval) => spec.every_ms.push(millis(interval.every())),
        }
    }
    spec
}

fn retry(policy: &RetryPolicy) -> api::RetrySpec {
    let options = policy.options();
    api::RetrySpec {
        attempts_max: Some(options.attempts_max.get()),
        age_max_ms: Some(millis(options.age_max)),
        backoff_min_ms: Some(millis(options.backoff_min)),
        backoff_max_ms: Some(millis(options.backoff_max)),
    }
}

fn pause_view(pause: &Pause) -> api::PauseView {
    let (by, failures) = match pause.by {
        PausedBy::Command => ("command", None),
        PausedBy::Failures(failures) => ("failures", Some(failures)),
    };
    let note = pause.note.as_ref().map(ToString::to_string);
    api::PauseView { since_ms: pause.since.unix_ms(), by: by.to_owned(), failures, note }
}

/// What is in the inbox. A trigger that had no event yet has no counts.
pub(super) fn inbox(counts: Option<&TriggerCounts>) -> api::InboxView {
    counts.map_or_else(api::InboxView::default, |counts| api::InboxView {
        waiting: counts.waiting,
        in_flight: counts.in_flight,
        bytes: counts.bytes,
        dead: counts.dead,
        dead_bytes: counts.dead_bytes,
        oldest_ms: counts.oldest_arrived_ms,
        blocked: counts.is_blocked,
    })
}

pub(super) fn counts_view(stats: &TriggerStats, deploys: bool) -> api::TriggerCountsView {
    let versions = stats.versions.iter().rev().map(|(version, counts)| api::TriggerVersionView {
        version: version.to_string(),
        on_time: counts.on_time,
        late: counts.late,
        acknowledged: counts.acknowledged,
        retried: counts.retried,
        failed: counts.failed,
    });
    let canary_runs = stats.canary_runs.iter().rev().map(|(canary, runs)| api::CanaryRunsView {
        version: canary.to_string(),
        passed: runs.passed,
        failed: runs.failed,
        unclear: runs.unclear,
    });
    api::TriggerCountsView {
        skipped: stats.skipped,
        missed: stats.missed,
        cancelled: stats.cancelled,
        of_node: stats.of_node,
        failures_in_a_row: stats.failures_in_a_row,
        versions: versions.collect(),
        canary_runs: canary_runs.collect(),
        deployments: deploys.then(|| {
            let DeployStats { deployed, skipped, retried, failed } = stats.deploys;
            api::TriggerDeploymentsView { deployed, skipped, retried, failed }
        }),
    }
}
