//! The part that a node takes in a cluster.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use wasm_fn_cluster::{LEASE_DEFAULT, LEASE_MAX, LEASE_MIN, LOG_KEEP_DEFAULT};
use wasm_fn_core::{ClusterName, NodeName};
use wasm_fn_events::BrokerUrl;

use super::toml_file::{BadValue, duration};
use crate::{args, tls::KeyPairFiles};

/// The name of a cluster that is given none.
const NAME: &str = "wasm-fn";

/// The file with the key, in the data directory.
const KEY_FILE: &str = "cluster.key";

/// How many changes the log keeps at least and at most.
const LOG_KEEP_MIN: u64 = 10;
const LOG_KEEP_MAX: u64 = 1_000_000;

/// Where a cluster's state is, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The servers of the broker, at least one.
    pub(crate) brokers: Vec<BrokerUrl>,
    /// The name of the cluster.
    pub(crate) name: ClusterName,
    /// File with the credentials for the broker.
    pub(crate) creds: Option<PathBuf>,
    /// File with authorities that vouch for the broker.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that the broker is shown, and its key.
    pub(crate) certificate: Option<KeyPairFiles>,
    /// File with the key of the cluster.
    pub(crate) key: PathBuf,
    /// How long a node may be without news, and how long leases last.
    pub(crate) lease: Duration,
    /// How many changes the log keeps behind the last snapshot.
    pub(crate) log_keep: u64,
}

/// A node's place in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterPlace {
    /// The cluster.
    pub(crate) membership: Membership,
    /// The name of the node.
    pub(crate) node: NodeName,
}

/// `[serve.cluster]`, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterTable {
    brokers: Vec<BrokerUrl>,
    name: Option<ClusterName>,
    node: Option<NodeName>,
    creds: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    cert_key: Option<PathBuf>,
    key: Option<PathBuf>,
    lease: Option<Duration>,
    log_keep: Option<u64>,
}

/// `[serve.cluster]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    brokers: Vec<String>,
    name: Option<String>,
    node: Option<String>,
    creds: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    cert_key: Option<PathBuf>,
    key: Option<PathBuf>,
    lease: Option<String>,
    log_keep: Option<u32>,
}

impl RawCluster {
    pub(super) fn resolve(self, folder: &Path) -> Result<ClusterTable, BadValue> {
        let Self { brokers, name, node, creds, ca, cert, cert_key, key, lease, log_keep } = self;
        if brokers.is_empty() {
            let reason = "found no broker, expected at least one, such as \"nats://127.0.0.1:4222\"";
            return Err(BadValue::new("serve.cluster.brokers", reason));
        }
        let broker = |(at, text): (usize, String)| {
            text.parse().map_err(|error| BadValue::new(format!("serve.cluster.brokers[{at}]"), error))
        };
        let name = name.map(|name| name.parse()).transpose();
        let node = node.map(|node| node.parse()).transpose();
        Ok(ClusterTable {
            brokers: brokers.into_iter().enumerate().map(broker).collect::<Result<_, _>>()?,
            name: name.map_err(|error| BadValue::new("serve.cluster.name", error))?,
            node: node.map_err(|error| BadValue::new("serve.cluster.node", error))?,
            creds: creds.map(|creds| folder.join(creds)),
            ca: ca.map(|ca| folder.join(ca)),
            cert: cert.map(|cert| folder.join(cert)),
            cert_key: cert_key.map(|key| folder.join(key)),
            key: key.map(|key| folder.join(key)),
            lease: duration("serve.cluster.lease", lease)?,
            log_keep: log_keep.map(u64::from),
        })
    }
}

impl Membership {
    /// Resolves `args` and the `file`; `None` if neither names a broker.
    ///
    /// # Errors
    /// A value is out of bounds, or stands without a broker.
    pub(crate) fn resolve(
        args: args::Membership,
        file: ClusterTable,
        data_dir: &Path,
    ) -> Result<Option<Self>, String> {
        let brokers = if args.cluster.is_empty() { file.brokers } else { args.cluster };
        if brokers.is_empty() {
            let alone = [
                ("--cluster-name", args.cluster_name.is_some()),
                ("--cluster-creds", args.cluster_creds.is_some()),
                ("--cluster-ca", args.cluster_ca.is_some()),
                ("--cluster-cert", args.cluster_cert.is_some()),
                ("--cluster-cert-key", args.cluster_cert_key.is_some()),
                ("--cluster-key", args.cluster_key.is_some()),
                ("--cluster-lease", args.cluster_lease.is_some()),
                ("--cluster-log-keep", args.cluster_log_keep.is_some()),
            ];
            return match alone.iter().find(|(_, is_set)| *is_set) {
                Some((flag, _)) => Err(format!("{flag} is set without a cluster, expected --cluster too")),
                None => Ok(None),
            };
        }
        let lease = args.cluster_lease.or(file.lease).unwrap_or(LEASE_DEFAULT);
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(format!("the lease of the cluster is {lease:?}, expected 1s to 60s"));
        }
        let pair = (args.cluster_cert.or(file.cert), args.cluster_cert_key.or(file.cert_key));
        let certificate = match pair {
            (Some(cert), Some(key)) => Some(KeyPairFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(
                    "--cluster-cert is set without its key, expected --cluster-cert-key too".to_owned()
                );
            }
            (None, Some(_)) => {
                return Err(
                    "--cluster-cert-key is set without a certificate, expected --cluster-cert too".to_owned()
                );
            }
        };
        let log_keep = args.cluster_log_keep.or(file.log_keep).unwrap_or(LOG_KEEP_DEFAULT);
        if !(LOG_KEEP_MIN..=LOG_KEEP_MAX).contains(&log_keep) {
            return Err(format!(
                "the log of the cluster is to keep {log_keep} changes, expected {LOG_KEEP_MIN} to {LOG_KEEP_MAX}"
            ));
        }
        Ok(Some(Self {
            brokers,
            name: args.cluster_name.or(file.name).unwrap_or_else(|| NAME.parse().expect("it is a name")),
            creds: args.cluster_creds.or(file.creds),
            ca: args.cluster_ca.or(file.ca),
            certificate,
            key: args.cluster_key.or(file.key).unwrap_or_else(|| data_dir.join(KEY_FILE)),
            lease,
            log_keep,
        }))
    }
}

impl ClusterPlace {
    /// Resolves the place of a node; `None` if it is alone.
    ///
    /// # Errors
    /// Those of [`Membership::resolve`]; or the node has no name that can be one.
    pub(super) fn resolve(
        args: args::Membership,
        node: Option<NodeName>,
        file: ClusterTable,
        data_dir: &Path,
    ) -> Result<Option<Self>, String> {
        let named = node.or_else(|| file.node.clone());
        let Some(membership) = Membership::resolve(args, file, data_dir)? else {
            return match named {
                Some(_) => Err("--node-name is set without a cluster, expected --cluster too".to_owned()),
                None => Ok(None),
            };
        };
        let node = named.map_or_else(|| of_machine(rustix::system::uname().nodename().to_bytes()), Ok)?;
        Ok(Some(Self { membership, node }))
    }
}

/// The name of a node on the machine called `host`: its first label, as far as it can be one.
fn of_machine(host: &[u8]) -> Result<NodeName, String> {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let label = host.split('.').next().unwrap_or_default();
    label.parse().map_err(|error| {
        format!("the name of this machine, {host:?}, cannot be that of a node: {error}; set --node-name")
    })
}

#[cfg(test)]
mod tests;
