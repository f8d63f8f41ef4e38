//! A node's logs, written to standard error as text or JSON, and its telemetry.

use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};
use wasm_fn_telemetry::{NodeLog, Telemetry, TelemetrySettings};

use crate::{
    args::{Log, LogFormat},
    fault::Fault,
    output,
};

/// The levels, by name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging and telemetry for the process of a node, as OpenTelemetry's variables say. Blocks.
///
/// # Errors
/// A part of the filter has no level, or the filter is malformed, or a variable cannot be used.
pub(crate) fn start_of_node(log: &Log) -> Result<Telemetry, Fault> {
    let refused = |cause: String| {
        Fault::new("invalid-telemetry", "telemetry cannot be sent as the environment says", cause)
    };
    let variable = |name: &str| std::env::var(name).ok();
    let settings = TelemetrySettings::read(variable).map_err(|error| refused(error.to_string()))?;
    let telemetry = if settings.is_off() {
        Telemetry::off()
    } else {
        Telemetry::start(&settings).map_err(|error| refused(error.to_string()))?
    };
    start_with(log, telemetry.node_log())?;
    Ok(telemetry)
}

/// Starts logging for the process.
///
/// # Errors
/// A part of the filter has no level, or the filter is malformed.
pub(crate) fn start(log: &Log) -> Result<(), Fault> {
    start_with(log, None)
}

fn start_with(log: &Log, node_log: Option<NodeLog>) -> Result<(), Fault> {
    // Set to nothing is the same as not set, as for other variables of an environment.
    let filter = log.log.as_deref().filter(|filter| !filter.trim().is_empty()).unwrap_or(DEFAULT);
    let refused = |cause: String| {
        Fault::new("invalid-log", format!("the log filter {filter:?} cannot be used"), cause).help(
            "levels are error, warn, info, debug, trace and off; `wasm_fn_server=debug,info` names a target",
        )
    };
    check(filter).map_err(&refused)?;
    let filter = EnvFilter::builder().parse(filter).map_err(|error| refused(error.to_string()))?;
    let base = fmt::layer().with_writer(std::io::stderr);
    let written = match log.log_format {
        LogFormat::Text => base.with_ansi(output::stderr_has_colours()).boxed(),
        LogFormat::Json => base.json().flatten_event(true).boxed(),
    };
    let started = registry().with(filter).with(written).with(node_log).try_init();
    started.map_err(|error| refused(error.to_string()))
}

/// What is logged if nothing else is asked for. The client of brokers says of each connection what the queues
/// say once for all that are alike.
const DEFAULT: &str = "info,async_nats=off";

/// Checks that each part of `filter` has a level.
///
/// [`EnvFilter`] takes any other word for a target whose lines are all logged. So a misspelt level would
/// silence everything else.
fn check(filter: &str) -> Result<(), String> {
    for part in filter.split(',').map(str::trim) {
        let (target, level) = part.rsplit_once('=').unwrap_or(("all", part));
        if target.trim().is_empty() || !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level.trim())) {
            return Err(format!("found {part:?}, expected a level or `target=level`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
