//! What a trigger is to be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deploy::{TriggerReleaseSpec, WatchSpec, WebhookDeploySpec};
use crate::words::{
    EventPathText, HeaderText, OverlapWord, ProviderWord, QueueStartWord, RateText, RedeliverWord,
    SecretNameText, WebhookModeWord,
};

/// The body of `PUT /v1/functions/{function}/stages/{stage}/triggers/{trigger}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerRequest {
    /// Where its events come from.
    pub source: SourceSpec,
    /// The path of the requests by which the function gets its events; `/_events/` and the trigger's name if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventPathText>)]
    pub path: Option<String>,
    /// When an event is delivered again.
    #[serde(default)]
    pub retry: RetrySpec,
    /// Deliveries in progress at a time, 1 to 1,000; 10 if absent. A schedule has one unless its `overlap` is
    /// `allow-all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub concurrency_max: Option<u32>,
    /// Deliveries that begin in a time, at most: 1 to 100,000 in a second, a minute or an hour; any number if
    /// absent. Webhooks in mode `sync` and triggers that deploy have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RateText>)]
    pub rate: Option<String>,
    /// Events with the same value of this header are delivered one at a time, in the order in which they
    /// came, and to one version; those without it in no order. It is looked for in what the function gets,
    /// then in what the service sent. Schedules, webhooks in mode `sync` and triggers that deploy have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HeaderText>)]
    pub ordered_by: Option<String>,
    /// When an event that a canary failed to handle goes to stable at once: `always`, or if the canary had no
    /// effect; `always` if absent. Webhooks in mode `sync` and triggers that deploy have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RedeliverWord>)]
    pub redeliver: Option<String>,
    /// How what it deploys is released, if it deploys; all at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TriggerReleaseSpec>,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuses the change if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}

/// Where a trigger's events come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceSpec {
    /// From the clock.
    Schedule(ScheduleSpec),
    /// From a service on the web, which signs them.
    Webhook(WebhookSpec),
    /// From a stream of NATS JetStream, which keeps them until they are handled.
    Queue(QueueSpec),
    /// From a registry, when a tag has another digest. They deploy it.
    Watch(WatchSpec),
}

/// When a schedule ticks. Of a trigger that exists, everything is there that has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Cron expressions of 5, 6 or 7 fields. With `every_ms`, 1 to 16 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<String>,
    /// Intervals from 1,000 to 315,360,000,000 ms, counted from the Unix epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub every_ms: Vec<u64>,
    /// The time zone of the cron expressions, a name of the IANA database; `UTC` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What happens to a tick while an earlier run is in progress; `skip` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OverlapWord>)]
    pub overlap: Option<String>,
    /// How late a tick may run, 10,000 to 31,536,000,000 ms; 60,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_ms: Option<u64>,
    /// Ticks run up to this much later than their times, at most 3,600,000 ms; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<u64>,
    /// The trigger is paused after this many failed runs one after the other; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub pause_on_failure: Option<u32>,
    /// So many ticks run on each canary as well, without effects, and their real runs on stable, at most
    /// 1,000; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1000)]
    pub canary_runs: Option<u32>,
    /// There are no ticks before this time, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// There are no ticks after this time, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
}

/// Who sends a webhook's events, and how they are signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    /// Whose rules the signatures follow.
    #[schema(value_type = ProviderWord)]
    pub provider: String,
    /// The secrets of the stage that may have signed an event, 1 to 4: several while one is rotated.
    #[schema(value_type = Vec<SecretNameText>)]
    pub secrets: Vec<String>,
    /// Who answers the service: the node, once the event is durable, or the function; `async` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<WebhookModeWord>)]
    pub mode: Option<String>,
    /// Which events deploy, and what; if absent, all events are for the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<WebhookDeploySpec>,
}

/// Which messages of which stream a function gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// The addresses of the broker's servers, 1 to 8: `nats://host:port`, or `tls://host:port` where the
    /// connection must be encrypted.
    pub brokers: Vec<String>,
    /// The stream, which has to be there.
    pub stream: String,
    /// The subjects of the messages, which may have `*` for a token, and a last `>` for all that follow.
    pub subject: String,
    /// The secret of the stage with the credentials: the text of a `.creds` file, the seed of a user's key,
    /// `user:password`, or a token. None are shown if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SecretNameText>)]
    pub credentials: Option<String>,
    /// With which message a new trigger begins: with the oldest that the stream has, or with the next that it
    /// gets; `all` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<QueueStartWord>)]
    pub start: Option<String>,
}

/// When an event is delivered again. Of a trigger that exists, everything is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Deliveries at most, the first included, 1 to 1,000; 20 if absent, and 1,000 of a trigger that deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub attempts_max: Option<u32>,
    /// No delivery begins later than this after the event came, at most 14 days; one day if absent, and six
    /// hours of a trigger that deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_max_ms: Option<u64>,
    /// The longest wait after the first delivery, from 100 ms; 1,000 ms if absent, and 2,000 ms of a trigger
    /// that deploys. It doubles with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_min_ms: Option<u64>,
    /// Where the doubling ends, at most one day; one hour if absent, and one minute of a trigger that
    /// deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_max_ms: Option<u64>,
}

/// The body of a command that pauses or resumes a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerCommand {
    /// Why, for the journal. A pause shows it until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Refuses the command if the function has changed after this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
}
