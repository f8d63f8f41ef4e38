//! Spans of a request, in the words of OpenTelemetry's semantic conventions for HTTP and for functions as a
//! service. Attributes of our own begin with `wasm_fn.`.

use std::{borrow::Cow, sync::Arc, time::Instant};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use wasm_fn_core::{
    FinishedRequest, FinishedRun, InvocationTrigger, OutgoingRequest, RequestHead, RequestTrace, SpanDetail,
    SpanRecord,
};

use crate::{clock::Anchor, queue::Item};

/// Methods that may name a span (HTTP conventions, "Name").
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

impl Item for Arc<FinishedRequest> {
    fn count(&self) -> usize {
        self.span_count()
    }
}

/// A span before it has its place and its time.
struct Draft {
    name: Cow<'static, str>,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    status: Status,
}

/// The spans of `request`, its own first.
pub(crate) fn spans(
    request: &FinishedRequest,
    scope: &InstrumentationScope,
    anchor: Anchor,
) -> Vec<SpanData> {
    let Some(trace) = &request.trace else { return Vec::new() };
    let span = |id: wasm_fn_core::SpanId, parent, is_remote, (from, to), draft| {
        let Draft { name, kind, attributes, status } = draft;
        SpanData {
            span_context: context(trace, id),
            parent_span_id: parent,
            parent_span_is_remote: is_remote,
            span_kind: kind,
            name,
            start_time: anchor.wall(from),
            end_time: anchor.wall(to),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: scope.clone(),
        }
    };
    let caller = trace.parent.map_or(SpanId::INVALID, span_id);
    let own = (request.head.began, request.ended);
    let own = span(trace.span, caller, trace.parent.is_some(), own, of_request(request));
    let parts = request.spans.iter().map(|part| {
        let SpanRecord { id, parent, from, to, .. } = *part;
        span(id, span_id(parent), false, times(from, to), of_part(part, &request.runs))
    });
    std::iter::once(own).chain(parts).collect()
}

/// A span does not end before it begins.
fn times(from: Instant, to: Instant) -> (Instant, Instant) {
    (from, to.max(from))
}

fn span_id(id: wasm_fn_core::SpanId) -> SpanId {
    SpanId::from(id.bits())
}

fn context(trace: &RequestTrace, span: wasm_fn_core::SpanId) -> SpanContext {
    // Whatever is exported counts as sampled: also the failure of a canary that no draw had chosen.
    let state = trace.state.as_ref().and_then(|state| state.as_str().parse().ok());
    let id = TraceId::from(trace.id.bits());
    SpanContext::new(id, span_id(span), TraceFlags::SAMPLED, false, state.unwrap_or(TraceState::NONE))
}

/// The word for a request's method that may be in names, and the method itself if it is another.
fn method(method: &str) -> (&'static str, Option<KeyValue>) {
    match METHODS.iter().find(|known| **known == method) {
        Some(known) => (*known, None),
        None => ("_OTHER", Some(KeyValue::new("http.request.method_original", method.to_owned()))),
    }
}

