//! `triggers` and `events`, as typed.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, Subcommand};
use wasm_fn_core::{FunctionName, SecretName, StageName, TriggerName};

use super::{ChangeConnection, Connection, LogTime, NODE, TriggerRelease, deploy::time, log_time};

/// Help heading of options of triggers that deploy.
const DEPLOYING: &str = "Deploying";

/// `triggers`.
#[derive(Debug, Args)]
pub(crate) struct Triggers {
    #[command(subcommand)]
    pub(crate) command: TriggersCommand,
}

/// The commands of `triggers`.
#[derive(Debug, Subcommand)]
pub(crate) enum TriggersCommand {
    /// Adds a trigger to a stage of a function
    Add(Box<TriggersAdd>),
    /// Lists the triggers of a function, or of all functions
    #[command(visible_alias = "ls")]
    List(TriggersList),
    /// Shows a trigger: its settings, its next times, and what became of its events
    Show(TriggersOne),
    /// Pauses a trigger: events that come meanwhile wait, and ticks of a schedule are skipped
    Pause(TriggersChange),
    /// Lets a paused trigger go on
    Resume(TriggersChange),
    /// Runs a schedule once, now
    Run(TriggersOne),
    /// Runs a schedule now for each of its times in a range that is past
    Backfill(TriggersBackfill),
    /// Removes a trigger, with its events and dead letters
    Remove(TriggersChange),
}

/// `triggers add`.
#[derive(Debug, Args)]
pub(crate) struct TriggersAdd {
    #[command(subcommand)]
    pub(crate) kind: TriggersAddKind,
}

/// The kinds of triggers.
#[derive(Debug, Subcommand)]
pub(crate) enum TriggersAddKind {
    /// Calls a function at given times
    Schedule(AddSchedule),
    /// Calls a function with the events that a service on the web sends, or deploys what they are about
    Webhook(Box<AddWebhook>),
    /// Calls a function with the messages of a stream of NATS JetStream
    Queue(AddQueue),
    /// Deploys what a tag of a registry leads to, whenever that is something else
    Watch(Box<AddWatch>),
}

/// Settings that every trigger has.
#[derive(Debug, Args)]
pub(crate) struct AddCommon {
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Path of the requests that carry the events, below /_events/ [default: /_events/NAME]
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Maximum number of deliveries of one event [default: 20]
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<u32>,
    /// Age after which an event is not delivered again [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_age: Option<Duration>,
    /// Maximum number of deliveries at a time [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,
    /// Maximum number of deliveries that begin in a time, such as 5/s, 100/m or 1000/h [default: any]
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<String>,
    /// When an event that a canary failed to handle goes to stable at once: `always`, or `effect-free` only
    /// if the canary had no effect [default: always]
    #[arg(long, value_name = "WHEN")]
    pub(crate) redeliver: Option<String>,
    /// Reason, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `triggers add schedule`.
#[derive(Debug, Args)]
pub(crate) struct AddSchedule {
    /// The function
    pub(crate) function: FunctionName,
    /// Name of the trigger [default: schedule, schedule-2, ...]
    #[arg(long)]
    pub(crate) name: Option<TriggerName>,
    /// Cron expression, such as `"0 3 * * *"`; may be repeated
    #[arg(long, value_name = "EXPR", required_unless_present = "every")]
    pub(crate) cron: Vec<String>,
    /// Time zone of the cron expressions, such as Europe/Berlin [default: UTC]
    #[arg(long, visible_alias = "timezone", value_name = "ZONE", requires = "cron")]
    pub(crate) time_zone: Option<String>,
    /// Interval, such as 90s; may be repeated
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) every: Vec<Duration>,
    /// What happens to a tick while an earlier run is in progress: skip, buffer-one, allow-all or
    /// cancel-other [default: skip]
    #[arg(long, value_name = "POLICY")]
    pub(crate) overlap: Option<String>,
    /// How late a tick may run, for instance after a restart [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) catch_up: Option<Duration>,
    /// Run each tick later by a time of its own, up to this [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) jitter: Option<Duration>,
    /// Pause the trigger after this many failed runs one after the other [default: never]
    #[arg(long, value_name = "N")]
    pub(crate) pause_on_failure: Option<NonZeroU32>,
    /// Run so many ticks on each canary as well, without effects, and on stable [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) canary_runs: Option<u32>,
    /// No ticks before this time, such as 2026-12-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) start: Option<LogTime>,
    /// No ticks after this time
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) end: Option<LogTime>,
    #[command(flatten)]
    pub(crate) common: AddCommon,
}

