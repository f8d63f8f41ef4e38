//! Parses what a client says of a trigger.

use std::{fmt::Display, num::NonZeroU32, str::FromStr, time::Duration};

use wasm_fn_api as api;
use wasm_fn_core::TriggerName;
use wasm_fn_events::{
    AGE_MAX_MAX, CATCH_UP_DEFAULT, CONCURRENCY_DEFAULT, CronTimes, EventPath, Interval, Overlap, QueueSource,
    RUNS_MAX, RetryOptions, RetryPolicy, Schedule, ScheduleOptions, ScheduleTime, Timestamp, Trigger,
    TriggerKind, WebhookMode, WebhookSource, Zone,
};

use crate::ApiError;

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
    let retry = match (&kind, request.retry.age_max_ms) {
        (TriggerKind::Queue(_), Some(_)) => {
            return Err(at("retry.age_max_ms")(
                &"a queue has none, expected it in the stream's own settings",
            ));
        }
        // Beyond every backoff: the stream says how old its messages may be.
        (TriggerKind::Queue(_), None) => {
            let age_max_ms = u64::try_from(AGE_MAX_MAX.as_millis()).ok();
            retry(&api::RetrySpec { age_max_ms, ..request.retry })?
        }
        _ => retry(&request.retry)?,
    };
    let redeliver = redeliver.unwrap_or_default();
    Ok(Trigger { kind, path, retry, concurrency_max, rate, ordered_by, redeliver, paused: None })
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
    Ok(source.in_mode(mode.unwrap_or_default()))
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

fn retry(spec: &api::RetrySpec) -> Result<RetryPolicy, ApiError> {
    let default = RetryOptions::default();
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
