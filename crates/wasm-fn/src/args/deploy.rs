//! `wasm-fn deploy` as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};
use wasm_fn_core::{FunctionName, StageName, Weight, WeightError};
use wasm_fn_rollout::{Plan, PlanSpec, Step, StepError, Strategy};

use super::Connection;

/// Heading of the strategies.
const STRATEGY: &str = "Strategy";

/// Heading of what goes for several strategies.
const ROLLOUT: &str = "Rollout";

/// Heading of what happens after the deployment.
const WAITING: &str = "Waiting";

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The component or command module; `component` of the function in wasm-fn.toml when absent
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// The function; found by FILE in wasm-fn.toml, or made of FILE's name, when absent
    #[arg(short, long)]
    pub(crate) function: Option<FunctionName>,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Why, for the history and the list of versions
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) strategy: DeployStrategy,
    #[command(flatten)]
    pub(crate) rollout: DeployRollout,
    /// Abort a rollout that is under way instead of refusing
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// Configuration of functions; ./wasm-fn.toml when absent and there
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How the version gets its traffic; the function's `rollout` in wasm-fn.toml decides when none is chosen.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct DeployStrategy {
    /// All traffic to the new version at once, which is watched afterwards (the default)
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) all_at_once: bool,
    /// No traffic; the version is reachable by asking for it
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) no_traffic: bool,
    /// Growing shares such as `1%,10%,50%`, then all traffic; those of wasm-fn.toml, else 1%,10%,50%, when
    /// none is named. Cohorts of the stable version may come first: `beta,10%,50%`, or `"10% of
    /// beta,beta,10%"`
    #[arg(help_heading = STRATEGY, long, value_name = "STEPS", num_args = 0..=1, require_equals = true, value_parser = steps)]
    pub(crate) canary: Option<Option<Steps>>,
    /// The same share more, again and again: `10%/1m`, which is also meant when none is named and
    /// wasm-fn.toml has none
    #[arg(help_heading = STRATEGY, long, value_name = "SHARE/TIME", num_args = 0..=1, require_equals = true, value_parser = growth)]
    pub(crate) linear: Option<Option<Growth>>,
    /// No traffic until its checks passed, then all at once
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) blue_green: bool,
}

/// How the rollout moves; what is absent is as wasm-fn.toml says.
#[derive(Debug, Default, Args)]
pub(crate) struct DeployRollout {
    /// Wait for `wasm-fn promote` before each step and before the switch
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) manual: bool,
    /// What happens when the gate fails [default: rollback]
    #[arg(help_heading = ROLLOUT, long, value_name = "ACTION")]
    pub(crate) on_fail: Option<OnFail>,
    /// How long each step of a canary lasts at least [default: 1m]
    #[arg(help_heading = ROLLOUT, long, value_name = "TIME", value_parser = time)]
    pub(crate) step_min: Option<Duration>,
    /// Requests that each step needs before it passes [default: 100]
    #[arg(help_heading = ROLLOUT, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_requests: Option<u64>,
    /// How long the version is watched once it has all traffic, 0s for not at all [default: 5m]
    #[arg(help_heading = ROLLOUT, long, value_name = "TIME", value_parser = time)]
    pub(crate) watch_for: Option<Duration>,
    /// Users see the canary's failures: stable does not answer in its place
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) no_shield: bool,
    /// Requests that a blue-green version must answer as expected before the switch: `[[check]]` tables in
    /// TOML, or an array in JSON; may be repeated
    #[arg(help_heading = ROLLOUT, long = "check", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) checks: Vec<PathBuf>,
}

/// Whether `deploy` stays until the rollout has ended.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Show the rollout until it has ended, and exit by how it did; with `-o json`, the deployment and then
    /// each change are one line each
    #[arg(help_heading = WAITING, long)]
    pub(crate) wait: bool,
    /// Longest time to wait; the rollout goes on after it
    #[arg(help_heading = WAITING, long, value_name = "TIME", requires = "wait", default_value = "30m", value_parser = time)]
    pub(crate) timeout: Duration,
}

/// What happens when the gate fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFail {
    /// Everybody goes back.
    Rollback,
    /// The split stays until somebody resumes or ends the rollout.
    Pause,
    /// The split stays until somebody ends the rollout.
    Freeze,
}

/// Steps of a canary.
// Invariant: a plan can be made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// The first step first.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
}

/// How a linear rollout grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// The share that each step adds, above zero.
    pub(crate) by: Weight,
    /// How long each step lasts, above zero.
    pub(crate) every: Duration,
}

/// Reads `10%`, `1%,10%,50%` or `beta,10%`.
fn steps(text: &str) -> Result<Steps, String> {
    let steps = text.split(',').map(|step| step.trim().parse());
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().map_err(|error: StepError| error.to_string())?;
    if let [Step::Share(Weight::ZERO | Weight::FULL)] = steps[..] {
        return Err(format!("weight of a canary is {text}, expected more than 0% and less than 100%"));
    }
    laid_out(Strategy::Canary { steps: steps.clone() })?;
    Ok(Steps(steps))
}

/// Reads `10%/1m`.
fn growth(text: &str) -> Result<Growth, String> {
    let (by, every) = text.split_once('/').ok_or("there is no `/`, expected SHARE/TIME such as 10%/1m")?;
    let by = by.parse().map_err(|error: WeightError| error.to_string())?;
    let growth = Growth { by, every: time(every)? };
    laid_out(Strategy::Linear { by, every: growth.every })?;
    Ok(growth)
}

/// Whether a plan can be made of `strategy`; the node asks the same.
fn laid_out(strategy: Strategy) -> Result<(), String> {
    Plan::new(PlanSpec::usual(strategy)).map(drop).map_err(|error| error.to_string())
}

/// Reads `90s` as whole milliseconds, the finest that a node keeps.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|_| "expected a time such as 10s or 500ms")?;
    if !time.subsec_nanos().is_multiple_of(1_000_000) {
        return Err("expected whole milliseconds".to_owned());
    }
    Ok(time)
}
