//! Checks the cluster that a node is to be in: its key, and the broker that has its state.

use std::time::Duration;

use wasm_fn_cluster::{Cluster, ClusterError, ClusterOptions, Monitors, syncs};
use wasm_fn_core::NodeName;

use super::Finding;
use crate::{
    config::ClusterPlace,
    node::{ClusterKey, cluster_options},
};

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The findings about `place`, whose broker has these monitoring ports.
pub(super) async fn all(place: &ClusterPlace, ports: Vec<String>) -> Vec<Finding> {
    vec![key(place), broker(place).await, disks(place, ports).await]
}

/// How the broker writes to its disks.
async fn disks(place: &ClusterPlace, ports: Vec<String>) -> Finding {
    const NAME: &str = "broker-disks";
    let mend = "set `sync_interval: always` in the `jetstream` block of each server";
    let options = match cluster_options(&place.membership, visitor(), None) {
        Ok(options) => options,
        Err(error) => {
            return Finding::problem(NAME, format!("{error:#}"), "mend the settings of the cluster");
        }
    };
    let asked = match syncs(&options, &Monitors { ports, system: None }).await {
        Ok(asked) => asked,
        Err(error) => {
            return Finding::problem(NAME, error.to_string(), "name the ports that the servers have");
        }
    };
    match asked.refusal() {
        None => {
            let servers = asked.syncs.len();
            Finding::ok(
                NAME,
                format!("{servers} of its servers write each change before they acknowledge it"),
            )
        }
        Some(error @ ClusterError::Unasked { .. }) => {
            let help = "name the monitoring ports of all its servers with `--monitor HOST:PORT`";
            Finding::warning(NAME, error.to_string(), help)
        }
        Some(error) => Finding::problem(NAME, error.to_string(), mend),
    }
}

/// A name that no node has.
fn visitor() -> NodeName {
    format!("doctor-{:08x}", rand::random::<u32>()).parse().expect("it is a name")
}

fn key(place: &ClusterPlace) -> Finding {
    let path = &place.membership.key;
    match ClusterKey::read(path) {
        Ok(_) => Finding::ok("cluster-key", format!("{} holds the key of a cluster", path.display())),
        Err(error) => Finding::problem(
            "cluster-key",
            error.to_string(),
            "copy the file from the machine where `wasm-fn cluster init` ran, with mode 0600",
        ),
    }
}

async fn broker(place: &ClusterPlace) -> Finding {
    let name = &place.membership.name;
    let cluster = cluster_options(&place.membership, visitor(), None).map_err(|error| format!("{error:#}"));
    // A key that cannot be read is a finding of its own.
    let key = ClusterKey::read(&place.membership.key).ok().map(|key| key.fingerprint());
    let cluster = cluster.map(|options| ClusterOptions { key, ..options });
    let cluster = cluster.and_then(|options| Cluster::start(options).map_err(|error| error.to_string()));
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => return Finding::problem("broker", error, "mend the settings of the cluster"),
    };
    let joined = tokio::time::timeout(PATIENCE, cluster.joined()).await;
    cluster.leave().await;
    match joined {
        Ok(Ok(record)) if record.replicas < 3 => Finding::warning(
            "broker",
            format!("cluster {name} is there, and {} server keeps each change", record.replicas),
            "with three servers and `--replicas 3` one of them may be lost",
        ),
        Ok(Ok(record)) => {
            let replicas = record.replicas;
            Finding::ok("broker", format!("cluster {name} is there, and {replicas} servers keep each change"))
        }
        Ok(Err(error)) => {
            Finding::problem("broker", error.to_string(), "a node of the cluster does not start so")
        }
        Err(_) => Finding::problem(
            "broker",
            format!("no answer after {PATIENCE:?}"),
            "look whether the servers run and can be reached; a node that has no state yet waits for them",
        ),
    }
}
