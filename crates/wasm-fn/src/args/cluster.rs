//! `cluster`, and the part that a node takes in one, as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};
use wasm_fn_core::{ClusterName, NodeName};
use wasm_fn_events::BrokerUrl;

use super::{Connection, Format};

/// Heading of the options of a cluster.
pub(super) const CLUSTER: &str = "Cluster";

/// Where a cluster's state is, and how to get there.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Membership {
    /// Servers of the broker that keeps the cluster's state: nats://HOST:PORT or tls://HOST:PORT
    /// [repeatable, default: none, the node is alone]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER", value_name = "URL", value_delimiter = ',')]
    pub(crate) cluster: Vec<BrokerUrl>,
    /// Name of the cluster [default: wasm-fn]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_NAME", value_name = "NAME")]
    pub(crate) cluster_name: Option<ClusterName>,
    /// File with the credentials for the broker: a `.creds` file, or a line `user:password` or a token
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_CREDS", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_creds: Option<PathBuf>,
    /// PEM file with authorities that vouch for the broker, beside the public ones
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_ca: Option<PathBuf>,
    /// PEM file with the certificate that the broker is shown
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_CERT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_cert: Option<PathBuf>,
    /// PEM file with the private key of that certificate
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_CERT_KEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_cert_key: Option<PathBuf>,
    /// File with the key of the cluster, which `wasm-fn cluster init` makes: the same on every node
    /// [default: cluster.key in the data directory]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_KEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_key: Option<PathBuf>,
    /// How long a node may be without news of the broker before it sends nobody to a canary, and how long it
    /// takes until another node decides in its place: 1s to 60s, the same on every node [default: 5s]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_LEASE", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) cluster_lease: Option<Duration>,
    /// How many changes the cluster's log keeps for nodes that were away, behind the last snapshot of the
    /// state: 10 to 1000000 [default: 10000]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_CLUSTER_LOG_KEEP", value_name = "N")]
    pub(crate) cluster_log_keep: Option<u64>,
}

/// `cluster`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

/// What to do with a cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Makes a cluster on a broker: its streams and buckets, and the key that its nodes have in common
    Init(ClusterInit),
    /// Shows the nodes of the cluster that a node is in
    Status(ClusterStatus),
    /// Has a node finish its requests and end
    Drain(ClusterDrain),
    /// Has the node that is asked finish its requests and end
    Leave(ClusterStatus),
    /// Makes a cluster that goes on from the data directory of a node that was alone
    Import(ClusterImport),
    /// Writes a data directory for a node that is alone, from the cluster's state
    Export(ClusterExport),
}

/// `cluster init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterInit {
    #[command(flatten)]
    pub(crate) membership: Membership,
    /// How many servers of the broker keep each change: 1, 3 or 5
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) replicas: u8,
    /// Monitoring port of a server of the broker, which tells how it writes to its disk: HOST:PORT
    /// [repeatable, default: none]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) monitor: Vec<String>,
    /// Accept a broker that does not tell whether it writes each change to its disk at once, so that a loss
    /// of power may lose what it acknowledged
    #[arg(long)]
    pub(crate) accept_unknown_sync: bool,
    /// Data directory, where the key is written if `--cluster-key` names no other place
    #[arg(long, env = "WASM_FN_DATA_DIR", value_name = "DIR", default_value = "wasm-fn-data", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// Format of data, and of errors on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// `cluster import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterImport {
    #[command(flatten)]
    pub(crate) init: ClusterInit,
    /// Data directory of the node, which must have ended
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) from: PathBuf,
}

/// `cluster export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterExport {
    #[command(flatten)]
    pub(crate) membership: Membership,
    /// Directory to make
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: PathBuf,
    /// Data directory with the key, if `--cluster-key` names no other place
    #[arg(long, env = "WASM_FN_DATA_DIR", value_name = "DIR", default_value = "wasm-fn-data", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// Format of data, and of errors on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// `cluster status`, `cluster leave`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterStatus {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `cluster drain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterDrain {
    /// Name of the node
    pub(crate) node: NodeName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
