//! Parses what a client says of a trigger.

use std::{fmt::Display, num::NonZeroU32, str::FromStr, time::Duration};

use wasm_fn_api as api;
use wasm_fn_core::TriggerName;
use wasm_fn_events::{
    AGE_MAX_MAX, CATCH_UP_DEFAULT, CONCURRENCY_DEFAULT, CronTimes, EventPath, Interval, Overlap, PushDeploy,
    PushDeployOptions, PushKind, QueueSource, RUNS_MAX, RetryOptions, RetryPolicy, Schedule, ScheduleOptions,
    ScheduleTime, Timestamp, Trigger, TriggerKind, WATCH_EVERY_DEFAULT, WatchSource, WebhookMode,
    WebhookSource, Zone,
};

use wasm_fn_control::state::TriggerRelease;

use crate::{ApiError, strategy};

/// The trigger `name` that `request` describes.
///
/// # Errors
/// A field is malformed. The error names it, what was found, and what was expected.
pub(crate) fn trigger(name: &TriggerName, request: &api::TriggerRequest) -> Result<Trigger, ApiError> {
    let path = match &request.path {
        Some(path) => parse("path", path)?,
        None => EventPath::of(name),
    };
    let concurrency_max = match request.concurrency_max {
        Some(found) => concurrency(found)?,
        None => CONCURRENCY_DEFAULT,
    };
    let kind = match &request.source {
        api::SourceSpec::Schedule(spec) => TriggerKind::Schedule(schedule(spec)?),
        api::SourceSpec::Webhook(spec) => TriggerKind::Webhook(webhook(spec)?),
        api::SourceSpec::Queue(spec) => TriggerKind::Queue(queue(spec)?),
        api::SourceSpec::Watch(spec) => TriggerKind::Watch(watch(spec)?),
    };
    let rate = request.rate.as_deref().map(|rate| parse("rate", rate)).transpose()?;
    let is_sync = matches!(&kind, TriggerKind::Webhook(source) if source.mode() == WebhookMode::Sync);
    let ordered_by = request.ordered_by.as_deref().map(|by| parse("ordered_by", by)).transpose()?;
    let redeliver = request.redeliver.as_deref().map(|word| parse("redeliver", word)).transpose()?;
    let unsuited = [
        ("rate", is_sync && rate.is_some()),
        ("ordered_by", is_sync && ordered_by.is_some()),
        ("redeliver", is_sync && redeliver.is_some()),
    ];
    if let Some((field, _)) = unsuited.into_iter().find(|(_, unsuited)| *unsuited) {
        let detail = "it is there for a webhook in mode sync, expected none: the function answers at once";
        return Err(at(field)(&detail));
    }
    if matches!(kind, TriggerKind::Schedule(_)) && ordered_by.is_some() {
        let detail = "it is there for a schedule, expected none: its runs are in order by its overlap policy";
        return Err(at("ordered_by")(&detail));
    }
    if matches!(kind, TriggerKind::Queue(_)) {
        let unsuited = [
            ("rate", rate.is_some(), "its messages come as fast as its concurrency lets them"),
            ("ordered_by", ordered_by.is_some(), "with a concurrency of 1 its messages are in order"),
        ];
        if let Some((field, _, why)) = unsuited.into_iter().find(|(_, unsuited, _)| *unsuited) {
            return Err(at(field)(&format!("it is there for a queue, expected none: {why}")));
        }
    }
    let redeliver = redeliver.unwrap_or_default();
    let policy = RetryPolicy::default();
    let mut trigger =
        Trigger { kind, path, retry: policy, concurrency_max, rate, ordered_by, redeliver, paused: None };
    let default = if trigger.deploys() { Trigger::deploying_retry() } else { RetryOptions::default() };
    trigger.retry = match (&trigger.kind, request.retry.age_max_ms) {
        (TriggerKind::Queue(_), Some(_)) => {
            return Err(at("retry.age_max_ms")(
                &"a queue has none, expected it in the stream's own settings",
            ));
        }
        // Beyond every backoff: the stream says how old its messages may be.
        (TriggerKind::Queue(_), None) => {
            let age_max_ms = u64::try_from(AGE_MAX_MAX.as_millis()).ok();
            retry(&api::RetrySpec { age_max_ms, ..request.retry }, default)?
        }
        _ => retry(&request.retry, default)?,
    };
    if trigger.deploys() {
        // Of two pushes, the later is to win.
        trigger.concurrency_max = NonZeroU32::MIN;
    }
    Ok(trigger)
}

