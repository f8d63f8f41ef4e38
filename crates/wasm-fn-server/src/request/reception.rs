//! Requests that become events, such as those of webhooks: their bodies are read, and somebody else answers.

pub(crate) mod room;

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use wasm_fn_core::{FunctionName, StageName, VersionRef};
use wasm_fn_router::Stage;

use self::room::{Full, Part};
use super::{attempt::FullResponse, body::RequestBody, id::RequestId};
use crate::{
    connection::state::InFlight,
    invoke::Invoke,
    receiver::{EventReceiver, HOOKS_PATH},
    response::{
        body::own,
        headers,
        problem::{Code, Problem},
    },
    session::Plane,
};

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// A request that an [`EventReceiver`] answers.
pub(crate) struct Reception {
    receiver: Arc<dyn EventReceiver>,
    target: Target,
    bytes_max: u64,
}

enum Target {
    Webhook(String),
    Function(FunctionName, StageName),
}

impl<V: Invoke> Plane<V> {
    /// Who answers a request to `path`, in its normal form, if that is a webhook.
    #[cold]
    pub(super) fn webhook(&self, path: &str) -> Option<Reception> {
        let hook = path.strip_prefix(HOOKS_PATH)?;
        let receiver = Arc::clone(self.options.receiver.as_ref()?);
        let bytes_max = receiver.body_bytes_max(hook)?;
        Some(Reception { receiver, target: Target::Webhook(hook.to_owned()), bytes_max })
    }

    /// Who answers a request that `stage` is to handle later, and that may have `asked` for a version.
    ///
    /// # Errors
    /// The function takes no such requests, or not with a version.
    #[cold]
    pub(super) fn deferral(&self, stage: &Stage<V>, asked: Option<VersionRef>) -> Result<Reception, Problem> {
        let refuse = |detail: &'static str| Problem { detail: detail.into(), ..Code::BadRequest.into() };
        if asked.is_some() {
            return Err(refuse(
                "a request for a version cannot be asynchronous, expected no wasm-fn-async header",
            ));
        }
        let (function, name) = (stage.function().clone(), stage.name().clone());
        let receiver = self.options.receiver.as_ref();
        let bytes_max = receiver.and_then(|receiver| receiver.deferred_bytes_max(&function, &name));
        match (receiver, bytes_max) {
            (Some(receiver), Some(bytes_max)) => {
                let (receiver, target) = (Arc::clone(receiver), Target::Function(function, name));
                Ok(Reception { receiver, target, bytes_max })
            }
            _ => Err(refuse(
                "the function takes no asynchronous requests, expected `async` in its configuration",
            )),
        }
    }
}

/// Why a body was not received.
enum BodyError {
    TooLarge,
    NoRoom,
    BrokeOff,
}

impl From<Full> for BodyError {
    fn from(_: Full) -> Self {
        Self::NoRoom
    }
}

/// Reads `body`, of at most `bytes_max` bytes, within the room of `part`.
async fn read(body: RequestBody, bytes_max: u64, part: &mut Part) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge);
    }
    let (mut body, mut read, mut left) = (pin!(body), BytesMut::new(), bytes_max);
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| BodyError::BrokeOff)?.into_data().unwrap_or_default();
        let bytes = data.len() as u64;
        left = left.checked_sub(bytes).ok_or(BodyError::TooLarge)?;
        part.grow(bytes)?;
        // The frame itself may keep a whole buffer of its connection.
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// Reads the body of `request`, and has its receiver answer.
pub(super) async fn receive<V: Invoke>(
    plane: Arc<Plane<V>>,
    reception: Reception,
    request: Request<RequestBody>,
    (id, client): (RequestId, IpAddr),
    in_flight: InFlight,
) -> FullResponse<V> {
    let refuse = |code: Code| Problem::from(code).into_response(id);
    // Held until there is an answer, since the body is there until then.
    let Ok(mut part) = plane.receptions.enter(client) else { return refuse(Code::NodeOverloaded) };
    let Reception { receiver, target, bytes_max } = reception;
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_WAIT, read(body, bytes_max, &mut part)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BodyError::TooLarge)) => return Problem::body_too_large(bytes_max).into_response(id),
        Ok(Err(BodyError::NoRoom)) => return refuse(Code::NodeOverloaded),
        Ok(Err(BodyError::BrokeOff)) => return refuse(Code::BadRequest),
        Err(_) => return refuse(Code::RequestTimeout),
    };
    let received = match target {
        Target::Webhook(hook) => receiver.receive(hook, head, body, id),
        Target::Function(function, stage) => receiver.defer(function, stage, head, body, id),
    };
    let mut response = received.await.map(|body| own(body.into()));
    response.headers_mut().insert(headers::REQUEST_ID, id.header_value());
    drop(in_flight);
    response
}