/// `triggers add webhook`.
#[derive(Debug, Args)]
pub(crate) struct AddWebhook {
    /// The function
    pub(crate) function: FunctionName,
    /// Name of the trigger [default: the provider's, such as github, github-2, ...]
    #[arg(long)]
    pub(crate) name: Option<TriggerName>,
    /// Whose rules the signatures follow: github, gitlab, gitea, stripe, slack or standard
    #[arg(long)]
    pub(crate) provider: String,
    /// Secret of the stage that signs the events; may be repeated while it is rotated
    #[arg(long = "secret", value_name = "NAME", required = true)]
    pub(crate) secrets: Vec<SecretName>,
    /// Who answers the service: `async` the node, once the event is durable; `sync` the function [default:
    /// async]
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Deliver events with the same value of this header one at a time, in order, and to one version
    #[arg(long, value_name = "HEADER")]
    pub(crate) ordered_by: Option<String>,
    /// Deploy this artifact instead of calling the function: `oci://REGISTRY/NAME:{sha}` or an https URL,
    /// with {sha}, {ref}, {tag} and {repository} of the push
    #[arg(help_heading = DEPLOYING, long, value_name = "URL")]
    pub(crate) deploy: Option<String>,
    /// Events that deploy: push, tag, release and package [default: push]
    #[arg(help_heading = DEPLOYING, long, value_name = "EVENTS", value_delimiter = ',', requires = "deploy")]
    pub(crate) on: Vec<String>,
    /// Branch whose pushes deploy, such as `main` or `release/*`; may be repeated [default: the repository's
    /// default branch]
    #[arg(help_heading = DEPLOYING, long = "branch", value_name = "BRANCH", requires = "deploy")]
    pub(crate) branches: Vec<String>,
    /// Tag that deploys, such as `v*`, also those of releases and packages; may be repeated [default: all]
    #[arg(help_heading = DEPLOYING, long = "tag", value_name = "TAG", requires = "deploy")]
    pub(crate) tags: Vec<String>,
    /// Secret of the stage with `user:password` or a token for the artifact
    #[arg(help_heading = DEPLOYING, long, value_name = "NAME", requires = "deploy")]
    pub(crate) credentials: Option<SecretName>,
    #[command(flatten)]
    pub(crate) release: TriggerRelease,
    #[command(flatten)]
    pub(crate) common: AddCommon,
}

/// `triggers add queue`.
#[derive(Debug, Args)]
pub(crate) struct AddQueue {
    /// The function
    pub(crate) function: FunctionName,
    /// Name of the trigger [default: queue, queue-2, ...]
    #[arg(long)]
    pub(crate) name: Option<TriggerName>,
    /// Address of the broker, such as nats://broker:4222, or tls://broker:4222 for an encrypted connection;
    /// may be repeated for the servers of a cluster
    #[arg(long = "nats", value_name = "URL", required = true)]
    pub(crate) brokers: Vec<String>,
    /// The stream, which has to be there
    #[arg(long)]
    pub(crate) stream: String,
    /// Subjects of the messages, such as `"orders.>"`
    #[arg(long)]
    pub(crate) subject: String,
    /// Secret of the stage with the credentials: the text of a .creds file, the seed of a user's key,
    /// user:password, or a token [default: none are shown]
    #[arg(long, value_name = "SECRET")]
    pub(crate) credentials: Option<SecretName>,
    /// With which message to begin: `all` with the oldest that there is, `new` with the next that comes
    /// [default: all]
    #[arg(long, value_name = "WHERE")]
    pub(crate) start: Option<String>,
    #[command(flatten)]
    pub(crate) common: AddCommon,
}

/// `triggers add watch`.
#[derive(Debug, Args)]
pub(crate) struct AddWatch {
    /// The function
    pub(crate) function: FunctionName,
    /// Name of the trigger [default: watch, watch-2, ...]
    #[arg(long)]
    pub(crate) name: Option<TriggerName>,
    /// The tag, such as oci://registry.example.com/app:prod
    #[arg(long, value_name = "URL")]
    pub(crate) artifact: String,
    /// Time between two looks at it [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) every: Option<Duration>,
    /// Secret of the stage with `user:password` or a token for the registry
    #[arg(long, value_name = "NAME")]
    pub(crate) credentials: Option<SecretName>,
    #[command(flatten)]
    pub(crate) release: TriggerRelease,
    #[command(flatten)]
    pub(crate) common: AddCommon,
}

