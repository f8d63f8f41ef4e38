//! How a node takes part in a cluster.

use std::{fmt, sync::Arc, time::Duration};

use wasm_fn_core::{ClusterName, NodeName};
use wasm_fn_events::BrokerUrl;
use wasm_fn_queue::{AddressRule, ClientConfig, GetCredentials};

/// How long a node may be without news of the broker, and how long a lease lasts.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(5);

/// The shortest lease: less than a few round trips to a broker that writes to disk would end by chance.
pub const LEASE_MIN: Duration = Duration::from_secs(1);

/// The longest lease.
pub const LEASE_MAX: Duration = Duration::from_secs(60);

/// How many changes the log keeps behind the last snapshot: a node that was away for fewer goes on from the
/// log.
pub const LOG_KEEP_DEFAULT: u64 = 10_000;

/// Tells by which certificates to connect to the broker.
pub type GetTls = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

/// How a node takes part in a cluster.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Where the servers of the broker are.
    pub brokers: Vec<BrokerUrl>,
    /// The cluster.
    pub cluster: ClusterName,
    /// The node, which has this name alone.
    pub node: NodeName,
    /// The version of this program, for other nodes to show.
    pub program: String,
    /// What the broker is shown, each time that it is connected to.
    pub credentials: GetCredentials,
    /// How to connect where the broker wants TLS, or an address does, each time that it is connected to.
    pub tls: GetTls,
    /// Which addresses the broker may have.
    pub addresses: AddressRule,
    /// How long the node may be without news of the broker, and how long its leases last: from [`LEASE_MIN`]
    /// to [`LEASE_MAX`], and the same on every node.
    pub lease: Duration,
    /// How many changes the log keeps behind the last snapshot, if they are not too large.
    pub log_keep: u64,
    /// The id of the cluster that the node's state belongs to; `None` if it belongs to none yet.
    pub cluster_id: Option<String>,
    /// The fingerprint of the key that the node has of the cluster; `None` where it has none yet.
    pub key: Option<String>,
}

impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, cluster, node, lease, .. } = self;
        f.debug_struct("ClusterOptions")
            .field("brokers", brokers)
            .field("cluster", cluster)
            .field("node", node)
            .field("lease", lease)
            .finish_non_exhaustive()
    }
}
