//! Which requests are recorded, for traces and the access log. That is decided once, when a version has been
//! chosen and nothing else was done.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use wasm_fn_core::{
    FunctionName, InvocationTrigger, RequestHead, RequestRecord, Route, RunRecord, Sampler, StageName,
    TraceId, TraceOrigin, TraceParent, TraceState, normal_path,
};
use wasm_fn_router::matching_route;

use super::{body::RequestBody, head};
use crate::{options::RequestRecording, session::Arrival};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Most bytes that are kept of a path.
const PATH_BYTES_MAX: usize = 1024;

/// Most bytes that are kept of a host, and of what the client calls itself.
const NAME_BYTES_MAX: usize = 256;

/// Where a request came to.
pub(super) struct Subject<'a> {
    pub(super) target: Option<(&'a FunctionName, &'a StageName)>,
    /// The routes that lead there.
    pub(super) routes: &'a [Route],
    pub(super) trigger: InvocationTrigger,
    /// Whether the canary of a comparison answers.
    pub(super) is_canary: bool,
}

impl RequestRecording {
    /// The record of `request`; `None` if there is to be none.
    #[inline(never)]
    pub(super) fn begin(
        &self,
        request: &Request<RequestBody>,
        arrival: &Arrival,
        subject: Subject<'_>,
    ) -> Option<Arc<RequestRecord>> {
        let bits = arrival.id.bits();
        let is_logged = self.access_log.is_some_and(|sampler| sampler.samples_bits(bits));
        let traced = self
            .traces
            .map_or(Traced::No, |sampler| trace(sampler, request.headers(), bits, subject.is_canary));
        let origin = match traced {
            Traced::Recorded(origin) => Some(origin),
            Traced::PassedOn(parent, state) if !is_logged => {
                return Some(RequestRecord::pass_on(parent, state, Arc::clone(&self.sink)));
            }
            Traced::PassedOn(TraceParent { trace: id, span, sampled }, state) => {
                Some(TraceOrigin { id, parent: Some(span), sampled, state })
            }
            Traced::No if !is_logged => return None,
            Traced::No => None,
        };
        let head = describe(request, arrival, &subject, is_logged);
        Some(RequestRecord::begin(head, origin, Arc::clone(&self.sink)))
    }
}

/// The trace of a request.
enum Traced {
    /// It is in none, or in one that the node knows nothing of.
    No,
    /// It is not recorded. What it sends names its caller.
    PassedOn(TraceParent, Option<TraceState>),
    /// It is recorded.
    Recorded(TraceOrigin),
}

/// The trace of a request with `headers`.
fn trace(sampler: Sampler, headers: &HeaderMap, request_id: u128, is_canary: bool) -> Traced {
    let parent = parent(headers);
    // Whoever has the id of a request can find its trace.
    let Some(id) = parent.map_or_else(|| TraceId::new(request_id), |parent| Some(parent.trace)) else {
        return Traced::No;
    };
    let sampled = sampler.samples(parent, id);
    if parent.is_none() && !sampled && !is_canary {
        return Traced::No;
    }
    let lines = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    let state = parent.and_then(|_| TraceState::parse(lines));
    match parent {
        Some(parent) if !sampled && !is_canary => Traced::PassedOn(TraceParent { sampled, ..parent }, state),
        _ => Traced::Recorded(TraceOrigin { id, parent: parent.map(|parent| parent.span), sampled, state }),
    }
}

/// The parent that `headers` name, if they name exactly one.
fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let parent = TraceParent::parse(values.next()?.as_bytes())?;
    values.next().is_none().then_some(parent)
}

/// What is kept of a request.
fn describe(
    request: &Request<RequestBody>,
    arrival: &Arrival,
    subject: &Subject<'_>,
    is_logged: bool,
) -> RequestHead {
    let Subject { target, routes, trigger, is_canary } = *subject;
    let host = head::host(request);
    let route = matching_route(routes, host, &normal_path(request.uri().path()));
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    RequestHead {
        request_id: arrival.id.bits(),
        began: arrival.at,
        method: request.method().as_str().into(),
        path: beginning(request.uri().path(), PATH_BYTES_MAX),
        scheme: arrival.scheme,
        host: host.map(|host| beginning(host, NAME_BYTES_MAX)),
        client: (trigger == InvocationTrigger::Http).then(|| arrival.client.ip()),
        protocol: match request.version() {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
        user_agent: user_agent.map(|text| beginning(text, NAME_BYTES_MAX)),
        target: target.map(|(function, stage)| (function.clone(), stage.clone())),
        route: route.map(|route| format!("{}{}", route.path(), if route.below() { "/*" } else { "" }).into()),
        trigger,
        is_canary,
        is_logged,
    }
}

/// The beginning of `text`, at most `bytes_max` bytes.
fn beginning(text: &str, bytes_max: usize) -> Box<str> {
    text[..text.floor_char_boundary(bytes_max)].into()
}

/// Tells the guest of `run` who its parent is, in `headers`.
#[inline(never)]
pub(super) fn inject(run: &RunRecord, headers: &mut HeaderMap) {
    let Some(guest) = run.guest() else { return };
    let value = HeaderValue::try_from(guest.to_string()).expect("digits are a valid value");
    headers.insert(TRACEPARENT, value);
    if run.state().is_none() {
        headers.remove(TRACESTATE);
    }
}
