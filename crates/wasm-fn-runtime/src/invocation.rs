//! One invocation: a guest that runs while its connection polls it, and the response it gives.
//!
//! No task stands between the connection and the guest. The future returned to the server polls the
//! guest until the response head is there; from then on the response body does. Dropping either
//! drops the instance, which is how a client that leaves cancels its guest.

mod body;
mod guest;
mod knock;

use std::{net::IpAddr, time::Instant};

pub use body::ResponseBody;
use bytes::Bytes;
pub(crate) use guest::{Deadline, Guest};
use http_body::Body;
use http_body_util::BodyExt;
use wasmtime_wasi_http::WasiBody;

use crate::Effects;

/// A request for a version.
#[derive(Debug)]
pub struct Invocation<B> {
    /// The request as the guest shall see it.
    pub request: http::Request<B>,
    /// Names the request in the log.
    pub request_id: u128,
    /// Whose request it is, where it is a client's: `REMOTE_ADDR` of a command.
    pub client: Option<IpAddr>,
    /// When the request arrived: its time counts from then, so that a second run gets what is left.
    pub arrived: Instant,
    /// When this run of it began.
    pub began: Instant,
    /// Asked before anything leaves the node. `None` when nobody wants to know.
    pub effects: Option<Effects>,
}

/// Why a request body could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// It is longer than the server takes.
    #[error("request body is too large")]
    TooLarge,
    /// The connection failed.
    #[error("request body ended early: {0}")]
    Broken(String),
}

impl From<RequestBodyError> for wasmtime_wasi_http::Error {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::TooLarge => Self::HttpRequestBodySize(None),
            RequestBodyError::Broken(_) => Self::ConnectionTerminated,
        }
    }
}

/// The request as `wasi:http` takes it: with a host, which HTTP/1.0 may leave out.
fn for_guest<B>(mut request: http::Request<B>) -> http::Request<WasiBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<RequestBodyError>,
{
    let host = request.headers().get(http::header::HOST);
    let named = request.uri().authority().is_some() || host.is_some_and(|host| host.to_str().is_ok());
    if !named {
        let unknown = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert(http::header::HOST, unknown);
    }
    request.map(|body| body.map_err(|error| error.into().into()).boxed_unsync())
}