/// How what `trigger` deploys is released, as `request` says; `None` if it does not deploy.
/// `may_move_traffic` tells whether whoever makes it may.
///
/// # Errors
/// A field is malformed, or says something of a trigger that does not deploy.
pub(crate) fn release(
    trigger: &Trigger,
    request: &api::TriggerRequest,
    may_move_traffic: bool,
) -> Result<Option<TriggerRelease>, ApiError> {
    if !trigger.deploys() {
        if request.release.is_some() {
            return Err(at("release")(&"the trigger does not deploy, expected none"));
        }
        return Ok(None);
    }
    let unsuited = [
        ("path", request.path.is_some()),
        ("concurrency_max", request.concurrency_max.is_some()),
        ("rate", request.rate.is_some()),
        ("ordered_by", request.ordered_by.is_some()),
        ("redeliver", request.redeliver.is_some()),
    ];
    if let Some((field, _)) = unsuited.into_iter().find(|(_, unsuited)| *unsuited) {
        let found = "the trigger deploys, one event at a time, and no function gets it, expected none";
        return Err(at(field)(&found));
    }
    let api::TriggerReleaseSpec { strategy, rollout, gate, replace, allow_new } =
        request.release.clone().unwrap_or_default();
    let strategy = strategy::strategy(&strategy, &rollout, &gate)?;
    Ok(Some(TriggerRelease { strategy, replace, allow_new, may_move_traffic }))
}

/// What is wrong with the field of this name.
fn at(field: impl Display) -> impl FnOnce(&dyn Display) -> ApiError {
    move |error| ApiError::invalid_trigger(format!("{field}: {error}"))
}

fn parse<T: FromStr<Err: Display>>(field: impl Display, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| at(field)(&error))
}

fn concurrency(found: u32) -> Result<NonZeroU32, ApiError> {
    let fits = usize::try_from(found).is_ok_and(|found| found <= RUNS_MAX);
    let concurrency = NonZeroU32::new(found).filter(|_| fits);
    concurrency.ok_or_else(|| at("concurrency_max")(&format!("it is {found}, expected 1 to {RUNS_MAX}")))
}

fn schedule(spec: &api::ScheduleSpec) -> Result<Schedule, ApiError> {
    let field = |name: &str| format!("source.schedule.{name}");
    let zone = match &spec.time_zone {
        Some(name) if spec.cron.is_empty() => {
            let detail =
                format!("it is {name:?} without a cron expression, expected one: intervals have no zone");
            return Err(at(field("time_zone"))(&detail));
        }
        Some(name) => parse(field("time_zone"), name)?,
        None => Zone::UTC,
    };
    let mut times = Vec::new();
    for (index, expression) in spec.cron.iter().enumerate() {
        let cron = CronTimes::parse(expression, zone);
        times.push(ScheduleTime::Cron(cron.map_err(|error| at(field(&format!("cron[{index}]")))(&error))?));
    }
    for (index, &every_ms) in spec.every_ms.iter().enumerate() {
        let every = Interval::new(Duration::from_millis(every_ms), Duration::ZERO);
        let every = every.map_err(|error| at(field(&format!("every_ms[{index}]")))(&error))?;
        times.push(ScheduleTime::Every(every));
    }
    let overlap = match &spec.overlap {
        Some(word) => parse(field("overlap"), word)?,
        None => Overlap::default(),
    };
    let pause_on_failure = match spec.pause_on_failure {
        Some(0) => return Err(at(field("pause_on_failure"))(&"it is 0, expected at least 1")),
        runs => runs.and_then(NonZeroU32::new),
    };
    let options = ScheduleOptions {
        times,
        overlap,
        catch_up: spec.catch_up_ms.map_or(CATCH_UP_DEFAULT, Duration::from_millis),
        jitter: spec.jitter_ms.map_or(Duration::ZERO, Duration::from_millis),
        pause_on_failure,
        canary_runs: spec.canary_runs.unwrap_or(0),
        start: spec.start_ms.map(|ms| time(&field("start_ms"), ms)).transpose()?,
        end: spec.end_ms.map(|ms| time(&field("end_ms"), ms)).transpose()?,
    };
    // The text of the error says which setting it is about.
    Schedule::new(options).map_err(|error| at("source.schedule")(&error))
}

