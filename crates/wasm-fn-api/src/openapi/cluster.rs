//! The operations on a cluster.

use super::{Describer, Description, parts::query};
use crate::{ClusterView, DrainRequest, NodeDrained, Operation, RevisionQuery, RevisionView};

impl Describer {
    /// The description of an operation on the cluster that a node is in.
    pub(super) fn of_cluster(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::GetRevision => Description {
                tag: "node",
                summary: "Waits until a revision is published on this node, or on every live node of its cluster.",
                parameters: query::<RevisionQuery>(),
                body: None,
                success: self.json::<RevisionView>("What is published, and where it is not"),
                refusals: &[("400", "`invalid-request`"), ("503", "`revision-not-reached`")],
            },
            Operation::GetCluster => Description {
                tag: "node",
                summary: "Shows the cluster that the node is in, as this node sees it.",
                parameters: Vec::new(),
                body: None,
                success: self.json::<ClusterView>("The cluster"),
                refusals: &[("409", "`no-cluster`: the node is alone")],
            },
            _ => Description {
                tag: "node",
                summary: "Has a node of the cluster finish its requests and end.",
                parameters: Vec::new(),
                body: Some(self.body::<DrainRequest>()),
                success: self.json::<NodeDrained>("The node was told"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-request`"),
                    ("404", "`no-such-node`"),
                    ("409", "`no-cluster`: the node is alone"),
                ],
            },
        }
    }
}
