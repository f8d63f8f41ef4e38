//! A node's logs, written to standard error as text or JSON.

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt as _};

use crate::{
    args::{Log, LogFormat},
    fault::Fault,
    output,
};

/// Starts logging for the process.
///
/// # Errors
/// The filter is malformed.
pub(crate) fn start(log: &Log) -> Result<(), Fault> {
    let filter = log.log.as_deref().unwrap_or("info");
    let refused = |cause: String| {
        Fault::new("invalid-log", format!("the log filter {filter:?} cannot be used"), cause)
            .help("expected error, warn, info, debug, trace or `target=level,…`")
    };
    let filter = EnvFilter::builder().parse(filter).map_err(|error| refused(error.to_string()))?;
    let base = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.log_format {
        LogFormat::Text => base.with_ansi(output::stderr_has_colours()).finish().try_init(),
        LogFormat::Json => base.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| refused(error.to_string()))
}