fn named(method: &'static str) -> &'static str {
    if method == "_OTHER" { "HTTP" } else { method }
}

/// The host and the port of `authority`.
fn server(authority: &str, default: u16) -> [KeyValue; 2] {
    let split = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let (host, port) = match split {
        Some((host, port)) => (host, port.parse().unwrap_or(default)),
        None => (authority, default),
    };
    [KeyValue::new("server.address", host.to_owned()), KeyValue::new("server.port", i64::from(port))]
}

fn of_request(request: &FinishedRequest) -> Draft {
    let FinishedRequest { head, runs, status, is_cold_start, spans_dropped, .. } = request;
    let (method, original) = method(&head.method);
    let mut attributes =
        if head.trigger == InvocationTrigger::Http { http(head, method, *status) } else { Vec::new() };
    attributes.extend(original.filter(|_| head.trigger == InvocationTrigger::Http));
    let mut add = |key: &'static str, value: opentelemetry::Value| attributes.push(KeyValue::new(key, value));
    add("faas.invocation_id", format!("{:032x}", head.request_id).into());
    if let Some((function, stage)) = &head.target {
        add("faas.name", function.to_string().into());
        add("faas.trigger", trigger(head.trigger).into());
        add("faas.coldstart", (*is_cold_start).into());
        add("wasm_fn.stage", stage.to_string().into());
        add("wasm_fn.canary", head.is_canary.into());
    }
    if head.trigger != InvocationTrigger::Http {
        add("url.path", head.path.to_string().into());
    }
    let last = runs.last();
    if let Some(run) = last {
        add("faas.version", run.version.to_string().into());
        add("wasm_fn.outcome", run.outcome.as_str().into());
    }
    if *spans_dropped > 0 {
        add("wasm_fn.spans_dropped", i64::from(*spans_dropped).into());
    }
    let failed =
        status.is_none_or(|status| status >= 500) || last.is_some_and(|run| run.outcome.is_failure());
    if failed {
        let outcome = last.map(|run| run.outcome.as_str().into());
        add("error.type", outcome.unwrap_or_else(|| status.unwrap_or_default().to_string()).into());
    }
    let name = match &head.target {
        Some((function, _)) => function.to_string().into(),
        None => named(method).into(),
    };
    let status = if failed { Status::error("") } else { Status::Unset };
    Draft { name, kind: SpanKind::Server, attributes, status }
}

/// The attributes of a request over HTTP.
fn http(head: &RequestHead, method: &'static str, status: Option<u16>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.path", head.path.to_string()),
        KeyValue::new("url.scheme", head.scheme.as_str()),
        KeyValue::new("network.protocol.version", head.protocol),
    ];
    attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    attributes.extend(head.route.iter().map(|route| KeyValue::new("http.route", route.to_string())));
    attributes.extend(head.host.iter().flat_map(|host| server(host, head.scheme.port())));
    attributes.extend(head.client.map(|client| KeyValue::new("client.address", client.to_string())));
    attributes.extend(
        head.user_agent.iter().map(|user_agent| KeyValue::new("user_agent.original", user_agent.to_string())),
    );
    attributes
}

/// The word of `faas.trigger`.
fn trigger(trigger: InvocationTrigger) -> &'static str {
    match trigger {
        InvocationTrigger::Http => "http",
        InvocationTrigger::Timer => "timer",
        InvocationTrigger::PubSub => "pubsub",
    }
}

fn of_part(part: &SpanRecord, runs: &[FinishedRun]) -> Draft {
    let internal = |name: &'static str, attributes, status| Draft {
        name: name.into(),
        kind: SpanKind::Internal,
        attributes,
        status,
    };
    match &part.detail {
        SpanDetail::Queue => internal("queue", Vec::new(), Status::Unset),
        SpanDetail::InstanceStart => internal("instance start", Vec::new(), Status::Unset),
        SpanDetail::SecondRun { version } => {
            let version = KeyValue::new("faas.version", version.to_string());
            internal("second run", vec![version], Status::Unset)
        }
        SpanDetail::Guest { version, memory_peak_bytes } => {
            let peak = i64::try_from(*memory_peak_bytes).unwrap_or(i64::MAX);
            let mut attributes = vec![
                KeyValue::new("faas.version", version.to_string()),
                KeyValue::new("wasm_fn.memory_peak_bytes", peak),
            ];
            let run = runs.iter().find(|run| run.version == *version);
            let mut status = Status::Unset;
            if let Some(run) = run.filter(|run| run.outcome.is_failure()) {
                attributes.push(KeyValue::new("error.type", run.outcome.as_str()));
                status = Status::error(run.trap.as_deref().unwrap_or_default().to_owned());
            }
            internal("guest", attributes, status)
        }
        SpanDetail::Outgoing(outgoing) => of_outgoing(outgoing),
    }
}

fn of_outgoing(outgoing: &OutgoingRequest) -> Draft {
    let OutgoingRequest { method: asked, scheme, host, port, path, end } = outgoing;
    let (method, original) = method(asked);
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let authority = if *port == scheme.port() { shown } else { format!("{shown}:{port}") };
    let mut attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("server.address", host.to_string()),
        KeyValue::new("server.port", i64::from(*port)),
        KeyValue::new("url.full", format!("{}://{authority}{path}", scheme.as_str())),
    ];
    attributes.extend(original);
    let failure = match end {
        Ok(status) => {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(*status)));
            (*status >= 400).then(|| status.to_string())
        }
        Err(reason) => Some(reason.to_string()),
    };
    let status = if failure.is_some() { Status::error("") } else { Status::Unset };
    attributes.extend(failure.map(|failure| KeyValue::new("error.type", failure)));
    Draft { name: named(method).into(), kind: SpanKind::Client, attributes, status }
}
