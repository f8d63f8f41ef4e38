//! What requests share: those of a server, those of a connection, and the runs of one request.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use wasm_fn_core::Scheme;
use wasm_fn_router::RouteTable;

use crate::{
    client::Peer,
    connection::state::ConnectionState,
    options::ServerOptions,
    request::{RequestId, access::OverrideAccess, key_skew::KeySkewWarnings},
};

/// What every connection shares.
pub(crate) struct Plane<V> {
    pub(crate) tables: Arc<ArcSwap<RouteTable<V>>>,
    pub(crate) access: Arc<dyn OverrideAccess>,
    pub(crate) options: ServerOptions,
    pub(crate) key_skew: KeySkewWarnings,
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
