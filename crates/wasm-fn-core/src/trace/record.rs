//! What is recorded of a request while it runs: its spans and how it ended. Whoever works on the request adds
//! to it, and it goes to its sink when the last of them is done.
//!
//! Most requests have no record. Nothing is allocated for those.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{SpanId, TraceId, TraceParent, TraceState};
use crate::{FunctionName, Outcome, Scheme, StageName, VersionNo};

/// Most spans of one request; more are only counted.
const SPANS_MAX: usize = 128;

/// Takes requests that are over.
pub trait RequestSink: fmt::Debug + Send + Sync {
    /// Takes `request`. This runs in the request's own task: it must not block.
    fn finished(&self, request: Box<FinishedRequest>);
}

/// What makes a function run (`faas.trigger` of OpenTelemetry's semantic conventions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvocationTrigger {
    /// A request of a client, a webhook or a request to be handled later.
    Http,
    /// A schedule.
    Timer,
    /// A message of a queue.
    PubSub,
}

/// What is known of a request when it arrives.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Its id.
    pub request_id: u128,
    /// When its work began.
    pub began: Instant,
    /// Its method.
    pub method: Box<str>,
    /// Its path. The query is left out, because secrets are often in it.
    pub path: Box<str>,
    /// The scheme by which the client sent it.
    pub scheme: Scheme,
    /// The host that the client named, perhaps with a port.
    pub host: Option<Box<str>>,
    /// The client; `None` for an event.
    pub client: Option<IpAddr>,
    /// The version of HTTP: `1.0`, `1.1` or `2`.
    pub protocol: &'static str,
    /// What the client calls itself.
    pub user_agent: Option<Box<str>>,
    /// The function and the stage that it came to; `None` if there is none.
    pub target: Option<(FunctionName, StageName)>,
    /// The path of the route by which it came there, such as `/hello/*`.
    pub route: Option<Box<str>>,
    /// What sent it.
    pub trigger: InvocationTrigger,
    /// Whether the canary of a rollout was chosen.
    pub is_canary: bool,
    /// Whether the access log has a line for it.
    pub is_logged: bool,
}

/// Where a request's trace comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOrigin {
    /// The trace.
    pub id: TraceId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Whether the trace is sampled.
    pub sampled: bool,
    /// What is passed on as it came.
    pub state: Option<TraceState>,
}

/// The place of a request in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// The trace.
    pub id: TraceId,
    /// The request's own span.
    pub span: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Whether the trace is sampled.
    pub sampled: bool,
    /// What is passed on as it came.
    pub state: Option<TraceState>,
}

/// A part of the work on a request.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// Its id.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: SpanId,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
    /// What it is.
    pub detail: SpanDetail,
}

/// What a span is about.
#[derive(Clone, Debug)]
pub enum SpanDetail {
    /// The request waited for its place.
    Queue,
    /// An instance was made for the request.
    InstanceStart,
    /// The guest ran.
    Guest {
        /// Its version.
        version: VersionNo,
        /// The largest size of its linear memory, bytes.
        memory_peak_bytes: u64,
    },
    /// The request ran once more, after a canary had failed.
    SecondRun {
        /// The version that answered then.
        version: VersionNo,
    },
    /// The guest sent a request.
    Outgoing(Box<OutgoingRequest>),
}

/// An outgoing request of a guest.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    /// Its method.
    pub method: Box<str>,
    /// Its scheme.
    pub scheme: Scheme,
    /// The host, a name or an address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The path. The query is left out, because secrets are often in it.
    pub path: Box<str>,
    /// The status of the response, or why there is none.
    pub end: Result<u16, Box<str>>,
}

/// How a run of a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedRun {
    /// The version.
    pub version: VersionNo,
    /// How it ended.
    pub outcome: Outcome,
    /// What the trap was, if there was one: its first line.
    pub trap: Option<Box<str>>,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub struct FinishedRequest {
    /// What was known when it arrived.
    pub head: RequestHead,
    /// Its place in its trace; `None` if it is in none.
    pub trace: Option<RequestTrace>,
    /// The parts of the work on it, in the order in which they ended.
    pub spans: Vec<SpanRecord>,
    /// How many more there were.
    pub spans_dropped: u32,
    /// How its runs ended: the last one gave the response.
    pub runs: Vec<FinishedRun>,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// Whether an instance was made for it.
    pub is_cold_start: bool,
    /// When it ended.
    pub ended: Instant,
}

