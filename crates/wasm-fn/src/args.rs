//! The command line as typed.
//!
//! [`config`](crate::config) combines it with the environment and `wasm-fn.toml`. No type of clap goes
//! beyond that module.

mod access;
mod backup;
mod cluster;
mod config;
mod deploy;
mod examples;
mod identity;
mod kv;
mod listen;
#[cfg(test)]
mod markdown;
mod node;
mod project;
mod secrets;
mod switch;
mod top;
mod triggers;
mod words;

use std::{
    ops::Deref,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use wasm_fn_core::{FunctionName, NodeName, StageName, VersionRef, Weight};

pub(crate) use access::{
    Audit, AuditCommand, AuditHead, AuditVerify, Tokens, TokensCommand, TokensCreate, TokensList,
    TokensRevoke, TokensRotate,
};
pub(crate) use backup::{Backup, Restore};
pub(crate) use cluster::{
    Cluster, ClusterCommand, ClusterExport, ClusterImport, ClusterInit, ClusterStatus, Membership,
};
pub(crate) use config::{Config, ConfigCommand};
pub(crate) use deploy::{
    Deploy, DeployRollout, DeployStrategy, Hook, OnFail, PromoteStage, Push, Registry, Release,
    TriggerRelease, Waiting,
};
pub(crate) use identity::{Login, Logout, Whoami};
pub(crate) use kv::{Kv, KvCommand, KvList, KvOne, KvPlace, KvPut};
pub(crate) use listen::listen_address;
pub(crate) use node::{Demo, Doctor, Log, LogFormat, Serve};
pub(crate) use project::{Build, Dev, New, ProjectFunction, Test};
pub(crate) use secrets::{
    Secrets, SecretsCommand, SecretsDelete, SecretsDeploy, SecretsImport, SecretsList, SecretsPlace,
    SecretsRotateKey, SecretsSet,
};
pub(crate) use switch::switch;
pub(crate) use top::{Top, TopSort};
pub(crate) use triggers::{
    AddCommon, AddQueue, AddSchedule, AddWatch, AddWebhook, Events, EventsCommand, EventsLetters, EventsList,
    EventsPlace, EventsShow, Triggers, TriggersAddKind, TriggersBackfill, TriggersChange, TriggersCommand,
    TriggersList, TriggersOne,
};
pub(crate) use words::parse;

/// Text after the program's help, and in the generated page.
const EXIT_CODES: &str = "\
Exit codes:
  0   success
  1   error
  2   with `deploy --wait`: the rollout was aborted or rolled back
  3   with `deploy --wait`: the wait ended before the rollout, which continues
  64  invalid command line

Data is written to standard output, everything else to standard error.";

/// Heading of the arguments that every client command has.
const NODE: &str = "Node and output";

/// Runs WebAssembly functions over HTTP, with built-in traffic splitting between versions.
#[derive(Debug, Parser)]
#[command(name = "wasm-fn", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node: functions on one address, the admin API on another
    Serve(Serve),
    /// Shows a canary, a promotion, a rollback and a schedule in one terminal
    Demo(Demo),
    /// Creates a project of a function in a new folder, in a language of your choice
    New(New),
    /// Builds a function with the command in its wasm-fn.toml
    Build(Build),
    /// Serves a function while you work on it: builds and deploys each change to the stage `dev`
    Dev(Dev),
    /// Builds a function, and checks that it answers requests as expected
    Test(Test),
    /// Creates a new version of a function and sends traffic to it
    Deploy(Deploy),
    /// Pushes a component to a registry, from which `deploy oci://…` takes it
    Push(Push),
    /// Prints a post-receive hook for a git server: it builds and deploys what is pushed
    Hook(Hook),
    /// Shows the status of all functions, or of one function's versions
    Status(Status),
    /// Shows which functions are busy, slow or failing, and their rollouts, until you quit
    Top(Top),
    /// Lists the versions of a function
    Versions(OneFunction),
    /// Shows or sets the traffic split of a function
    Traffic(Traffic),
    /// Moves the rollout to its next step, or from the last step to its end
    Promote(Promote),
    /// Holds the rollout at its current step until you resume it; the split does not change
    Pause(Change),
    /// Resumes a paused rollout
    Resume(Change),
    /// Ends the rollout and sends all traffic to stable, or restores the split that was set by hand before it
    Abort(Abort),
    /// Sends all traffic to an earlier version at once
    Rollback(Rollback),
    /// Takes the version that is stable in one stage to another, without building or uploading anything
    PromoteStage(PromoteStage),
    /// Approves the release that waits in a stage; with the last approval that it needs, it begins
    Approve(Change),
    /// Withdraws the release that waits in a stage; its version stays
    Reject(Change),
    /// Shows who changed what, when, from where and why
    History(History),
    /// Sends one request to a function
    Invoke(Invoke),
    /// Shows the address of each version of a function, with a token to access it
    Preview(Preview),
    /// Shows the logs of a function
    Logs(Logs),
    /// Lists the functions
    #[command(visible_aliases = ["list", "ls"])]
    Functions(Functions),
    /// Deletes a function and all its versions, or one of its stages
    Delete(Delete),
    /// Sets, lists and deletes the secrets of functions
    Secrets(Secrets),
    /// Reads, sets, lists and deletes what functions keep in buckets
    Kv(Kv),
    /// Logs you in to a node at an issuer that it trusts, with a code that you confirm in any browser
    Login(Login),
    /// Forgets your login to a node, and revokes what could renew it
    Logout(Logout),
    /// Shows who you are to a node, and what you may do
    Whoami(Whoami),
    /// Manages triggers: schedules, webhooks and queues that call functions
    Triggers(Triggers),
    /// Shows the events of triggers, and redrives or discards dead letters
    Events(Events),
    /// Manages tokens: who may do what with which functions and stages
    Tokens(Tokens),
    /// Shows who changed what on the node, when, from where and why, and who was refused
    Audit(Audit),
    /// Saves the state and the components of a running node in one file
    Backup(Backup),
    /// Creates a data directory from a backup
    Restore(Restore),
    /// Manages clusters: nodes that have one state, one split and one rollout
    Cluster(Cluster),
    /// Works with configuration files
    Config(Config),
    /// Checks whether this machine can run a node well; takes the same options as `serve`
    Doctor(Doctor),
    /// Explains the code of an error: what it means, and what to do about it
    Explain(Explain),
    /// Prints a script by which a shell completes commands, and names of functions, versions and stages
    Completions(Completions),
    /// Writes a manual page for each command
    #[command(hide = true)]
    Man(Man),
}

