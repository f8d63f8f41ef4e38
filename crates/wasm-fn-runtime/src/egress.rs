//! Outgoing requests: denied unless the configuration allows the origin.
//!
//! They are all that a guest can do beyond its instance and its answer: WASI is given without
//! directories, its sockets may reach no address and look up no name, and what it prints goes to the
//! function's log.

use std::{fmt, future::Future, sync::Arc};

use wasm_fn_core::{EgressRule, Scheme};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// What `wasi:http` asks the host: which outgoing requests may leave.
pub(crate) struct Egress {
    /// `None` when nothing is.
    allowed: Option<Arc<[EgressRule]>>,
    effects: Option<Effects>,
    /// Whether a request ever left: it may still be open while the instance serves another.
    left: bool,
}

/// Asked just before an allowed outgoing request leaves, about the request being served; its answer says
/// whether it may, and is final for that one.
#[derive(Clone)]
pub struct Effects(Arc<dyn Fn() -> bool + Send + Sync>);

impl Effects {
    /// Asks `may_leave`, which must not block.
    pub fn new(may_leave: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_leave))
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").finish_non_exhaustive()
    }
}

type ResponseIo = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Egress {
    pub(crate) fn new(allowed: Option<Arc<[EgressRule]>>) -> Self {
        Self { allowed, effects: None, left: false }
    }

    /// From now on the instance serves a request that `effects` is about.
    ///
    /// An instance that is reused may go on with an outgoing request of one it served before, without asking:
    /// that counts as leaving now.
    pub(crate) fn serve(&mut self, effects: Option<Effects>) {
        self.effects = effects;
        if self.left {
            self.may_leave();
        }
    }

    fn may_leave(&self) -> bool {
        self.effects.as_ref().is_none_or(|Effects(may_leave)| may_leave())
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

    /// A proxy that cannot be reached is the guest's news, not the node's.
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