/// A moment in Unix milliseconds.
pub(crate) fn time(field: &str, ms: u64) -> Result<Timestamp, ApiError> {
    let latest = Timestamp::MAX;
    if ms > latest.unix_ms() {
        return Err(at(field)(&format!("it is {ms}, expected at most {}, {latest}", latest.unix_ms())));
    }
    Ok(Timestamp::from_unix_ms(ms))
}

fn webhook(spec: &api::WebhookSpec) -> Result<WebhookSource, ApiError> {
    let provider = parse("source.webhook.provider", &spec.provider)?;
    let mut secrets = Vec::new();
    for (index, name) in spec.secrets.iter().enumerate() {
        secrets.push(parse(format_args!("source.webhook.secrets[{index}]"), name)?);
    }
    let mode = spec.mode.as_deref().map(|mode| parse("source.webhook.mode", mode)).transpose()?;
    let source =
        WebhookSource::new(provider, secrets).map_err(|error| at("source.webhook.secrets")(&error))?;
    let source = source.in_mode(mode.unwrap_or_default());
    let Some(deploy) = &spec.deploy else { return Ok(source) };
    source.deploying(push_deploy(deploy)?).map_err(|error| at("source.webhook.deploy")(&error))
}

fn push_deploy(spec: &api::WebhookDeploySpec) -> Result<PushDeploy, ApiError> {
    let field = |name: &str| format!("source.webhook.deploy.{name}");
    let on = all(&field("on"), &spec.on)?;
    let deploy = PushDeploy::new(PushDeployOptions {
        artifact: parse(field("artifact"), &spec.artifact)?,
        on: if on.is_empty() { vec![PushKind::Branch] } else { on },
        branches: all(&field("branches"), &spec.branches)?,
        tags: all(&field("tags"), &spec.tags)?,
        credentials: spec.credentials.as_deref().map(|name| parse(field("credentials"), name)).transpose()?,
    });
    deploy.map_err(|error| at("source.webhook.deploy")(&error))
}

fn watch(spec: &api::WatchSpec) -> Result<WatchSource, ApiError> {
    let field = |name: &str| format!("source.watch.{name}");
    let credentials =
        spec.credentials.as_deref().map(|name| parse(field("credentials"), name)).transpose()?;
    let every = spec.every_ms.map_or(WATCH_EVERY_DEFAULT, Duration::from_millis);
    let watch = WatchSource::new(parse(field("artifact"), &spec.artifact)?, every, credentials);
    watch.map_err(|error| at("source.watch")(&error))
}

fn all<T: FromStr<Err: Display>>(field: &str, texts: &[String]) -> Result<Vec<T>, ApiError> {
    texts.iter().enumerate().map(|(index, text)| parse(format_args!("{field}[{index}]"), text)).collect()
}

fn queue(spec: &api::QueueSpec) -> Result<QueueSource, ApiError> {
    let field = |name: &str| format!("source.queue.{name}");
    let mut brokers = Vec::new();
    for (index, url) in spec.brokers.iter().enumerate() {
        brokers.push(parse(field(&format!("brokers[{index}]")), url)?);
    }
    let (stream, subject) = (parse(field("stream"), &spec.stream)?, parse(field("subject"), &spec.subject)?);
    let source = QueueSource::new(brokers, stream, subject);
    let source = source.map_err(|error| at(field("brokers"))(&error))?;
    let credentials = spec.credentials.as_deref().map(|name| parse(field("credentials"), name));
    let start = spec.start.as_deref().map(|word| parse(field("start"), word)).transpose()?;
    Ok(source.with_credentials(credentials.transpose()?).from(start.unwrap_or_default()))
}

fn retry(spec: &api::RetrySpec, default: RetryOptions) -> Result<RetryPolicy, ApiError> {
    let ms = |found: Option<u64>, default| found.map_or(default, Duration::from_millis);
    let attempts_max = match spec.attempts_max {
        Some(0) => return Err(at("retry.attempts_max")(&"it is 0, expected at least 1")),
        attempts => attempts.and_then(NonZeroU32::new).unwrap_or(default.attempts_max),
    };
    let policy = RetryPolicy::new(RetryOptions {
        attempts_max,
        age_max: ms(spec.age_max_ms, default.age_max),
        backoff_min: ms(spec.backoff_min_ms, default.backoff_min),
        backoff_max: ms(spec.backoff_max_ms, default.backoff_max),
    });
    policy.map_err(|error| at("retry")(&error))
}

#[cfg(test)]
mod tests;