/// The record of a request that is not over. When the last reference is dropped, it goes to its sink.
#[derive(Debug)]
pub struct RequestRecord {
    trace: Option<RequestTrace>,
    /// Ids of spans are made of it.
    seed: u64,
    /// How many were made.
    made: AtomicU64,
    sink: Arc<dyn RequestSink>,
    /// Whether there is anything to give to the sink, or the trace is only passed on.
    is_recorded: bool,
    finished: Mutex<Option<Box<FinishedRequest>>>,
}

/// The record of one run of a request.
#[derive(Debug)]
pub struct RunRecord {
    request: Arc<RequestRecord>,
    version: VersionNo,
    /// What queue, start and guest are parts of: the request, or its second run.
    parent: SpanId,
    guest: SpanId,
    /// When the second run began; `None` for the first.
    second: Option<Instant>,
}

impl FinishedRequest {
    /// Whether the trace is to be exported: it is sampled, or a canary failed.
    pub fn is_exported(&self) -> bool {
        let failed = self.head.is_canary && self.runs.iter().any(|run| run.outcome.is_failure());
        self.trace.as_ref().is_some_and(|trace| trace.sampled || failed)
    }

    /// Whether it failed, or a canary failed it before another version answered.
    pub fn is_failure(&self) -> bool {
        self.status.is_none_or(|status| status >= 500) || self.runs.iter().any(|run| run.outcome.is_failure())
    }

    /// How many spans it has, its own included.
    pub fn span_count(&self) -> usize {
        self.spans.len() + 1
    }
}

impl RequestRecord {
    /// Begins the record of a request with `head`, which is in a trace if that has an `origin`.
    pub fn begin(head: RequestHead, origin: Option<TraceOrigin>, sink: Arc<dyn RequestSink>) -> Arc<Self> {
        let seed = seed(head.request_id);
        let span = SpanId::numbered(seed, 0);
        let trace = origin.map(|TraceOrigin { id, parent, sampled, state }| RequestTrace {
            id,
            span,
            parent,
            sampled,
            state,
        });
        let ended = head.began;
        let finished = FinishedRequest {
            head,
            trace: trace.clone(),
            spans: Vec::new(),
            spans_dropped: 0,
            runs: Vec::new(),
            status: None,
            is_cold_start: false,
            ended,
        };
        let finished = Mutex::new(Some(Box::new(finished)));
        Arc::new(Self { trace, seed, made: AtomicU64::new(1), sink, is_recorded: true, finished })
    }

    /// A request that is not recorded. Its outgoing requests name `parent`, the span of its caller.
    pub fn pass_on(parent: TraceParent, state: Option<TraceState>, sink: Arc<dyn RequestSink>) -> Arc<Self> {
        let TraceParent { trace: id, span, sampled } = parent;
        let trace = Some(RequestTrace { id, span, parent: None, sampled, state });
        let (made, finished) = (AtomicU64::new(0), Mutex::new(None));
        Arc::new(Self { trace, seed: 0, made, sink, is_recorded: false, finished })
    }

    /// Its place in its trace.
    pub fn trace(&self) -> Option<&RequestTrace> {
        self.trace.as_ref()
    }

    /// The first run of the request, on `version`.
    pub fn first_run(self: &Arc<Self>, version: VersionNo) -> Arc<RunRecord> {
        let parent = SpanId::numbered(self.seed, 0);
        Arc::new(RunRecord { request: self.clone(), version, parent, guest: self.span(), second: None })
    }

    /// Notes that the head of the response, with `status`, is there.
    pub fn answered(&self, status: u16, at: Instant) {
        if let Some(finished) = &mut *self.lock() {
            finished.status = Some(status);
            finished.ended = finished.ended.max(at);
        }
    }

