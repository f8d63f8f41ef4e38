//! A cluster, as one of its nodes sees it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::NodeText;

/// The cluster: the answer to `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The name of the cluster.
    #[schema(value_type = NodeText)]
    pub cluster: String,
    /// The name of the node that answers.
    #[schema(value_type = NodeText)]
    pub node: String,
    /// Whether this node hears from the broker, and has what was committed.
    pub in_touch: bool,
    /// Since when it does not, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_touch_since_ms: Option<u64>,
    /// Why it does not, or what keeps it out of the cluster until somebody changes something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The nodes, sorted by name: this one, and those that it has heard of in the last minute.
    pub nodes: Vec<ClusterNodeView>,
    /// The servers that keep the cluster's log; none if the broker does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<BrokerServerView>,
}

/// A server of the broker that keeps a cluster's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrokerServerView {
    /// Its name.
    pub name: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it has everything that the leader has. One that has not cannot stand in for it.
    pub current: bool,
    /// Whether it is not there.
    pub offline: bool,
    /// How many entries it is behind the leader.
    pub lag: u64,
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterNodeView {
    /// Its name.
    #[schema(value_type = NodeText)]
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// The revision that it has.
    pub revision: u64,
    /// How many revisions it has less than the node that has most.
    pub lag: u64,
    /// When it was heard of, milliseconds ago; 0 for the node that answers.
    pub heard_ms: u64,
    /// Whether every version with traffic can be called on it; `null` if it does not say.
    pub ready: Option<bool>,
    /// The stages whose rollouts it decides about, as `FUNCTION/STAGE`.
    pub leads: Vec<String>,
}

/// Which node is to end: the body of `POST /v1/cluster/drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Its name; absent for the node that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<NodeText>)]
    pub node: Option<String>,
}

/// The node was told: the answer to `POST /v1/cluster/drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeDrained {
    /// Its name.
    #[schema(value_type = NodeText)]
    pub node: String,
}
