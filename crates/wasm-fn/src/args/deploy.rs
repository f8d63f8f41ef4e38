//! `wasm-fn deploy` and `wasm-fn promote-stage` as typed.

mod hook;
mod registry;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};
use wasm_fn_core::{FunctionName, StageName, Weight, WeightError};
use wasm_fn_rollout::{Plan, PlanSpec, Step, StepError, Strategy};

pub(crate) use hook::Hook;
pub(crate) use registry::{Push, Registry};

use super::ChangeConnection;

/// Help heading of the strategies.
const STRATEGY: &str = "Strategy";

/// Help heading of options that apply to several strategies.
const ROLLOUT: &str = "Rollout";

/// Help heading of options for the time after the deployment.
const WAITING: &str = "Waiting";

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The component or command module, or an artifact in a registry: `oci://REGISTRY/REPOSITORY:TAG`
    /// [default: the function's `component` in wasm-fn.toml]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Run the function's `build` in wasm-fn.toml first
    #[arg(short, long, conflicts_with = "file")]
    pub(crate) build: bool,
    /// The function [default: the one with this FILE in wasm-fn.toml, or else a name made from FILE's name]
    #[arg(short, long)]
    pub(crate) function: Option<FunctionName>,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) release: Release,
    /// PEM file with the public key of cosign that must have signed the artifact
    #[arg(help_heading = "Registry", long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) verify_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: Registry,
}

/// `promote-stage`.
#[derive(Debug, Args)]
pub(crate) struct PromoteStage {
    /// The function
    pub(crate) function: FunctionName,
    /// The stage whose stable version is taken
    pub(crate) from: StageName,
    /// The stage that it is released to
    pub(crate) to: StageName,
    #[command(flatten)]
    pub(crate) release: Release,
}

/// How a version is released, by `deploy` or `promote-stage`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// Reason, for the history and the list of versions
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) strategy: DeployStrategy,
    #[command(flatten)]
    pub(crate) rollout: DeployRollout,
    /// In a cluster, give the version traffic when this share of the nodes has prepared it; on the others the
    /// version before answers in its place during the rollout [default: 100%]
    #[arg(long, value_name = "SHARE")]
    pub(crate) prepared: Option<Weight>,
    /// Abort a rollout that is in progress instead of refusing
    #[arg(long)]
    pub(crate) replace: bool,
    /// Accept that the version can do more than the stable one: interfaces that it imports, egress, names of
    /// environment variables and secrets, memory, CPU time
    #[arg(long)]
    pub(crate) allow_new: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// Configuration of functions [default: ./wasm-fn.toml if it exists]
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// How what a trigger deploys is released.
#[derive(Debug, Default, Args)]
pub(crate) struct TriggerRelease {
    #[command(flatten)]
    pub(crate) strategy: DeployStrategy,
    #[command(flatten)]
    pub(crate) rollout: DeployRollout,
    /// Abort a rollout that is in progress instead of waiting for its end
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) replace: bool,
    /// Accept that a version can do more than the stable one
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) allow_new: bool,
    /// Configuration of functions, for the strategy [default: ./wasm-fn.toml if it exists]
    #[arg(help_heading = ROLLOUT, long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

impl TriggerRelease {
    /// The first option that was typed, if there is one.
    pub(crate) fn typed(&self) -> Option<&'static str> {
        let DeployStrategy { all_at_once, no_traffic, canary, linear, blue_green } = &self.strategy;
        let DeployRollout { manual, on_fail, step_min, min_requests, watch_for, no_shield, checks } =
            &self.rollout;
        let options = [
            ("--all-at-once", *all_at_once),
            ("--no-traffic", *no_traffic),
            ("--canary", canary.is_some()),
            ("--linear", linear.is_some()),
            ("--blue-green", *blue_green),
            ("--manual", *manual),
            ("--on-fail", on_fail.is_some()),
            ("--step-min", step_min.is_some()),
            ("--min-requests", min_requests.is_some()),
            ("--watch-for", watch_for.is_some()),
            ("--no-shield", *no_shield),
            ("--check", !checks.is_empty()),
            ("--replace", self.replace),
            ("--allow-new", self.allow_new),
        ];
        options.into_iter().find(|(_, is_typed)| *is_typed).map(|(name, _)| name)
    }
}