/// Where the node is, and how to print its answers.
// Not `next_help_heading`: that would also apply to the arguments after these.
#[derive(Clone, Debug, Args)]
pub(crate) struct Connection {
    /// Admin address of the node
    #[arg(help_heading = NODE, long, env = "WASM_FN_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub(crate) server: String,
    /// Token for the node; if absent, that of your login to it, else read from the data directory
    #[arg(help_heading = NODE, long, env = "WASM_FN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Data directory that contains the token file
    #[arg(help_heading = NODE, long, env = "WASM_FN_DATA_DIR", value_name = "DIR", default_value = "wasm-fn-data", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// PEM file with authorities that may vouch for a node with https, instead of the public ones
    #[arg(help_heading = NODE, long, env = "WASM_FN_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// PEM file with a certificate that shows the node who you are
    #[arg(help_heading = NODE, long, env = "WASM_FN_CLIENT_CERT", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file with the private key of that certificate
    #[arg(help_heading = NODE, long, env = "WASM_FN_CLIENT_KEY", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Wait until the node has this revision, such as that of a change made on another node of its cluster
    #[arg(help_heading = NODE, long, value_name = "REVISION")]
    pub(crate) at_least_revision: Option<u64>,
    /// Format of data, and of errors on standard error
    #[arg(help_heading = NODE, short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// The same, for a command that changes something.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChangeConnection {
    #[command(flatten)]
    connection: Connection,
    /// Return only when every live node of the cluster has the change
    #[arg(help_heading = NODE, long)]
    pub(crate) everywhere: bool,
}

impl Deref for ChangeConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Format of printed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// The admin API's answer as one object, or one object per line if there are several.
    Json,
}

