//! Outgoing requests: denied unless the configuration allows the origin.
//!
//! They are the only effect that a guest can have beyond its instance and its response: WASI has no
//! directories, its sockets reach no address and look up no name, and output goes to the function's log.

mod client;
mod error;
mod target;
pub(crate) mod trust;

use std::{fmt, future::Future, sync::Arc};

use wasm_fn_core::EgressRule;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::hop_by_hop;
use client::Sent;
use target::Target;
use trust::TrustedRoots;

/// What the guests of a version may send.
pub(crate) struct EgressPolicy {
    pub(crate) rules: Box<[EgressRule]>,
    pub(crate) roots: TrustedRoots,
}

/// Decides for `wasi:http` which outgoing requests may leave.
pub(crate) struct Egress {
    /// The policy; `None` when nothing is allowed.
    policy: Option<Arc<EgressPolicy>>,
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

impl Egress {
    pub(crate) fn new(policy: Option<Arc<EgressPolicy>>) -> Self {
        Self { policy, check: None, left: false }
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

    /// Where `uri` leads, and whom to trust there.
    ///
    /// # Errors
    /// The URI is invalid, or its origin is not allowed.
    fn target(&self, uri: &http::Uri) -> Result<(Target, TrustedRoots), Error> {
        let target = Target::of(uri)?;
        match &self.policy {
            Some(policy) if policy.rules.iter().any(|rule| target.is_allowed_by(rule)) => {
                Ok((target, policy.roots.clone()))
            }
            _ => Err(Error::HttpRequestDenied),
        }
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_errors: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let target = self
            .target(request.uri())
            .and_then(|target| if self.may_leave() { Ok(target) } else { Err(Error::HttpRequestDenied) });
        let (target, roots) = match target {
            Ok(target) => target,
            Err(error) => {
                tracing::debug!(uri = %request.uri(), %error, "outgoing request refused");
                return Box::new(std::future::ready(Err(error)));
            }
        };
        self.left = true;
        // What the connection accepts is for the node to say, not for a guest that copies a request's fields.
        request.headers_mut().remove(http::header::TE);
        Box::new(async move {
            let (mut response, io) =
                client::send(request, target, options.unwrap_or_default(), &roots).await?;
            let named = hop_by_hop::remove(response.headers_mut());
            Ok((response.map(|body| hop_by_hop::without_trailers(body, named)), io))
        })
    }

    /// Errors of the peer are for the guest, and none of them is one of the node.
    fn p2_error_from_hyper(
        &mut self,
        error: &hyper::Error,
    ) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        tracing::debug!(%error, "outgoing request failed");
        wasmtime_wasi_http::p2::bindings::http::types::ErrorCode::HttpProtocolError
    }

    fn p3_error_from_hyper(
        &mut self,
        error: &hyper::Error,
    ) -> wasmtime_wasi_http::p3::bindings::http::types::ErrorCode {
        tracing::debug!(%error, "outgoing request failed");
        wasmtime_wasi_http::p3::bindings::http::types::ErrorCode::HttpProtocolError
    }
}

#[cfg(test)]
mod tests;
