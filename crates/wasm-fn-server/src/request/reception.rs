//! Requests that are events of others, such as webhooks: their bodies are read, and somebody else answers.

use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{attempt::FullResponse, body::RequestBody, id::RequestId};
use crate::{
    connection::state::InFlight,
    invoke::Invoke,
    response::{
        body::own,
        headers,
        problem::{Code, Problem},
    },
    session::Plane,
};

/// What the paths of webhooks begin with. No function has them.
pub const HOOKS_PATH: &str = "/_hooks/";

/// Requests whose bodies are read at a time; they are whole in memory.
pub(crate) const RECEPTIONS_MAX: usize = 64;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Answers requests below [`HOOKS_PATH`].
pub trait EventReceiver: fmt::Debug + Send + Sync + 'static {
    /// The most bytes that a body to the webhook `hook` may have; `None` if there is no such webhook. `hook` is
    /// the path after [`HOOKS_PATH`], as the client sent it.
    fn body_bytes_max(&self, hook: &str) -> Option<u64>;

    /// Answers a request of `client` to the webhook `hook`.
    fn receive(
        self: Arc<Self>,
        hook: String,
        head: Parts,
        body: Bytes,
        client: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
}

/// A request that an [`EventReceiver`] answers.
pub(crate) struct Reception {
    receiver: Arc<dyn EventReceiver>,
    hook: String,
    bytes_max: u64,
}

impl<V: Invoke> Plane<V> {
    /// Who answers `request`, if that is not a function.
    pub(super) fn reception<B>(&self, request: &Request<B>) -> Option<Reception> {
        let hook = request.uri().path().strip_prefix(HOOKS_PATH)?;
        let receiver = Arc::clone(self.options.receiver.as_ref()?);
        let bytes_max = receiver.body_bytes_max(hook)?;
        Some(Reception { receiver, hook: hook.to_owned(), bytes_max })
    }
}

/// Reads the body of `request`, and has its receiver answer.
pub(super) async fn receive<V: Invoke>(
    plane: Arc<Plane<V>>,
    reception: Reception,
    request: Request<RequestBody>,
    client: SocketAddr,
    id: RequestId,
    in_flight: InFlight,
) -> FullResponse<V> {
    let refuse = |code: Code| Problem::from(code).into_response(id);
    let Ok(_permit) = plane.receptions.try_acquire() else { return refuse(Code::NodeOverloaded) };
    let Reception { receiver, hook, bytes_max } = reception;
    let (head, body) = request.into_parts();
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let read = tokio::time::timeout(BODY_WAIT, Limited::new(body, limit).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Problem::body_too_large(bytes_max).into_response(id);
        }
        Ok(Err(_)) => return refuse(Code::BadRequest),
        Err(_) => return refuse(Code::RequestTimeout),
    };
    let mut response = receiver.receive(hook, head, body, client).await.map(|body| own(body.into()));
    response.headers_mut().insert(headers::REQUEST_ID, id.header_value());
    drop(in_flight);
    response
}
