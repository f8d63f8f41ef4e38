//! Outgoing requests: denied unless the configuration allows the origin.
//!
//! They are the only effect that a guest can have beyond its instance and its response: WASI has no
//! directories, its sockets reach no address and look up no name, and output goes to the function's log.

use std::{fmt, future::Future, sync::Arc};

use wasm_fn_core::{EgressRule, Scheme};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// Decides for `wasi:http` which outgoing requests may leave.
pub(crate) struct Egress {
    /// The rules; `None` when nothing is allowed.
    allowed: Option<Arc<[EgressRule]>>,
    check: Option<EgressCheck>,
    /// Whether a request ever left. It may still be open while the instance serves another request.
    left: bool,
}

/// Decides whether an allowed outgoing request may leave. It is asked just before, and its decision is final
/// for the request being served.
#[derive(Clone)]
pub struct EgressCheck(Arc<dyn Fn() -> bool + Send + Sync>);

impl EgressCheck {
    /// A check that calls `may_leave`, which must not block.
    pub fn new(may_leave: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_leave))
    }
}

impl fmt::Debug for EgressCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressCheck").finish_non_exhaustive()
    }
}

type ResponseIo = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Egress {
    pub(crate) fn new(allowed: Option<Arc<[EgressRule]>>) -> Self {
        Self { allowed, check: None, left: false }
    }

    /// Begins a request, with its `check`.
    ///
    /// A reused instance may continue an outgoing request from before without asking. That counts as leaving
    /// now.
    pub(crate) fn serve(&mut self, check: Option<EgressCheck>) {
        self.check = check;
        if self.left {
            self.may_leave();
        }
    }

    fn may_leave(&self) -> bool {
        self.check.as_ref().is_none_or(|EgressCheck(may_leave)| may_leave())
    }

    fn allows(&self, request: &http::Request<WasiBody>) -> bool {
        let uri = request.uri();
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return false,
        };
        let Some(authority) = uri.authority() else { return false };
        let port = authority.port_u16().unwrap_or(scheme.port());
        self.allowed.iter().flat_map(|rules| &**rules).any(|rule| rule.allows(scheme, authority.host(), port))
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_errors: ResponseIo,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, ResponseIo), Error>> + Send> {
        if !self.allows(&request) || !self.may_leave() {
            tracing::debug!(uri = %request.uri(), "egress denied");
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        self.left = true;
        Box::new(async move {
            let (response, io) = default_send_request(request, options).await?;
            Ok((response.map(http_body_util::BodyExt::boxed_unsync), Box::new(io) as ResponseIo))
        })
    }

    /// A connection that fails is reported to the guest, not logged as an error of the node.
    fn p2_error_from_connect(
        &mut self,
        error: &std::io::Error,
    ) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
        tracing::debug!(%error, "egress connection refused");
        ErrorCode::ConnectionRefused
    }
}

#[cfg(test)]
mod tests;