/// `versions`.
#[derive(Debug, Args)]
pub(crate) struct OneFunction {
    /// The function
    pub(crate) function: FunctionName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `functions`.
#[derive(Debug, Args)]
pub(crate) struct Functions {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The function; all functions if absent
    pub(crate) function: Option<FunctionName>,
    /// Refresh until interrupted; for one function with `-o json`, print one line for each change of its
    /// rollouts
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Only the numbers of this node of the cluster
    #[arg(long, value_name = "NAME", conflicts_with = "watch")]
    pub(crate) node: Option<NodeName>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The stage of a function to change, and the reason.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The function
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Reason, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `traffic`.
#[derive(Debug, Args)]
pub(crate) struct Traffic {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Shares that add up to 100%, such as `v42=10% v41=90%`; if absent, the split is shown
    #[arg(value_name = "VERSION=WEIGHT", value_parser = share)]
    pub(crate) shares: Vec<(VersionRef, Weight)>,
}

/// `promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Skip the remaining steps
    #[arg(long)]
    pub(crate) full: bool,
}

/// `abort`.
#[derive(Debug, Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Also cut off the canary's requests in progress; stable answers those that had no effect outside the
    /// machine
    #[arg(long)]
    pub(crate) now: bool,
}

/// `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The version to go back to [default: the previous stable version]
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<VersionRef>,
}

/// `history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The function
    pub(crate) function: FunctionName,
    /// Maximum number of entries, newest first
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Also show the numbers and backtraces behind each decision
    #[arg(long)]
    pub(crate) evidence: bool,
    /// Only changes that this node of the cluster made
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<NodeName>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `invoke`.
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The function
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Version that answers, regardless of the traffic split
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// HTTP method [default: POST if there is a body, else GET]
    #[arg(short = 'X', long)]
    pub(crate) method: Option<http::Method>,
    /// Body: text, `@FILE`, or `@-` for standard input
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub(crate) data: Option<String>,
    /// Header as `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Path and query below the function's route, such as `/x?y=1`
    #[arg(long, default_value = "")]
    pub(crate) path: String,
    /// Print status and headers before the body
    #[arg(short, long)]
    pub(crate) include: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The function
    #[arg(required_unless_present = "rotate_key")]
    pub(crate) function: Option<FunctionName>,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Only this version, under this name [default: every version that is stable, canary or previous]
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// First invalidate every preview token issued so far, for all functions
    #[arg(long)]
    pub(crate) rotate_key: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The function
    pub(crate) function: FunctionName,
    /// Wait for more lines until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only lines of this stage, instead of all that the token may see
    #[arg(short, long)]
    pub(crate) stage: Option<StageName>,
    /// Only lines of this version
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// Only lines of requests that failed: `error` for all of them, or their status, such as `503` or `5xx`
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only lines of this request: the `wasm-fn-request-id` of its answer, or the beginning of it
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
    /// Only lines from this time on: how long ago, such as `10m`, or a time such as `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) since: Option<LogTime>,
    /// Only lines from before this time
    #[arg(long, value_name = "TIME", value_parser = log_time, conflicts_with = "follow")]
    pub(crate) until: Option<LogTime>,
    /// Only lines of this node of the cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<NodeName>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// A time in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogTime {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(SystemTime),
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The function
    pub(crate) function: FunctionName,
    /// Delete only this stage; its versions and the other stages stay
    #[arg(short, long)]
    pub(crate) stage: Option<StageName>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Reason, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The `code` of an error, such as guest-trap; all codes if absent
    pub(crate) code: Option<String>,
    /// Format of data, and of errors on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for the pages; it is created if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// The command line, with examples in its help.
pub(crate) fn command() -> clap::Command {
    examples::added(<Cli as clap::CommandFactory>::command())
}

/// Reads `v42=10%`.
fn share(text: &str) -> Result<(VersionRef, Weight), String> {
    let (version, weight) =
        text.split_once('=').ok_or("found no `=`, expected VERSION=WEIGHT such as v42=10%")?;
    let version = version.parse().map_err(|error: wasm_fn_core::VersionRefError| error.to_string())?;
    let weight = weight.parse().map_err(|error: wasm_fn_core::WeightError| error.to_string())?;
    Ok((version, weight))
}

/// Reads `10m`, `2026-11-22T10:00:00Z` or `2026-11-22 10:00:00`, which is in UTC too.
fn log_time(text: &str) -> Result<LogTime, &'static str> {
    let ago = humantime::parse_duration(text).map(LogTime::Ago);
    ago.or_else(|_| humantime::parse_rfc3339_weak(text).map(LogTime::At))
        .map_err(|_| "expected how long ago, such as 10m, or a time such as 2026-11-22T10:00:00Z")
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("found no `:`, expected `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is not a header name"))?;
    let value =
        value.trim().parse().map_err(|_| "the value has characters that are not allowed in a header")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests;
