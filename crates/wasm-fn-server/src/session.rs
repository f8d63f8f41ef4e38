//! What requests share: those of a server, those of a connection, and the runs of one request.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use http::StatusCode;
use wasm_fn_core::Scheme;
use wasm_fn_router::RouteTable;

use crate::{
    client::Peer,
    connection::state::ConnectionState,
    options::ServerOptions,
    request::{
        RequestId, access::OverrideAccess, effects::EffectGuard, key_skew::KeySkewWarnings,
        reception::room::ReceptionRoom, redelivery::Redelivery,
    },
};

/// What every connection shares.
pub(crate) struct Plane<V> {
    pub(crate) tables: Arc<ArcSwap<RouteTable<V>>>,
    pub(crate) access: Arc<dyn OverrideAccess>,
    pub(crate) options: ServerOptions,
    pub(crate) key_skew: KeySkewWarnings,
    /// Room for requests that become events.
    pub(crate) receptions: Arc<ReceptionRoom>,
}

impl<V> Plane<V> {
    pub(crate) fn new(
        tables: Arc<ArcSwap<RouteTable<V>>>,
        options: ServerOptions,
        access: Arc<dyn OverrideAccess>,
    ) -> Arc<Self> {
        let (key_skew, receptions) = (KeySkewWarnings::default(), Arc::default());
        Arc::new(Self { tables, access, options, key_skew, receptions })
    }
}

/// One connection.
pub(crate) struct Session<V> {
    pub(crate) plane: Arc<Plane<V>>,
    pub(crate) connection: Arc<ConnectionState>,
    pub(crate) peer: Peer,
    /// `https` with TLS.
    pub(crate) scheme: Scheme,
    /// The port of the listener that accepted it.
    pub(crate) port: u16,
    /// What its requests deliver, if they come from this node and not from a client.
    pub(crate) delivery: Option<DeliveryRules>,
}

/// How a delivery differs from a client's request.
#[derive(Clone)]
pub(crate) struct DeliveryRules {
    pub(crate) redelivery: Redelivery,
    /// Forbids every effect, if the version can have none.
    pub(crate) forbidding: Option<EffectGuard>,
}

impl<V> Session<V> {
    /// Whether a response with `status` is a failure of the version.
    ///
    /// To an event there are no answers but yes and no: a version that refuses what another one handles has
    /// failed.
    pub(crate) fn is_failure(&self, status: StatusCode) -> bool {
        match &self.delivery {
            None => status.is_server_error(),
            Some(_) => !status.is_success(),
        }
    }

    /// Whether a request may run again although it had an effect.
    pub(crate) fn repeats_effects(&self) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| delivery.redelivery == Redelivery::Always)
    }

    /// What forbids every effect of a run that has no shield.
    pub(crate) fn forbidding(&self) -> Option<EffectGuard> {
        self.delivery.as_ref()?.forbidding.clone()
    }
}

/// What stays the same in every run of a request.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) id: RequestId,
    pub(crate) client: SocketAddr,
    /// The scheme by which the client sent it.
    pub(crate) scheme: Scheme,
    /// When the connection began to work on it, in the poll that completed its head.
    pub(crate) at: Instant,
}
