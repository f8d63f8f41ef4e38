//! The interface through which the data plane runs functions.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Instant};

use bytes::Bytes;
use wasm_fn_core::{RunRecord, Scheme, Usage, VersionNo};

use crate::{
    failure::InvokeFailure,
    request::{RequestBody, RequestId, effects::EffectGuard},
};

/// A version of a function that can answer requests.
pub trait Invoke: Send + Sync + 'static {
    /// The body of a response; usually the running guest itself.
    type Body: InvocationBody;

    /// Runs one invocation until its response head is complete. Polling the body runs the rest.
    ///
    /// The task of the connection polls the future (HTTP/2: the task of the stream).
    ///
    /// # Errors
    /// There is no response. A failure after the head is an error of the body.
    ///
    /// # Cancel safety
    /// Dropping the future, or the body, cancels the guest.
    fn invoke(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, InvokeFailure>> + Send + use<Self>;
}

/// One request for a guest.
#[derive(Debug)]
pub struct Call {
    /// The request as received, without `wasm-fn-version` and `wasm-fn-token`, and without headers about the
    /// client that only a trusted proxy may send.
    pub request: http::Request<RequestBody>,
    /// Its id, which the response carries too.
    pub request_id: RequestId,
    /// The client: the peer of the connection, or the one that a trusted proxy names. The port is 0 if none
    /// is named.
    pub client: SocketAddr,
    /// The scheme by which the client sent it: that of the connection, or the one that a trusted proxy names.
    pub scheme: Scheme,
    /// The port of the listener that the request came in on. If the proxy before it names another scheme, it
    /// is that scheme's default port: the client's is not known.
    pub port: u16,
    /// The version that was chosen.
    pub version: VersionNo,
    /// When the connection began to work on the request, in the poll that completed its head. The request's
    /// time counts from then, also for a second run.
    pub arrived: Instant,
    /// When this run began.
    pub began: Instant,
    /// Must be asked before the guest does anything that cannot be undone. `None` when the request runs only
    /// once, whatever the guest does.
    pub effects: Option<EffectGuard>,
    /// The record of this run, if it has one.
    pub record: Option<Arc<RunRecord>>,
}

/// The body of a response.
///
/// A small response leaves in one write when [`size_hint`](http_body::Body::size_hint) is exact and
/// [`is_end_stream`](http_body::Body::is_end_stream) turns true with the last frame.
pub trait InvocationBody: http_body::Body<Data = Bytes, Error = InvokeFailure> + Send + 'static {
    /// What the invocation used so far. Read when the body has ended or is about to be dropped.
    fn usage(&self) -> Usage;

    /// Notes that the response is complete though the body has not ended: it has all that its head promises,
    /// or nothing of it is sent, as in the response to a HEAD. A guest that works on after its response may
    /// do so. Without this call, dropping the body cancels the guest.
    fn complete(self: Pin<&mut Self>);
}