/// How the version gets its traffic. If none is chosen, the function's `rollout` in wasm-fn.toml decides.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct DeployStrategy {
    /// Send all traffic to the new version at once and watch it afterwards (the default)
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) all_at_once: bool,
    /// Send no traffic; only requests that ask for the version reach it
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) no_traffic: bool,
    /// Send growing shares such as `1%,10%,50%`, then all traffic; without STEPS, the steps in wasm-fn.toml,
    /// or else 1%,10%,50%. Cohorts of the stable version may come first: `beta,10%,50%`, or `"10% of
    /// beta,beta,10%"`
    #[arg(help_heading = STRATEGY, long, value_name = "STEPS", num_args = 0..=1, require_equals = true, value_parser = steps)]
    pub(crate) canary: Option<Option<Steps>>,
    /// Add the same share at a fixed interval, such as `10%/1m`; without SHARE/TIME, the one in wasm-fn.toml,
    /// or else 10%/1m
    #[arg(help_heading = STRATEGY, long, value_name = "SHARE/TIME", num_args = 0..=1, require_equals = true, value_parser = growth)]
    pub(crate) linear: Option<Option<Growth>>,
    /// Send no traffic until the version's checks have passed, then all traffic at once
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) blue_green: bool,
}

/// How the rollout moves. Options that are absent come from wasm-fn.toml.
#[derive(Debug, Default, Args)]
pub(crate) struct DeployRollout {
    /// Wait for `wasm-fn promote` before each step and before the switch
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) manual: bool,
    /// What to do if the gate fails [default: rollback]
    #[arg(help_heading = ROLLOUT, long, value_name = "ACTION")]
    pub(crate) on_fail: Option<OnFail>,
    /// Minimum duration of each step of a canary [default: 1m]
    #[arg(help_heading = ROLLOUT, long, value_name = "TIME", value_parser = time)]
    pub(crate) step_min: Option<Duration>,
    /// Requests that each step needs before it can pass [default: 100]
    #[arg(help_heading = ROLLOUT, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_requests: Option<u64>,
    /// How long to watch the version once it has all traffic; 0s turns this off [default: 5m]
    #[arg(help_heading = ROLLOUT, long, value_name = "TIME", value_parser = time)]
    pub(crate) watch_for: Option<Duration>,
    /// Do not answer from stable when the canary fails: users see its failures
    #[arg(help_heading = ROLLOUT, long)]
    pub(crate) no_shield: bool,
    /// File with requests that a blue-green version must answer as expected before the switch: `[[check]]`
    /// tables in TOML, or an array in JSON; may be repeated
    #[arg(help_heading = ROLLOUT, long = "check", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) checks: Vec<PathBuf>,
}

/// Whether `deploy` waits until the rollout has ended.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Show the rollout until it ends; its outcome sets the exit code. With `-o json`, the deployment and
    /// then each change are one line each
    #[arg(help_heading = WAITING, long)]
    pub(crate) wait: bool,
    /// Maximum time to wait; the rollout continues after it
    #[arg(help_heading = WAITING, long, value_name = "TIME", requires = "wait", default_value = "30m", value_parser = time)]
    pub(crate) timeout: Duration,
}

/// What to do if the gate fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFail {
    /// All traffic goes back.
    Rollback,
    /// The split stays until someone resumes or ends the rollout.
    Pause,
    /// The split stays until someone ends the rollout.
    Freeze,
}

/// Steps of a canary.
// Invariant: they make a valid plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// The steps in order.
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
    let (by, every) = text.split_once('/').ok_or("found no `/`, expected SHARE/TIME such as 10%/1m")?;
    let by = by.parse().map_err(|error: WeightError| error.to_string())?;
    let growth = Growth { by, every: time(every)? };
    laid_out(Strategy::Linear { by, every: growth.every })?;
    Ok(growth)
}

/// Checks that `strategy` makes a valid plan. The node makes the same check.
fn laid_out(strategy: Strategy) -> Result<(), String> {
    Plan::new(PlanSpec::usual(strategy)).map(drop).map_err(|error| error.to_string())
}

/// Reads `90s` as whole milliseconds, which is the resolution of a node.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|_| "expected a time such as 10s or 500ms")?;
    if !time.subsec_nanos().is_multiple_of(1_000_000) {
        return Err("expected whole milliseconds".to_owned());
    }
    Ok(time)
}
