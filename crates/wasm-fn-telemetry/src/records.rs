//! Log records, in the words of OpenTelemetry's data model for logs.

use std::time::SystemTime;

use opentelemetry::{
    InstrumentationScope, Key, SpanId, TraceFlags, TraceId,
    logs::{AnyValue, LogRecord as _, Logger, Severity},
};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger};
use tracing::Level;
use wasm_fn_core::{FunctionName, StageName, TraceParent, VersionNo};

use crate::queue::Item;

/// The scope of what guests write.
const GUEST: &str = "wasm_fn.guest";

/// A line of the log of a function.
#[derive(Clone, Debug)]
pub struct GuestLine {
    /// The function.
    pub function: FunctionName,
    /// The stage of the request that it belongs to; `None` if it belongs to none.
    pub stage: Option<StageName>,
    /// The version that wrote it.
    pub version: VersionNo,
    /// The request that it belongs to; 0 if it belongs to none.
    pub request_id: u128,
    /// The guest's span, if the request is in a trace.
    pub span: Option<TraceParent>,
    /// When it was written.
    pub at: SystemTime,
    /// Where it came from: `stdout`, `stderr` or, if the host wrote it, `host`.
    pub source: &'static str,
    /// Whether it says how a request failed.
    pub is_failure: bool,
    /// The text.
    pub text: String,
}

/// A line of the node's own log.
#[derive(Debug)]
pub(crate) struct NodeLine {
    pub(crate) at: SystemTime,
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<(&'static str, AnyValue)>,
}

/// Either of them.
#[derive(Debug)]
pub(crate) enum LogLine {
    Guest(Box<GuestLine>),
    Node(Box<NodeLine>),
}

impl Item for LogLine {
    fn count(&self) -> usize {
        1
    }
}

/// The record of `line`, which `logger` makes, and its scope.
pub(crate) fn record(line: LogLine, logger: &SdkLogger) -> (SdkLogRecord, InstrumentationScope) {
    let record = logger.create_log_record();
    match line {
        LogLine::Guest(line) => (of_guest(*line, record), InstrumentationScope::builder(GUEST).build()),
        LogLine::Node(line) => {
            let scope = InstrumentationScope::builder(line.target).build();
            (of_node(*line, record), scope)
        }
    }
}

fn of_guest(line: GuestLine, mut record: SdkLogRecord) -> SdkLogRecord {
    let GuestLine { function, stage, version, request_id, span, at, source, is_failure, text } = line;
    let (severity, word) = match (source, is_failure) {
        (_, true) => (Severity::Error, "ERROR"),
        ("host", false) => (Severity::Warn, "WARN"),
        _ => (Severity::Info, "INFO"),
    };
    record.set_timestamp(at);
    record.set_observed_timestamp(at);
    record.set_severity_number(severity);
    record.set_severity_text(word);
    record.set_body(text.into());
    record.add_attribute("faas.name", function.to_string());
    record.add_attribute("faas.version", version.to_string());
    match source {
        "host" => record.add_attribute("wasm_fn.source", source),
        _ => record.add_attribute("log.iostream", source),
    }
    if let Some(stage) = stage {
        record.add_attribute("wasm_fn.stage", stage.to_string());
    }
    if request_id != 0 {
        record.add_attribute("faas.invocation_id", format!("{request_id:032x}"));
    }
    if let Some(TraceParent { trace, span, sampled }) = span {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        record.set_trace_context(TraceId::from(trace.bits()), SpanId::from(span.bits()), Some(flags));
    }
    record
}

fn of_node(line: NodeLine, mut record: SdkLogRecord) -> SdkLogRecord {
    let NodeLine { at, level, message, fields, .. } = line;
    record.set_timestamp(at);
    record.set_observed_timestamp(at);
    record.set_severity_number(match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    });
    record.set_severity_text(level.as_str());
    record.set_body(message.into());
    for (name, value) in fields {
        record.add_attribute(Key::from_static_str(name), value);
    }
    record
}
