//! What the data plane needs of whatever runs functions.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasm_fn_core::VersionNo;

use crate::{Effects, Failure, RequestBody, RequestId};

/// A version of a function that can answer requests.
pub trait Invoke: Send + Sync + 'static {
    /// The body of an answer; usually the running guest itself.
    type Body: InvocationBody;

    /// Runs one invocation until its head is there; the rest runs as the body is polled.
    ///
    /// The future is polled by the connection's own task (HTTP/2: by the stream's).
    ///
    /// # Errors
    /// When there is no answer. A failure after the head is the body's error.
    ///
    /// # Cancel safety
    /// Dropping the future, or the body, cancels the guest.
    fn invoke(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<http::Response<Self::Body>, Failure>> + Send + use<Self>;
}

/// One request on its way to a guest.
#[derive(Debug)]
pub struct Call {
    /// The request as it was received, without `wasm-fn-version` and `wasm-fn-token`, and without what only a trusted
    /// proxy may say of the client.
    pub request: http::Request<RequestBody>,
    /// Its id, which the answer carries too.
    pub request_id: RequestId,
    /// The client: the peer of the connection, or whom a trusted proxy names. The port is 0 where none is named.
    pub client: SocketAddr,
    /// The version that was chosen.
    pub version: VersionNo,
    /// When the connection began to work on the request, in the poll that completed its head; the time that it may
    /// take counts from then, also when it runs for the second time.
    pub arrived: Instant,
    /// When this run of it began.
    pub began: Instant,
    /// To be asked before the guest does anything that cannot be undone. `None` when the request runs only
    /// once, whatever the guest does.
    pub effects: Option<Effects>,
}

/// The body of an answer.
///
/// One small answer is one write when [`size_hint`](http_body::Body::size_hint) is exact and
/// [`is_end_stream`](http_body::Body::is_end_stream) turns true with the last frame.
pub trait InvocationBody: http_body::Body<Data = Bytes, Error = Failure> + Send + 'static {
    /// What the invocation used so far; read when the body has ended or is about to be dropped.
    fn usage(&self) -> Usage;
}

/// What one invocation used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent waiting for an instance.
    pub queue_wait: Duration,
    /// Largest linear memory, bytes.
    pub memory_peak_bytes: u64,
    /// Whether the node had no memory left that the guest asked for: then no failure is the version's.
    pub starved: bool,
}