    /// A new id for a span.
    fn span(&self) -> SpanId {
        SpanId::numbered(self.seed, self.made.fetch_add(1, Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<FinishedRequest>>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, span: SpanRecord) {
        let Some(finished) = &mut *self.lock() else { return };
        finished.is_cold_start |= matches!(span.detail, SpanDetail::InstanceStart);
        finished.ended = finished.ended.max(span.to);
        if self.trace.is_none() {
            return;
        }
        if finished.spans.len() < SPANS_MAX {
            finished.spans.push(span);
        } else {
            finished.spans_dropped += 1;
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let finished = self.finished.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(finished) = finished {
            self.sink.finished(finished);
        }
    }
}

impl RunRecord {
    /// The record of the request.
    pub fn request(&self) -> &Arc<RequestRecord> {
        &self.request
    }

    /// The run after this one, on `version` from `at` on.
    pub fn second_run(&self, version: VersionNo, at: Instant) -> Arc<Self> {
        let request = self.request.clone();
        let (parent, guest) = (request.span(), request.span());
        Arc::new(Self { request, version, parent, guest, second: Some(at) })
    }

    /// The guest's span, as its log lines and its requests name it; `None` without a trace.
    pub fn guest(&self) -> Option<TraceParent> {
        let trace = self.request.trace.as_ref()?;
        let span = if self.request.is_recorded { self.guest } else { trace.span };
        Some(TraceParent { trace: trace.id, span, sampled: trace.sampled })
    }

    /// What the guest passes on as it came.
    pub fn state(&self) -> Option<&TraceState> {
        self.request.trace.as_ref()?.state.as_ref()
    }

    /// A span for a request that the guest sends, and what that says of it: the span itself, if it is
    /// recorded, else the caller's.
    pub fn begin_outgoing(&self) -> (SpanId, Option<TraceParent>) {
        let span = self.request.span();
        let is_recorded = self.request.is_recorded;
        (span, self.guest().map(|guest| if is_recorded { TraceParent { span, ..guest } } else { guest }))
    }

    /// Notes that the request waited for its place.
    pub fn queued(&self, from: Instant, to: Instant) {
        self.add(self.request.span(), self.parent, (from, to), SpanDetail::Queue);
    }

    /// Notes that an instance was made for the request, or should have been.
    pub fn instance_started(&self, from: Instant, to: Instant) {
        self.add(self.request.span(), self.parent, (from, to), SpanDetail::InstanceStart);
    }

    /// Notes that the guest ran.
    pub fn guest_ran(&self, from: Instant, to: Instant, memory_peak_bytes: u64) {
        let detail = SpanDetail::Guest { version: self.version, memory_peak_bytes };
        self.add(self.guest, self.parent, (from, to), detail);
    }

    /// Notes that the guest sent `outgoing`, in the span that [`begin_outgoing`](Self::begin_outgoing) gave.
    pub fn sent(&self, span: SpanId, from: Instant, to: Instant, outgoing: OutgoingRequest) {
        self.add(span, self.guest, (from, to), SpanDetail::Outgoing(Box::new(outgoing)));
    }

    /// Notes that the run ended with `outcome`, perhaps by a trap with this `backtrace`.
    pub fn ended(&self, at: Instant, outcome: Outcome, backtrace: Option<&str>) {
        if let Some(from) = self.second {
            let span = SpanRecord {
                id: self.parent,
                parent: SpanId::numbered(self.request.seed, 0),
                from,
                to: at,
                detail: SpanDetail::SecondRun { version: self.version },
            };
            self.request.add(span);
        }
        if let Some(finished) = &mut *self.request.lock() {
            let trap = backtrace.and_then(|lines| lines.lines().next()).map(Into::into);
            finished.runs.push(FinishedRun { version: self.version, outcome, trap });
            finished.ended = finished.ended.max(at);
        }
    }

    fn add(&self, id: SpanId, parent: SpanId, (from, to): (Instant, Instant), detail: SpanDetail) {
        self.request.add(SpanRecord { id, parent, from, to, detail });
    }
}

/// What the ids of a request's spans are made of.
fn seed(request_id: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the id")]
    let (low, high) = (request_id as u64, (request_id >> 64) as u64);
    low ^ high.rotate_left(32)
}
