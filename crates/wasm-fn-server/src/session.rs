//! What requests have in common: those of a server, those of a connection, and the runs of one.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use wasm_fn_router::RouteTable;

use crate::{Options, OverrideAccess, RequestId, client::Peer, crowding::Crowding, watch::Watch};

/// What every connection shares.
pub(crate) struct Plane<V> {
    pub(crate) tables: Arc<ArcSwap<RouteTable<V>>>,
    pub(crate) access: Arc<dyn OverrideAccess>,
    pub(crate) options: Options,
    pub(crate) crowding: Crowding,
}

/// One connection.
pub(crate) struct Session<V> {
    pub(crate) plane: Arc<Plane<V>>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) peer: Peer,
}

/// What of a request stays the same in every run.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) id: RequestId,
    pub(crate) client: SocketAddr,
    /// When its connection began to work on it: in the poll that completed its head.
    pub(crate) at: Instant,
}
