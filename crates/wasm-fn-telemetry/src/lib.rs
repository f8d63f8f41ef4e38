//! Sends traces of requests, and the logs of guests and of the node, to a collector by OTLP, and writes the
//! access log.
//!
//! Whoever has something to tell hands it to a queue and goes on. Threads of this crate take it from there:
//! they make spans, records and lines of it, and wait for the collector or the disk.
//!
//! Invariants: nobody ever waits for a queue; each has a bound, beyond which its items are counted and
//! dropped; this crate knows neither routes nor rollouts, nor what runs a function.

mod access_log;
mod clock;
mod export;
mod kept;
mod node_log;
mod queue;
mod records;
mod settings;
mod spans;
mod telemetry;

pub use access_log::{AccessLog, AccessLogTarget};
pub use kept::KeptTrace;
pub use node_log::NodeLog;
pub use queue::QueueCounts;
pub use records::GuestLine;
pub use settings::{OtlpProtocol, QueueSettings, SettingsError, SignalSettings, TelemetrySettings};
pub use telemetry::{StartError, Telemetry};
