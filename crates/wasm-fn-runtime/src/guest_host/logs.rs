//! The log of each function: output and failures of its guests, in a bounded ring.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::sync::watch;
use wasm_fn_core::{FunctionName, StageName, TraceParent, VersionNo};

use crate::clock::unix_ms;

/// Most lines in a ring.
const LINES_MAX: usize = 2000;

/// Most bytes of text in a ring.
const BYTES_MAX: usize = 1 << 20;

/// Longest line; the rest of a longer one is cut off.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// The source of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestLogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host: how a request failed, or what the guest asked for that it does not have.
    Host,
}

/// The number of a stage in the log of one function. A request carries it without touching a counter that
/// other threads share, as a name would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStage(u32);

impl LogStage {
    /// No stage.
    pub const NONE: Self = Self(0);

    /// The bit of a stage whose requests are all logged.
    const LOGS_REQUESTS: u32 = 1 << 31;

    /// Whether each request is logged, not only those that failed.
    pub(crate) fn logs_requests(self) -> bool {
        self.0 & Self::LOGS_REQUESTS != 0
    }
}

/// The stage of `wasm-fn dev`: one person at work wants to see each request.
const DEV: &str = "dev";

/// What a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// The request; 0 before the first.
    pub(crate) request_id: u128,
    /// The stage that it came to.
    pub(crate) stage: LogStage,
    /// The guest's span, if the request is in a trace.
    pub(crate) span: Option<TraceParent>,
}

impl Served {
    /// No request yet.
    pub(crate) const NOTHING: Self = Self { request_id: 0, stage: LogStage::NONE, span: None };
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLogLine {
    /// Position in the function's log: 1, 2, 3, …
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request that was being served.
    pub request_id: u128,
    /// The stage that the request came to; `None` for what an instance wrote before its first request.
    pub stage: Option<StageName>,
    /// The guest's span in the request's trace, if that is in one.
    pub span: Option<TraceParent>,
    /// The version that wrote it.
    pub version: VersionNo,
    /// Its source.
    pub stream: GuestLogStream,
    /// Whether its request has failed so far.
    pub failed: bool,
    /// The status of a request that failed: that of the guest's own answer, or of the one that replaces it
    /// as long as nothing was sent.
    pub status: Option<StatusCode>,
    /// The request, in the first of the lines that say how it failed, and in the line of one that was
    /// answered.
    pub request: Option<Box<LoggedRequest>>,
    /// The text, without its end of line.
    pub text: String,
}

/// The request that a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Its method.
    pub method: Method,
    /// The beginning of its path. The query is left out, because secrets are often in it.
    pub path: String,
    /// How long the guest had it.
    pub took: Duration,
}

/// How a request failed.
pub(crate) struct Failure<'a> {
    pub(crate) served: Served,
    pub(crate) request: LoggedRequest,
    pub(crate) status: StatusCode,
    /// Why it failed, in lines.
    pub(crate) text: &'a str,
}

/// Lines after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLogPage {
    /// Oldest first.
    pub lines: Vec<GuestLogLine>,
    /// The highest position so far; 0 for an empty log.
    pub newest: u64,
    /// How many lines after the requested position were dropped already.
    pub lost: u64,
}

/// Takes the lines of all logs, beside the rings.
pub trait GuestLogSink: Send + Sync {
    /// Takes `line` of the log of `function`. This runs in the guest's own task: it must not block.
    fn line(&self, function: &FunctionName, line: &GuestLogLine);
}

/// Who takes the lines of a ring too.
#[derive(Clone)]
pub(crate) struct LineTee {
    pub(crate) function: FunctionName,
    pub(crate) sink: Arc<dyn GuestLogSink>,
}

/// The ring of one function.
pub(crate) struct LogRing {
    inner: Mutex<Ring>,
    /// Notified of every new line.
    changed: watch::Sender<u64>,
    tee: Option<LineTee>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<GuestLogLine>,
    bytes: usize,
    newest: u64,
    /// The names of stages, by their number less 1. There are as many as this process saw in the function,
    /// and each was made by a change that the journal keeps for good.
    stages: Vec<StageName>,
}

impl LogRing {
    /// An empty ring, which notifies `changed` of every new line. Lines go to `tee` too.
    pub(crate) fn new(changed: watch::Sender<u64>, tee: Option<LineTee>) -> Self {
        Self { inner: Mutex::default(), changed, tee }
    }

