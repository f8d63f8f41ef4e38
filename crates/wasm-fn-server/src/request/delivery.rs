//! Has functions handle events, in the way of requests: the same choice of a version, the same limits, the
//! same tallies and the same shield, without a connection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use wasm_fn_core::{FunctionName, InvocationTrigger, Scheme, StageName, VersionNo, VersionRef};
use wasm_fn_router::RouteTable;

use super::{
    access::OverrideAccess, body::RequestBody, effects::EffectGuard, id::RequestId, redelivery::Redelivery,
};
use crate::{
    client::Peer,
    clock,
    connection::state::{ConnectionState, Order},
    invoke::Invoke,
    options::ServerOptions,
    response::{body::ResponseBody, headers, problem::Code},
    session::{Arrival, DeliveryRules, Plane, Session},
};

/// Longer than any request may take: the canary has all of the function's time.
const NO_LIMIT: Duration = Duration::MAX;

/// Has functions handle events.
pub struct EventDispatcher<V> {
    plane: Arc<Plane<V>>,
}

/// An event for the function of a stage, and how it is delivered.
#[derive(Debug)]
pub struct DeliveryOptions {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// Which version gets the event.
    pub target: DeliveryTarget,
    /// What happens when a canary fails.
    pub redelivery: Redelivery,
    /// What the event came from.
    pub trigger: InvocationTrigger,
    /// Bytes of the response's body that are kept; the rest is read and discarded.
    pub answer_bytes_max: usize,
}

/// Which version gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryTarget {
    /// The one that a request would get.
    Drawn,
    /// The stable one. The delivery counts for nothing in a comparison.
    Stable,
    /// The canary, which can have no effect. It is counted with requests that asked for their version, and
    /// for nothing in a comparison.
    CanaryWithoutEffects,
}

/// The answer to a delivery.
#[derive(Debug)]
pub struct Delivered {
    /// The id of the delivery's request.
    pub request_id: RequestId,
    /// The version that answered; `None` if none was chosen.
    pub version: Option<VersionNo>,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Bytes,
    /// Whether the node is at fault: the function was not asked, or not left to finish.
    pub is_of_node: bool,
    /// Whether the canary of a comparison answered, and nobody after it.
    pub is_canary: bool,
    /// Whether the version was refused an effect, so that its answer says nothing about it.
    pub refused_effect: bool,
}

/// Why there is no answer to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The stage does not exist, or has nothing deployed.
    #[error("function `{function}` has no stage `{stage}`")]
    NoSuchStage {
        /// The function.
        function: FunctionName,
        /// The stage.
        stage: StageName,
    },
    /// The answer broke off.
    #[error("{version} broke off its answer: {reason}")]
    BrokeOff {
        /// The version that answered.
        version: VersionNo,
        /// Whether it was the canary of a comparison.
        is_canary: bool,
        /// Why it broke off.
        reason: String,
        /// Whether the version was refused an effect.
        refused_effect: bool,
    },
}

impl<V: Invoke> EventDispatcher<V> {
    /// A dispatcher by the current table of `tables`.
    pub fn new(
        tables: Arc<ArcSwap<RouteTable<V>>>,
        options: ServerOptions,
        access: Arc<dyn OverrideAccess>,
    ) -> Self {
        Self { plane: Plane::new(tables, options, access) }
    }

    /// The canary of the stage, if it has one besides stable.
    pub fn canary(&self, function: &FunctionName, stage: &StageName) -> Option<VersionNo> {
        let table = self.plane.tables.load();
        let stage = table.stage(function, stage)?;
        stage.canary().map(|canary| canary.no).filter(|canary| *canary != stage.stable().no)
    }

