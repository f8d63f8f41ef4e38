//! The stored form of triggers.

mod deploy;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wasm_fn_events::{
    CronTimes, Interval, Pause, PausedBy, QueueSource, Redeliver, RetryOptions, RetryPolicy, Schedule,
    ScheduleOptions, ScheduleTime, Timestamp, Trigger, TriggerKind, WebhookSource,
};

use super::{Malformed, parse, parse_all, texts};
use crate::state;
pub(super) use deploy::StoredRelease;
use deploy::{StoredPushDeploy, StoredWatch};

/// The stored form of [`state::FunctionTriggers`]: by stage and name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoredTriggers(BTreeMap<String, BTreeMap<String, StoredTriggerState>>);

/// The stored form of [`state::TriggerState`].
#[derive(Debug, Serialize, Deserialize)]
struct StoredTriggerState {
    trigger: StoredTrigger,
    created_ms: u64,
    created_by: String,
    active_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hook: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<StoredRelease>,
}

/// The stored form of [`Trigger`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredTrigger {
    kind: StoredKind,
    path: String,
    retry: StoredRetry,
    concurrency_max: NonZeroU32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordered_by: Option<String>,
    /// `None` for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redeliver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<StoredPause>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredKind {
    Schedule(StoredSchedule),
    Webhook {
        provider: String,
        secrets: Vec<String>,
        mode: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deploy: Option<StoredPushDeploy>,
    },
    Queue(StoredQueue),
    Watch(StoredWatch),
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredQueue {
    brokers: Vec<String>,
    stream: String,
    subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
    start: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSchedule {
    times: Vec<StoredTime>,
    overlap: String,
    catch_up_ms: u64,
    jitter_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause_on_failure: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    canary_runs: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredTime {
    Cron { expression: String, zone: String },
    Every { every_ms: u64, phase_ms: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRetry {
    attempts_max: NonZeroU32,
    age_max_ms: u64,
    backoff_min_ms: u64,
    backoff_max_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPause {
    since_ms: u64,
    /// How many failures paused it; `None` if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The stored form of [`state::TriggerChange`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredTriggerChange {
    Add,
    Pause,
    Resume,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The stored form of [`state::EventsOperation`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoredEventsOperation {
    Run,
    Backfill,
    Redrive,
    Discard,
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl StoredTriggers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&state::FunctionTriggers> for StoredTriggers {
    fn from(triggers: &state::FunctionTriggers) -> Self {
        let mut stored = Self::default();
        for ((stage, name), trigger) in triggers {
            stored.0.entry(stage.to_string()).or_default().insert(name.to_string(), trigger.into());
        }
        stored
    }
}

impl TryFrom<StoredTriggers> for state::FunctionTriggers {
    type Error = Malformed;

    fn try_from(stored: StoredTriggers) -> Result<Self, Malformed> {
        let all = stored.0.into_iter().flat_map(|(stage, of)| {
            of.into_iter()
                .map(move |(name, trigger)| Ok(((parse(&stage)?, parse(&name)?), trigger.try_into()?)))
        });
        all.collect()
    }
}

impl From<&state::TriggerState> for StoredTriggerState {
    fn from(state: &state::TriggerState) -> Self {
        Self {
            trigger: (&*state.trigger).into(),
            created_ms: state.created_ms,
            created_by: state.created_by.clone(),
            active_ms: state.active_ms,
            hook: state.hook.clone(),
            release: state.release.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<StoredTriggerState> for state::TriggerState {
    type Error = Malformed;

    fn try_from(stored: StoredTriggerState) -> Result<Self, Malformed> {
        let StoredTriggerState { trigger, created_ms, created_by, active_ms, hook, release } = stored;
        let release = release.map(|release| release.try_into().map(Arc::new)).transpose()?;
        Ok(Self { trigger: Arc::new(trigger.try_into()?), created_ms, created_by, active_ms, hook, release })
    }
}

impl From<&Trigger> for StoredTrigger {
    fn from(trigger: &Trigger) -> Self {
        let retry = trigger.retry.options();
        Self {
            kind: (&trigger.kind).into(),
            path: trigger.path.to_string(),
            retry: StoredRetry {
                attempts_max: retry.attempts_max,
                age_max_ms: ms(retry.age_max),
                backoff_min_ms: ms(retry.backoff_min),
                backoff_max_ms: ms(retry.backoff_max),
            },
            concurrency_max: trigger.concurrency_max,
            rate: trigger.rate.map(|rate| rate.to_string()),
            ordered_by: trigger.ordered_by.as_ref().map(ToString::to_string),
            redeliver: (trigger.redeliver != Redeliver::default()).then(|| trigger.redeliver.to_string()),
            paused: trigger.paused.as_ref().map(|pause| StoredPause {
                since_ms: pause.since.unix_ms(),
                failures: match pause.by {
                    PausedBy::Command => None,
                    PausedBy::Failures(failures) => Some(failures),
                },
                note: pause.note.as_ref().map(ToString::to_string),
            }),
        }
    }
}

impl TryFrom<StoredTrigger> for Trigger {
    type Error = Malformed;

    fn try_from(stored: StoredTrigger) -> Result<Self, Malformed> {
        let StoredRetry { attempts_max, age_max_ms, backoff_min_ms, backoff_max_ms } = stored.retry;
        let retry = RetryPolicy::new(RetryOptions {
            attempts_max,
            age_max: Duration::from_millis(age_max_ms),
            backoff_min: Duration::from_millis(backoff_min_ms),
            backoff_max: Duration::from_millis(backoff_max_ms),
        });
        Ok(Self {
            kind: stored.kind.try_into()?,
            path: parse(&stored.path)?,
            retry: retry.map_err(Malformed::new)?,
            concurrency_max: stored.concurrency_max,
            rate: stored.rate.as_deref().map(parse).transpose()?,
            ordered_by: stored.ordered_by.as_deref().map(parse).transpose()?,
            redeliver: stored.redeliver.as_deref().map(parse).transpose()?.unwrap_or_default(),
            paused: stored.paused.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<StoredPause> for Pause {
    type Error = Malformed;

    fn try_from(stored: StoredPause) -> Result<Self, Malformed> {
        Ok(Self {
            since: Timestamp::from_unix_ms(stored.since_ms),
            by: stored.failures.map_or(PausedBy::Command, PausedBy::Failures),
            note: stored.note.as_deref().map(parse).transpose()?,
        })
    }
}

impl From<&TriggerKind> for StoredKind {
    fn from(kind: &TriggerKind) -> Self {
        match kind {
            TriggerKind::Schedule(schedule) => Self::Schedule(schedule.options().into()),
            TriggerKind::Webhook(source) => {
                let (provider, secrets) = (source.provider().to_string(), texts(source.secrets()));
                let deploy = source.deploy().map(Into::into);
                Self::Webhook { provider, secrets, mode: source.mode().to_string(), deploy }
            }
            TriggerKind::Queue(source) => Self::Queue(StoredQueue {
                brokers: texts(source.brokers()),
                stream: source.stream().to_string(),
                subject: source.subject().to_string(),
                credentials: source.credentials().map(ToString::to_string),
                start: source.start().to_string(),
            }),
            TriggerKind::Watch(source) => Self::Watch(source.into()),
        }
    }
}

impl TryFrom<StoredKind> for TriggerKind {
    type Error = Malformed;

    fn try_from(stored: StoredKind) -> Result<Self, Malformed> {
        Ok(match stored {
            StoredKind::Schedule(schedule) => Self::Schedule(schedule.try_into()?),
            StoredKind::Webhook { provider, secrets, mode, deploy } => {
                let source = WebhookSource::new(parse(&provider)?, parse_all(&secrets)?);
                let source = source.map_err(Malformed::new)?.in_mode(parse(&mode)?);
                Self::Webhook(match deploy {
                    Some(deploy) => source.deploying(deploy.try_into()?).map_err(Malformed::new)?,
                    None => source,
                })
            }
            StoredKind::Queue(queue) => {
                let StoredQueue { brokers, stream, subject, credentials, start } = queue;
                let source = QueueSource::new(parse_all(&brokers)?, parse(&stream)?, parse(&subject)?);
                let credentials = credentials.as_deref().map(parse).transpose()?;
                let source = source.map_err(Malformed::new)?.with_credentials(credentials);
                Self::Queue(source.from(parse(&start)?))
            }
            StoredKind::Watch(watch) => Self::Watch(watch.try_into()?),
        })
    }
}

impl From<&ScheduleOptions> for StoredSchedule {
    fn from(options: &ScheduleOptions) -> Self {
        let times = options.times.iter().map(|time| match time {
            ScheduleTime::Cron(cron) => StoredTime::Cron {
                expression: cron.expression().to_owned(),
                zone: cron.zone().name().to_owned(),
            },
            ScheduleTime::Every(interval) => {
                StoredTime::Every { every_ms: ms(interval.every()), phase_ms: ms(interval.phase()) }
            }
        });
        Self {
            times: times.collect(),
            overlap: options.overlap.to_string(),
            catch_up_ms: ms(options.catch_up),
            jitter_ms: ms(options.jitter),
            pause_on_failure: options.pause_on_failure,
            canary_runs: options.canary_runs,
            start_ms: options.start.map(Timestamp::unix_ms),
            end_ms: options.end.map(Timestamp::unix_ms),
        }
    }
}

impl TryFrom<StoredSchedule> for Schedule {
    type Error = Malformed;

    fn try_from(stored: StoredSchedule) -> Result<Self, Malformed> {
        let times = stored.times.into_iter().map(|time| match time {
            StoredTime::Cron { expression, zone } => {
                let cron = CronTimes::parse(&expression, parse(&zone)?).map_err(Malformed::new)?;
                Ok(ScheduleTime::Cron(cron))
            }
            StoredTime::Every { every_ms, phase_ms } => {
                let (every, phase) = (Duration::from_millis(every_ms), Duration::from_millis(phase_ms));
                Ok(ScheduleTime::Every(Interval::new(every, phase).map_err(Malformed::new)?))
            }
        });
        let options = ScheduleOptions {
            times: times.collect::<Result<_, Malformed>>()?,
            overlap: parse(&stored.overlap)?,
            catch_up: Duration::from_millis(stored.catch_up_ms),
            jitter: Duration::from_millis(stored.jitter_ms),
            pause_on_failure: stored.pause_on_failure,
            canary_runs: stored.canary_runs,
            start: stored.start_ms.map(Timestamp::from_unix_ms),
            end: stored.end_ms.map(Timestamp::from_unix_ms),
        };
        Self::new(options).map_err(Malformed::new)
    }
}

impl From<state::TriggerChange> for StoredTriggerChange {
    fn from(change: state::TriggerChange) -> Self {
        match change {
            state::TriggerChange::Add => Self::Add,
            state::TriggerChange::Pause => Self::Pause,
            state::TriggerChange::Resume => Self::Resume,
        }
    }
}

impl From<StoredTriggerChange> for state::TriggerChange {
    fn from(stored: StoredTriggerChange) -> Self {
        match stored {
            StoredTriggerChange::Add => Self::Add,
            StoredTriggerChange::Pause => Self::Pause,
            StoredTriggerChange::Resume => Self::Resume,
        }
    }
}

impl From<state::EventsOperation> for StoredEventsOperation {
    fn from(operation: state::EventsOperation) -> Self {
        match operation {
            state::EventsOperation::Run => Self::Run,
            state::EventsOperation::Backfill => Self::Backfill,
            state::EventsOperation::Redrive => Self::Redrive,
            state::EventsOperation::Discard => Self::Discard,
        }
    }
}

impl From<StoredEventsOperation> for state::EventsOperation {
    fn from(stored: StoredEventsOperation) -> Self {
        match stored {
            StoredEventsOperation::Run => Self::Run,
            StoredEventsOperation::Backfill => Self::Backfill,
            StoredEventsOperation::Redrive => Self::Redrive,
            StoredEventsOperation::Discard => Self::Discard,
        }
    }
}

#[cfg(test)]
mod tests;
