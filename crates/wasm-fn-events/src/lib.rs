//! What starts invocations besides requests, and what becomes of the events.
//!
//! A [`Trigger`] is a [`Schedule`], a webhook, a queue or a watched tag of a registry. A schedule says which
//! ticks are [`Due`]; a [`Provider`] verifies that a request is its own, and a [`PushEvent`] is what it says
//! of new code, which a [`PushDeploy`] may deploy. Each is a [`CloudEvent`], which becomes the request of a
//! delivery. The function's [`Answer`] has a [`Disposition`], and a [`RetryPolicy`] says when the [`Next`]
//! delivery begins. Who keeps events, sends requests and wakes at a time is elsewhere.
//!
//! Invariants: no clock and no randomness (times and draws are arguments), no environment, no input or
//! output. The same trigger has the same ticks on every node. Everything that comes from outside has a bound,
//! and nothing takes longer the longer a node was stopped. Nothing in a request is believed before its
//! signature is checked, in constant time.

mod delivery;
mod deploy;
mod event;
#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;
mod push;
mod queue;
mod rate;
mod schedule;
mod time;
mod trigger;
mod webhook;

pub use delivery::{
    AGE_MAX_MAX, ATTEMPTS_MAX_MAX, Answer, AnswerPattern, BACKOFF_MAX_MAX, BACKOFF_MIN_MIN, DISPOSITIONS,
    DeadLetterReason, Disposition, DispositionKind, DispositionRule, Next, RETRY_AFTER_MAX, RetryOptions,
    RetryPolicy, RetryPolicyError,
};
pub use deploy::{
    PATTERN_BYTES_MAX, PATTERNS_MAX, PushDeploy, PushDeployError, PushDeployOptions, RefPattern,
    RefPatternError, Unwanted, WATCH_EVERY_DEFAULT, WATCH_EVERY_MAX, WATCH_EVERY_MIN, WatchError,
    WatchSource,
};
pub use event::{
    ARTIFACT_TYPE, ATTEMPT_HEADER, ATTRIBUTE_BYTES_MAX, Attribute, AttributeError, CloudEvent, ContentType,
    EXTENSION_NAME_BYTES_MAX, EXTENSIONS_MAX, EventError, ExtensionName, Extensions, ORDERING_KEY_BYTES_MAX,
    TICK_TYPE, TRIGGER_HEADER, UriReference, ValueError, is_reserved, ordering_key,
};
pub use push::{
    EventOrder, ExpandError, PLACEHOLDERS, PushError, PushEvent, PushKind, PushKindError, TEMPLATE_BYTES_MAX,
    TemplateError, UrlTemplate,
};
pub use queue::{
    BROKER_URL_BYTES_MAX, BROKERS_MAX, BrokerUrl, BrokerUrlError, BrokersCountError,
    MESSAGE_HEADER_BYTES_MAX, MESSAGE_HEADERS_MAX, MESSAGE_TYPE, QueueMessage, QueueSource, QueueStart,
    QueueStartError, STREAM_BYTES_MAX, SUBJECT_BYTES_MAX, StreamName, StreamNameError, SubjectFilter,
    SubjectFilterError,
};
pub use rate::{RATE_MAX, Rate, RateError, RateLimiter};
pub use schedule::{
    BACKFILL_MAX, Backfill, CANARY_RUNS_MAX, CATCH_UP_DEFAULT, CATCH_UP_MAX, CATCH_UP_MIN, CRON_BYTES_MAX,
    CronError, CronTimes, DUE_MAX, Due, INTERVAL_MAX, INTERVAL_MIN, Interval, IntervalError, JITTER_MAX,
    MISSED_COUNTED_MAX, Missed, NEXT_TIMES_MAX, OVERLAPS, Overlap, OverlapDecision, OverlapError, RUNS_MAX,
    Schedule, ScheduleError, ScheduleOptions, ScheduleTime, TIMES_MAX, Tick, Zone, ZoneError,
};
pub use time::{Timestamp, TimestampError};
pub use trigger::{
    CONCURRENCY_DEFAULT, DeployingError, EVENTS_PATH, EventPath, EventPathError, HOOKS_PATH, NOTE_BYTES_MAX,
    PATH_BYTES_MAX, Pause, PauseNote, PauseNoteError, PausedBy, Redeliver, RedeliverError, SECRETS_MAX,
    SecretsCountError, Trigger, TriggerId, TriggerKind, WebhookMode, WebhookModeError, WebhookSource,
};
pub use wasm_fn_core::TriggerName;
pub use webhook::{
    FACT_BYTES_MAX, PROVIDERS, Provider, ProviderError, SIGNATURES_MAX, TOLERANCE, Verified, WebhookError,
};
