//! The command line as typed.
//!
//! What it means together with the environment and `wasm-fn.toml` is decided in [`config`](crate::config);
//! nothing of clap goes further than that.

mod deploy;
#[cfg(test)]
mod markdown;
mod node;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use wasm_fn_core::{FunctionName, StageName, VersionRef, Weight};

pub(crate) use deploy::{Deploy, DeployRollout, DeployStrategy, OnFail};
pub(crate) use node::{Demo, Doctor, Log, LogFormat, Serve};

/// What is said after the help of the program, and in the generated page.
const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   an error
  2   the rollout was aborted or rolled back (when it is waited for)
  3   the rollout was inconclusive when the waiting ended; it goes on
  64  the command line is wrong

Data goes to standard output, everything else to standard error.";

/// Heading of the arguments that every client command has.
const NODE: &str = "Node and output";

/// WebAssembly functions over HTTP, with traffic splitting between versions built in.
#[derive(Debug, Parser)]
#[command(name = "wasm-fn", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node: the functions on one address, the admin API on another
    Serve(Serve),
    /// Shows a canary, a promotion and a rollback in one terminal
    Demo(Demo),
    /// Makes a new version of a function and gives it traffic
    Deploy(Deploy),
    /// Shows how functions, or one function's versions, are doing
    Status(Status),
    /// Lists the versions of a function
    Versions(OneFunction),
    /// Shows or sets the traffic split of a function
    Traffic(Traffic),
    /// Takes the rollout to its next step, and from the last one to its end
    Promote(Promote),
    /// Holds the rollout at its step until it is resumed; the split stays
    Pause(Change),
    /// Lets a paused rollout go on
    Resume(Change),
    /// Ends the rollout; all traffic goes to stable, or back to the split that was set by hand before
    Abort(Abort),
    /// Sends all traffic to an earlier version at once
    Rollback(Rollback),
    /// Shows who changed what, when, from where and why
    History(History),
    /// Sends one request to a function
    Invoke(Invoke),
    /// Shows where each version of a function is reached by itself, with a token for that
    Preview(Preview),
    /// Shows what a function wrote
    Logs(Logs),
    /// Lists the functions
    Functions(Functions),
    /// Deletes a function with all its versions
    Delete(Delete),
    /// Looks whether a node would serve well here; takes what `serve` takes
    Doctor(Doctor),
    /// Prints the completion script of a shell
    Completions(Completions),
}

/// Where the node is, and how answers are printed.
// Not `next_help_heading`: that would go on to the arguments after these.
#[derive(Clone, Debug, Args)]
pub(crate) struct Connection {
    /// Admin address of the node
    #[arg(help_heading = NODE, long, env = "WASM_FN_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub(crate) server: String,
    /// Token of the node; read from the data directory when absent
    #[arg(help_heading = NODE, long, env = "WASM_FN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Data directory that holds the token file
    #[arg(help_heading = NODE, long, env = "WASM_FN_DATA_DIR", value_name = "DIR", default_value = "wasm-fn-data", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// How to print data, and errors on standard error
    #[arg(help_heading = NODE, short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// The answer of the admin API, one object; one a line where there are many.
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
    /// The function; all of them when absent
    pub(crate) function: Option<FunctionName>,
    /// Show it again and again until interrupted; of one function with `-o json`, one line for each change of
    /// its rollouts
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Which stage of which function is changed, and why.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The function
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Why, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `traffic`.
#[derive(Debug, Args)]
pub(crate) struct Traffic {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Shares that add up to 100%, such as `v42=10% v41=90%`; shows the split when absent
    #[arg(value_name = "VERSION=WEIGHT", value_parser = share)]
    pub(crate) shares: Vec<(VersionRef, Weight)>,
}

/// `promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Skip the steps that are left
    #[arg(long)]
    pub(crate) full: bool,
}

/// `abort`.
#[derive(Debug, Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Cut off requests under way on the canary; stable answers those that have left no trace
    #[arg(long)]
    pub(crate) now: bool,
}

/// `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The version to go back to; the one that was stable before when absent
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<VersionRef>,
}

/// `history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The function
    pub(crate) function: FunctionName,
    /// At most so many entries, newest first
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Show the numbers and backtraces behind each decision too
    #[arg(long)]
    pub(crate) evidence: bool,
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
    /// The version that shall answer, whatever the split says
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// Method; POST when there is a body, else GET
    #[arg(short = 'X', long)]
    pub(crate) method: Option<http::Method>,
    /// Body: a text, `@FILE`, or `@-` for standard input
    #[arg(short, long, value_name = "TEXT|@FILE")]
    pub(crate) data: Option<String>,
    /// Header, `name: value`; may be repeated
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
    /// Only this version, and by this name [default: all that are stable, canary or previous]
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// First make the preview tokens of all functions so far worthless
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
    /// Wait for more until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only lines of this version
    #[arg(long)]
    pub(crate) version: Option<VersionRef>,
    /// Only lines of requests that ended so
    #[arg(long)]
    pub(crate) status: Option<LogStatus>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How a request ended, for `logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogStatus {
    /// It failed.
    Error,
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The function
    pub(crate) function: FunctionName,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Why, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Reads `v42=10%`.
fn share(text: &str) -> Result<(VersionRef, Weight), String> {
    let (version, weight) =
        text.split_once('=').ok_or("there is no `=`, expected VERSION=WEIGHT such as v42=10%")?;
    let version = version.parse().map_err(|error: wasm_fn_core::VersionRefError| error.to_string())?;
    let weight = weight.parse().map_err(|error: wasm_fn_core::WeightError| error.to_string())?;
    Ok((version, weight))
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("there is no `:`, expected `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = value.trim().parse().map_err(|_| "the value has characters that no header carries")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests;
