//! The metrics of the cluster that the node is in. A node that is alone has none of them.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_api::{ClusterNodeView, ClusterView};

/// A node that was not heard of for longer is not counted, in milliseconds.
const HEARD_MS_MAX: u64 = 3000;

pub(super) fn encode(view: &ClusterView, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let labels = [("cluster", &*view.cluster), ("node", &*view.node)];
    let name = "wasm_fn_node_info";
    let help = "The cluster and the node that these metrics are of, always 1";
    let mut info = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    info.encode_family(&labels)?.encode_gauge(&1_u32)?;
    let is_heard = |node: &&ClusterNodeView| node.heard_ms <= HEARD_MS_MAX;
    let own = view.nodes.iter().find(|node| node.name == view.node && node.heard_ms == 0);
    let ready = |node: &&ClusterNodeView| is_heard(node) && node.ready == Some(true);
    let gauges = [
        (
            "wasm_fn_cluster_in_touch",
            "1 if the node has what its cluster has decided, and hears from the broker",
            u64::from(view.in_touch),
        ),
        (
            "wasm_fn_cluster_nodes",
            "Nodes that this node has heard of in the last three seconds, itself among them",
            count(view.nodes.iter().filter(is_heard)),
        ),
        (
            "wasm_fn_cluster_nodes_ready",
            "Nodes among them on which every version with traffic can be called",
            count(view.nodes.iter().filter(ready)),
        ),
        (
            "wasm_fn_cluster_lag_revisions",
            "How many revisions the node has less than the node that has most",
            own.map_or(0, |own| own.lag),
        ),
        (
            "wasm_fn_cluster_rollouts_led",
            "Rollouts that the node decides about",
            own.map_or(0, |own| own.leads.len() as u64),
        ),
    ];
    for (name, help, value) in gauges {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn count<'a>(nodes: impl Iterator<Item = &'a ClusterNodeView>) -> u64 {
    nodes.count() as u64
}