    /// Appends `line` to `ring`, and gives it to who takes lines too.
    fn append(&self, ring: &mut Ring, line: GuestLogLine) {
        ring.append(line);
        if let (Some(LineTee { function, sink }), Some(line)) = (&self.tee, ring.lines.back()) {
            sink.line(function, line);
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of `stage` in this log.
    pub(crate) fn stage(&self, stage: &StageName) -> LogStage {
        let stages = &mut self.ring().stages;
        let at = stages.iter().position(|known| known == stage).unwrap_or_else(|| {
            stages.push(stage.clone());
            stages.len() - 1
        });
        let number = u32::try_from(at + 1).unwrap_or_default();
        LogStage(if stage.as_str() == DEV { number | LogStage::LOGS_REQUESTS } else { number })
    }

    /// Appends a line of the guest, or about it, and drops the oldest ones if necessary.
    pub(crate) fn push(&self, version: VersionNo, served: Served, stream: GuestLogStream, text: String) {
        self.push_line(version, served, stream, text, None);
    }

    /// Appends the line of a request that was answered.
    pub(crate) fn push_request(
        &self,
        version: VersionNo,
        served: Served,
        request: LoggedRequest,
        text: String,
    ) {
        self.push_line(version, served, GuestLogStream::Host, text, Some(Box::new(request)));
    }

    fn push_line(
        &self,
        version: VersionNo,
        served: Served,
        stream: GuestLogStream,
        text: String,
        request: Option<Box<LoggedRequest>>,
    ) {
        let at_ms = unix_ms();
        let (failed, status) = (false, None);
        let Served { request_id, stage, span } = served;
        let mut ring = self.ring();
        let stage = ring.name(stage);
        let line = GuestLogLine {
            seq: 0,
            at_ms,
            request_id,
            stage,
            span,
            version,
            stream,
            failed,
            status,
            request,
            text,
        };
        self.append(&mut ring, line);
        drop(ring);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Appends the lines that say how a request failed, and marks the earlier lines of the request.
    pub(crate) fn push_failure(&self, version: VersionNo, failure: Failure<'_>) {
        let Failure { served: Served { request_id, stage, span }, request, status, text } = failure;
        let at_ms = unix_ms();
        let took_ms = u64::try_from(request.took.as_millis()).unwrap_or(u64::MAX);
        // The request has no older lines. A version that fails often should not search the whole ring.
        let began_ms = at_ms.saturating_sub(took_ms.saturating_add(1));
        let (stream, failed, status) = (GuestLogStream::Host, true, Some(status));
        let mut request = Some(Box::new(request));
        {
            let mut ring = self.ring();
            let stage = ring.name(stage);
            let its_time = ring.lines.iter_mut().rev().take_while(|line| line.at_ms >= began_ms);
            for line in its_time.filter(|line| line.request_id == request_id) {
                (line.failed, line.status) = (failed, status);
            }
            for text in text.lines() {
                let (stage, request, text) = (stage.clone(), request.take(), text.to_owned());
                let line = GuestLogLine {
                    seq: 0,
                    at_ms,
                    request_id,
                    stage,
                    span,
                    version,
                    stream,
                    failed,
                    status,
                    request,
                    text,
                };
                self.append(&mut ring, line);
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// The lines after position `after`.
    pub(crate) fn page(&self, after: u64) -> GuestLogPage {
        let ring = self.ring();
        let first = ring.lines.front().map_or(ring.newest + 1, |line| line.seq);
        let skip = usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        GuestLogPage {
            lines: ring.lines.iter().skip(skip).cloned().collect(),
            newest: ring.newest,
            lost: first.saturating_sub(after.saturating_add(1)),
        }
    }
}

impl GuestLogLine {
    /// Bytes that clients or guests chose.
    fn bytes(&self) -> usize {
        self.text.len() + self.request.as_ref().map_or(0, |request| request.path.len())
    }
}

impl Ring {
    /// The name of `stage`.
    fn name(&self, stage: LogStage) -> Option<StageName> {
        let at = usize::try_from(stage.0 & !LogStage::LOGS_REQUESTS).ok()?.checked_sub(1)?;
        self.stages.get(at).cloned()
    }

    /// Numbers `line`, cuts it to its limit, and drops the oldest lines if necessary.
    fn append(&mut self, mut line: GuestLogLine) {
        if line.text.len() > LINE_BYTES_MAX {
            line.text.truncate(line.text.floor_char_boundary(LINE_BYTES_MAX));
        }
        self.newest += 1;
        line.seq = self.newest;
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
