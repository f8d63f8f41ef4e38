//! `wasm-fn deploy` as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use wasm_fn_core::{FunctionName, StageName, Weight};

use super::Connection;

/// Heading of the strategies.
const STRATEGY: &str = "Strategy";

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
    /// Abort a rollout that is under way instead of refusing
    #[arg(long)]
    pub(crate) replace: bool,
    /// Configuration of functions; ./wasm-fn.toml when absent and there
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How the version gets its traffic.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct DeployStrategy {
    /// All traffic to the new version at once (the default)
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) all_at_once: bool,
    /// No traffic; the version is reachable by asking for it
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) no_traffic: bool,
    /// A share, 10% when none is named, until somebody promotes or aborts
    #[arg(help_heading = STRATEGY, long, value_name = "WEIGHT", num_args = 0..=1, require_equals = true, default_missing_value = "10%", value_parser = canary)]
    pub(crate) canary: Option<Weight>,
    /// No traffic until somebody promotes, then all at once
    #[arg(help_heading = STRATEGY, long)]
    pub(crate) blue_green: bool,
}

/// Reads a share that leaves something for both versions.
fn canary(text: &str) -> Result<Weight, String> {
    let weight: Weight = text.parse().map_err(|error: wasm_fn_core::WeightError| error.to_string())?;
    if weight == Weight::ZERO || weight == Weight::FULL {
        return Err(format!("weight of a canary is {text}, expected more than 0% and less than 100%"));
    }
    Ok(weight)
}