    /// Has the function handle the event in `request`, and reads its answer to the end.
    ///
    /// A canary that does not answer with a status of 2xx is charged with a failure, and the same event goes
    /// to the version that the canary is to replace, as `options` allow.
    ///
    /// # Errors
    /// There is no such stage, or the answer breaks off.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the guest.
    pub async fn deliver(
        &self,
        request: Request<Bytes>,
        options: DeliveryOptions,
    ) -> Result<Delivered, DeliveryError> {
        let DeliveryOptions { function, stage: name, target, redelivery, trigger, answer_bytes_max } =
            options;
        let table = self.plane.tables.load_full();
        let Some(stage) = table.stage(&function, &name) else {
            return Err(DeliveryError::NoSuchStage { function, stage: name });
        };
        let (asked, forbidding) = match target {
            DeliveryTarget::Drawn => (None, None),
            DeliveryTarget::Stable => (Some(VersionRef::Stable), None),
            DeliveryTarget::CanaryWithoutEffects => {
                (Some(VersionRef::Canary), Some(EffectGuard::forbidding()))
            }
        };
        let started = clock::now();
        let connection = Arc::new(ConnectionState::new(started, Order::Serve));
        // Deliveries overlap, as the streams of HTTP/2 do, and have no place in an order of responses.
        connection.flags.set_http2();
        let (id, client) = (RequestId::random(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let arrival = Arrival { id, client, scheme: Scheme::Http, at: started };
        let in_flight = connection.begin();
        let session = Arc::new(Session {
            plane: Arc::clone(&self.plane),
            connection,
            peer: Peer::new(client, &[]),
            scheme: arrival.scheme,
            port: arrival.scheme.port(),
            delivery: Some(DeliveryRules { redelivery, forbidding: forbidding.clone() }),
        });
        let request = request.map(RequestBody::whole);
        let (response, canary) = match self.plane.choose_in(stage, &request, asked, client, id, started) {
            Err(problem) => (problem.into_response(id), None),
            Ok(selected) => {
                let canary = selected.canary();
                let shielded = canary.is_some() && forbidding.is_none();
                let fallback_after = selected.fallback_after.or_else(|| shielded.then_some(NO_LIMIT));
                let selected = selected.counted_apart(target == DeliveryTarget::CanaryWithoutEffects);
                let record = self.plane.record(&selected, &request, &arrival, trigger);
                let run = selected.run(&request, in_flight, &arrival, record.as_ref());
                let response = session.invoke(fallback_after, request, arrival, run).await;
                if let Some(record) = record {
                    record.answered(response.status().as_u16(), clock::now());
                }
                (response, canary)
            }
        };
        read(response, id, canary, forbidding.as_ref(), answer_bytes_max).await
    }
}

/// Reads `response` to its end, and keeps `bytes_max` bytes of the body.
async fn read<V: Invoke>(
    response: Response<ResponseBody<V>>,
    request_id: RequestId,
    canary: Option<VersionNo>,
    forbidding: Option<&EffectGuard>,
    bytes_max: usize,
) -> Result<Delivered, DeliveryError> {
    let (head, body) = response.into_parts();
    let version = head.headers.get(headers::VERSION).and_then(|label| label.to_str().ok()?.parse().ok());
    let is_of_node = head.extensions.get().is_some_and(|code: &Code| code.is_of_node());
    let refused = || forbidding.is_some_and(EffectGuard::has_refused);
    let mut body = std::pin::pin!(body);
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match (frame, version) {
            (Ok(frame), _) => {
                let data = frame.into_data().unwrap_or_default();
                kept.extend_from_slice(&data[..data.len().min(bytes_max - kept.len())]);
            }
            (Err(error), Some(version)) => {
                let (is_canary, reason) = (canary == Some(version), error.to_string());
                return Err(DeliveryError::BrokeOff {
                    version,
                    is_canary,
                    reason,
                    refused_effect: refused(),
                });
            }
            (Err(error), None) => unreachable!("only a version's answer breaks off: {error}"),
        }
    }
    let (status, body) = (head.status, kept.freeze());
    let (is_canary, refused_effect) = (version.is_some() && version == canary, refused());
    let headers = head.headers;
    Ok(Delivered { request_id, version, status, headers, body, is_of_node, is_canary, refused_effect })
}
