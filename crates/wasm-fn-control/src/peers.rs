//! The other nodes of a cluster, as the control plane sees them.

mod exchange;
mod message;

use std::{collections::BTreeSet, future::Future, pin::Pin};

use bytes::Bytes;
use tokio::sync::watch;
use wasm_fn_core::{NodeName, Revision};

pub(crate) use exchange::Exchange;

/// A future without a name, for a trait that is used as an object.
pub type PeerFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether the node hears from its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It does.
    In,
    /// It has not for longer than its lease.
    Out {
        /// Since when, Unix milliseconds.
        since_ms: u64,
        /// Why, as far as it is known.
        reason: String,
    },
}

/// A message of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// Which node sent it.
    pub from: NodeName,
    /// What it sent.
    pub body: Bytes,
}

/// The other nodes of a cluster.
///
/// Messages may be late, lost, doubled or out of order. What must not be lost is in the store.
pub trait Peers: Send + Sync + 'static {
    /// The name of this node.
    fn name(&self) -> &NodeName;

    /// Sends `body` to all other nodes. It does not wait. What cannot be sent is lost.
    fn tell(&self, body: Bytes);

    /// Waits for the next message of another node. There is one reader. If it does not keep up, the oldest
    /// messages are lost.
    fn hear(&self) -> PeerFuture<'_, PeerMessage>;

    /// This node has published everything up to `revision`. It is in touch only if that is what its cluster
    /// had lately.
    fn published(&self, revision: Revision);

    /// Whether the node is in touch with its cluster, at this moment.
    fn is_in_touch(&self) -> bool;

    /// Whether the node is in touch with its cluster, as it changes. A process that was stopped may hear of
    /// it some milliseconds after it goes on.
    fn touch(&self) -> watch::Receiver<Touch>;

    /// Sets which leases this node would take, each of which at most one node has at any time.
    fn contend(&self, leases: BTreeSet<String>);

    /// Whether this node has the lease called `name`, at this moment: no other node can have it then.
    fn has(&self, name: &str) -> bool;

    /// The leases that this node has, as they change.
    fn leases(&self) -> watch::Receiver<BTreeSet<String>>;
}
