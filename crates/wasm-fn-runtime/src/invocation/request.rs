//! A request for a version, as the runtime takes it.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use wasm_fn_core::{RunRecord, Scheme};
use wasmtime_wasi_http::WasiBody;

use crate::guest_host::{effect::EffectCheck, hop_by_hop, logs::LogStage};

/// A request for a version.
#[derive(Debug)]
pub struct Invocation<B> {
    /// The request as the guest should see it.
    pub request: http::Request<B>,
    /// Names the request in the log.
    pub request_id: u128,
    /// The stage that it came to, as the version's [`log_stage`](crate::Version::log_stage) numbers it.
    pub stage: LogStage,
    /// The client, if a client sent the request: `REMOTE_ADDR` of a command.
    pub client: Option<IpAddr>,
    /// The scheme by which the client sent it.
    pub scheme: Scheme,
    /// The port that the request came in on: `SERVER_PORT` of a command.
    pub port: u16,
    /// When the request arrived. Its time counts from then, so a second run gets the rest.
    pub arrived: Instant,
    /// When this run began.
    pub began: Instant,
    /// Asked before each effect begins: an outgoing request, or a write to a bucket. `None` when all may.
    pub effect_check: Option<EffectCheck>,
    /// What the run is recorded in, if it is.
    pub record: Option<Arc<RunRecord>>,
}

/// Why a request body could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the server accepts.
    #[error("request body is too large")]
    TooLarge,
    /// The connection failed.
    #[error("request body ended early: {0}")]
    Broken(String),
}

impl From<BodyError> for wasmtime_wasi_http::Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::HttpRequestBodySize(None),
            BodyError::Broken(_) => Self::ConnectionTerminated,
        }
    }
}

/// The request for a guest of any kind: without fields that are for the client's connection only.
pub(super) fn end_to_end<B>(mut request: http::Request<B>) -> http::Request<WasiBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let named = hop_by_hop::remove(request.headers_mut());
    request.map(|body| {
        hop_by_hop::without_trailers(body.map_err(|error| error.into().into()).boxed_unsync(), named)
    })
}

/// The request as `wasi:http` takes it: with a host, which HTTP/1.0 may leave out.
pub(super) fn with_host(mut request: http::Request<WasiBody>) -> http::Request<WasiBody> {
    let host = request.headers().get(http::header::HOST);
    let named = request.uri().authority().is_some() || host.is_some_and(|host| host.to_str().is_ok());
    if !named {
        let unknown = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert(http::header::HOST, unknown);
    }
    request
}
