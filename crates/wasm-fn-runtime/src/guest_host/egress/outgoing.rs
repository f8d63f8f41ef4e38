//! The span of an outgoing request, and what that says of its trace.

use std::{sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue, Request};
use wasm_fn_core::{OutgoingRequest, RunRecord, SpanId};
use wasmtime_wasi_http::{Error, WasiBody};

use super::target::Target;
use crate::clock;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Most bytes that are kept of a path, and of the reason of a failure.
const TEXT_BYTES_MAX: usize = 1024;

/// What a request that nobody waits for any more ends with.
const CANCELLED: &str = "cancelled";

/// The span of an outgoing request, from its beginning to the head of its response.
pub(super) struct OutgoingSpan {
    run: Arc<RunRecord>,
    id: SpanId,
    began: Instant,
    /// `None` once it has ended.
    request: Option<OutgoingRequest>,
}

impl OutgoingSpan {
    /// Begins the span of `request`, which goes to `target` in `run`, and names it as the parent of what the
    /// receiver does, unless the guest names one itself.
    pub(super) fn begin(run: Arc<RunRecord>, request: &mut Request<WasiBody>, target: &Target) -> Self {
        let (id, parent) = run.begin_outgoing();
        if let Some(parent) = parent.filter(|_| !request.headers().contains_key(TRACEPARENT)) {
            let value = HeaderValue::try_from(parent.to_string()).expect("digits are a valid value");
            request.headers_mut().insert(TRACEPARENT, value);
            let state = run.state().and_then(|state| HeaderValue::from_str(state.as_str()).ok());
            match state {
                Some(state) => request.headers_mut().insert(TRACESTATE, state),
                None => request.headers_mut().remove(TRACESTATE),
            };
        }
        let outgoing = OutgoingRequest {
            method: request.method().as_str().into(),
            scheme: target.scheme,
            host: target.host().into(),
            port: target.port,
            path: beginning(request.uri().path()),
            end: Err(CANCELLED.into()),
        };
        Self { run, id, began: clock::now(), request: Some(outgoing) }
    }

    /// Ends the span with the status of the response, or why there is none.
    pub(super) fn end(mut self, end: Result<u16, &Error>) {
        if let Some(request) = &mut self.request {
            request.end = end.map_err(|error| beginning(&error.to_string()));
        }
    }
}

impl Drop for OutgoingSpan {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.run.sent(self.id, self.began, clock::now(), request);
        }
    }
}

/// The beginning of `text`.
fn beginning(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into()
}
