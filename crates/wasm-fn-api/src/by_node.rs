//! What answers say of each node of a cluster, and which node a request is about.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::is_false;
use crate::words::NodeText;

/// The request header with a revision: the node answers once it has published it, and refuses if that takes
/// more than five seconds.
pub const AT_LEAST_REVISION: &str = "wasm-fn-at-least-revision";

/// The response header with the revision that the node had published when it answered. After a change, it is
/// that of the change or a later one.
pub const PUBLISHED_REVISION: &str = "wasm-fn-revision";

/// Parameters of `GET /v1/functions/{function}` and of its series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NodeQuery {
    /// Only the numbers of this node of the cluster; of all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<NodeText>)]
    pub node: Option<String>,
}

/// A node of the cluster whose numbers were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskedNode {
    /// Its name.
    #[schema(value_type = NodeText)]
    pub node: String,
    /// Why its numbers are not in the answer; absent if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Parameters of `GET /v1/revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevisionQuery {
    /// Wait until the node has published this revision; the one that it has if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
    /// Wait for every other live node of the cluster, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub everywhere: bool,
    /// Wait so long, milliseconds, at most 60,000; 10,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(maximum = 60_000)]
    pub wait_ms: Option<u64>,
}

/// What is published: the answer to `GET /v1/revision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// The revision that was waited for, or a later one that the node has published.
    pub revision: u64,
    /// The other nodes of the cluster, if they were waited for, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRevisionView>,
}

/// What one node of a cluster has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeRevisionView {
    /// Its name.
    #[schema(value_type = NodeText)]
    pub node: String,
    /// Whether it has published the revision that was waited for.
    pub published: bool,
    /// Whether it was there when the wait began. One that was not serves no canary before it has caught up.
    pub live: bool,
    /// Why it is not known to have published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}