/// `triggers list`.
#[derive(Debug, Args)]
pub(crate) struct TriggersList {
    /// The function; all functions if absent
    pub(crate) function: Option<FunctionName>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// A trigger.
#[derive(Debug, Args)]
pub(crate) struct TriggersOne {
    /// The function
    pub(crate) function: FunctionName,
    /// The trigger
    pub(crate) name: TriggerName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// A trigger to change, and the reason.
#[derive(Debug, Args)]
pub(crate) struct TriggersChange {
    #[command(flatten)]
    pub(crate) one: TriggersOne,
    /// Reason, for the history; a pause shows it until it ends
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Return only when every live node of the cluster has the change
    #[arg(help_heading = NODE, long)]
    pub(crate) everywhere: bool,
}

/// `triggers backfill`.
#[derive(Debug, Args)]
pub(crate) struct TriggersBackfill {
    #[command(flatten)]
    pub(crate) one: TriggersOne,
    /// First time: how long ago, such as `2h`, or a time such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) from: LogTime,
    /// Last time [default: now]
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) to: Option<LogTime>,
}

/// `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

/// The commands of `events`.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Lists the events of a trigger that wait or are being delivered, or its dead letters
    #[command(visible_alias = "ls")]
    List(EventsList),
    /// Shows what became of an event, and its request while it waits or is a dead letter
    Show(EventsShow),
    /// Has dead letters delivered again
    Redrive(EventsLetters),
    /// Removes dead letters for good
    Discard(EventsLetters),
}

/// Whose events are meant.
#[derive(Debug, Args)]
pub(crate) struct EventsPlace {
    /// The function
    pub(crate) function: FunctionName,
    /// The trigger, or `@async` for the requests that clients sent asynchronously
    #[arg(value_parser = events_of)]
    pub(crate) trigger: String,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `events list`.
#[derive(Debug, Args)]
pub(crate) struct EventsList {
    #[command(flatten)]
    pub(crate) place: EventsPlace,
    /// List the dead letters
    #[arg(long)]
    pub(crate) dead: bool,
    /// Maximum number of events, oldest first
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Only events behind this position, which the list shows
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
}

/// `events show`.
#[derive(Debug, Args)]
pub(crate) struct EventsShow {
    #[command(flatten)]
    pub(crate) place: EventsPlace,
    /// Id of the event
    pub(crate) id: String,
}

/// `events redrive` and `events discard`.
#[derive(Debug, Args)]
pub(crate) struct EventsLetters {
    #[command(flatten)]
    pub(crate) place: EventsPlace,
    /// Ids of the dead letters
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// All dead letters of the trigger
    #[arg(long)]
    pub(crate) all: bool,
}

impl TriggersAddKind {
    /// Where the node is.
    fn connection(&self) -> &ChangeConnection {
        match self {
            Self::Schedule(add) => &add.common.connection,
            Self::Webhook(add) => &add.common.connection,
            Self::Queue(add) => &add.common.connection,
            Self::Watch(add) => &add.common.connection,
        }
    }
}

impl TriggersCommand {
    /// Where the node is, if every live node is to have the change.
    pub(crate) fn everywhere(&self) -> Option<&Connection> {
        match self {
            Self::Add(add) => add.kind.connection().everywhere.then(|| &**add.kind.connection()),
            Self::Pause(change) | Self::Resume(change) | Self::Remove(change) => {
                change.everywhere.then_some(&change.one.connection)
            }
            Self::List(_) | Self::Show(_) | Self::Run(_) | Self::Backfill(_) => None,
        }
    }

    /// Where the node is.
    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::Add(add) => add.kind.connection(),
            Self::List(list) => &list.connection,
            Self::Show(one) | Self::Run(one) => &one.connection,
            Self::Pause(change) | Self::Resume(change) | Self::Remove(change) => &change.one.connection,
            Self::Backfill(backfill) => &backfill.one.connection,
        }
    }
}

impl EventsCommand {
    /// Where the node is.
    pub(crate) fn connection(&self) -> &Connection {
        let place = match self {
            Self::List(list) => &list.place,
            Self::Show(show) => &show.place,
            Self::Redrive(letters) | Self::Discard(letters) => &letters.place,
        };
        &place.connection
    }
}

/// Reads the name of a trigger, or `@async`.
fn events_of(text: &str) -> Result<String, String> {
    if text == wasm_fn_api::ASYNC {
        return Ok(text.to_owned());
    }
    let name: Result<TriggerName, _> = text.parse();
    name.map(|name| name.to_string()).map_err(|error: wasm_fn_core::NameError| error.to_string())
}
