//! Outgoing requests: denied unless the configuration allows the origin, and the address that it leads to.
//!
//! Each request has a connection of its own, so none can use the rights of another. Its name is looked up
//! once, every address is judged (`address.rs`), and only an address that was judged is connected to: whoever
//! answers lookups gains nothing by answering the next one differently.
//!
//! Beside writes to buckets they are the only effects that a guest can have beyond its instance and its
//! response: WASI has no directories, its sockets reach no address and look up no name, and output goes to
//! the function's log.

mod address;
mod budget;
mod client;
mod error;
mod listeners;
mod lookup;
mod outgoing;
pub(crate) mod own;
pub(crate) mod policy;
mod target;
pub(crate) mod trust;

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use tokio::time::Instant;
use wasm_fn_core::RunRecord;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{effect::EffectCheck, hop_by_hop, logs::Served};
use crate::clock;
use budget::Budget;
use client::{Allowance, Sent};
use outgoing::OutgoingSpan;
use policy::EgressPolicy;
use target::Target;

pub use listeners::Listeners;
pub use lookup::{Lookup, Resolve, SystemResolver};

/// Decides for `wasi:http` which outgoing requests may leave.
pub(crate) struct Egress {
    policy: Arc<EgressPolicy>,
    check: Option<EffectCheck>,
    /// The request being served.
    served: Served,
    /// What its outgoing requests have used; `None` before the first of them.
    budget: Option<Arc<Budget>>,
    /// The record of the request being served, which is over when its guest is.
    record: Option<Weak<RunRecord>>,
    /// Whether a request ever left. It may still be open while the instance serves another request.
    left: bool,
}

impl Egress {
    pub(crate) fn new(policy: Arc<EgressPolicy>) -> Self {
        Self { policy, check: None, served: Served::NOTHING, budget: None, record: None, left: false }
    }

    /// Begins the request `served`, with its `check`.
    ///
    /// A reused instance may continue an outgoing request from before without asking. That counts as leaving
    /// now.
    pub(crate) fn serve(&mut self, served: Served, check: Option<EffectCheck>) {
        self.check = check;
        self.served = served;
        self.budget = None;
        if self.left {
            self.may_have_effect();
        }
    }

    /// Outgoing requests from now on belong to `run`.
    pub(crate) fn record(&mut self, run: Option<&Arc<RunRecord>>) {
        self.record = run.map(Arc::downgrade);
    }

    /// Whether an outgoing request, or another effect, may begin.
    pub(super) fn may_have_effect(&self) -> bool {
        self.check.as_ref().is_none_or(EffectCheck::may_begin)
    }

    /// The request being served.
    pub(super) fn served(&self) -> Served {
        self.served
    }

    /// Where a request to `uri` goes, and what it is counted in.
    ///
    /// # Errors
    /// What `wasi:http` tells the guest: the request may not leave.
    fn admit(&mut self, uri: &http::Uri) -> Result<(Target, Arc<Budget>), Error> {
        let Self { policy, served, .. } = self;
        let target = policy.target(uri, *served)?;
        // What has no name is judged before it counts as an effect.
        if let Some(address) = target.socket() {
            policy.permitted(&target, vec![address], *served)?;
        }
        let budget = self.budget.get_or_insert_with(|| Arc::new(Budget::new(policy.clone(), *served)));
        budget.begin()?;
        let budget = budget.clone();
        if self.may_have_effect() { Ok((target, budget)) } else { Err(Error::HttpRequestDenied) }
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_errors: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let (target, budget) = match self.admit(request.uri()) {
            Ok(admitted) => admitted,
            Err(error) => {
                // Secrets may be in the rest of the URI.
                let host = request.uri().host().unwrap_or_default();
                tracing::debug!(host, %error, "outgoing request refused");
                return Box::new(std::future::ready(Err(error)));
            }
        };
        self.left = true;
        // What the connection accepts is for the node to say, not for a guest that copies a request's fields.
        request.headers_mut().remove(http::header::TE);
        let run = self.record.as_ref().and_then(Weak::upgrade);
        let span = run.map(|run| OutgoingSpan::begin(run, &mut request, &target));
        let (policy, served) = (self.policy.clone(), self.served);
        let until = Instant::from_std(clock::now() + policy.timeout);
        let allowance = Allowance { options: options.unwrap_or_default(), until, budget };
        Box::new(async move {
            let addresses = policy.addresses(&target, served);
            let sent = client::send(request, &target, addresses, allowance, &policy.node.roots);
            let sent = sent.await;
            if let Some(span) = span {
                span.end(sent.as_ref().map(|(response, _)| response.status().as_u16()));
            }
            let (mut response, io) = sent?;
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
