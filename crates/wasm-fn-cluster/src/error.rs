//! Why a node cannot take part in its cluster.

use wasm_fn_core::{ClusterName, NodeName};
use wasm_fn_queue::BrokerError;

/// Why a node cannot take part in its cluster. The text says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The broker cannot be used.
    #[error(transparent)]
    Broker(BrokerError),
    /// The broker knows no such cluster.
    #[error("broker has no cluster {cluster}, expected it to be there: `wasm-fn cluster init` makes it")]
    Missing {
        /// The cluster.
        cluster: ClusterName,
    },
    /// A part of the cluster is gone.
    #[error("broker has no stream {stream}, which is a part of the cluster")]
    Stream {
        /// The stream.
        stream: String,
    },
    /// A part of the cluster is not there, which earlier programs did not make.
    #[error(
        "broker has no stream {stream}, which is a part of the cluster: `wasm-fn cluster init` makes it if an \
         earlier release made the cluster"
    )]
    LaterStream {
        /// The stream.
        stream: String,
    },
    /// A stream has another setting than it needs.
    #[error("setting {setting} of the stream {stream} is {found}, expected {expected}")]
    Setting {
        /// The stream.
        stream: String,
        /// The setting.
        setting: String,
        /// Its value.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// The broker does not write what it acknowledges to its disk.
    #[error(
        "setting jetstream.sync_interval of the broker {server} is {found}, expected always: it can lose \
         changes that it acknowledged"
    )]
    SyncInterval {
        /// The server's name.
        server: String,
        /// What it is.
        found: String,
    },
    /// Not every server of the broker said how it writes to its disk.
    #[error("{}", not_asked(*.asked, *.servers, .unasked))]
    Unasked {
        /// How many said it.
        asked: usize,
        /// How many there are, as far as they know.
        servers: usize,
        /// The names of those that did not, as far as they are known.
        unasked: Vec<String>,
    },
    /// The cluster's record has another format.
    #[error("cluster has format {found}, expected {known}, the one that this program knows")]
    Format {
        /// The format found.
        found: u64,
        /// The format that this program knows.
        known: u64,
    },
    /// It is another cluster than the one that the node's state belongs to.
    #[error("broker's cluster {cluster} has the id {found}, expected {expected}: it is another cluster")]
    Another {
        /// The name of both.
        cluster: ClusterName,
        /// The id of the broker's.
        found: String,
        /// The id of the node's.
        expected: String,
    },
    /// The node has another key than the cluster's.
    #[error(
        "key of the cluster {cluster} has the fingerprint {found}…, expected {expected}…: it is the key of \
         another cluster (cluster-key-mismatch)"
    )]
    Key {
        /// The cluster.
        cluster: ClusterName,
        /// How the fingerprint of the node's key begins.
        found: String,
        /// How that of the cluster's key begins.
        expected: String,
    },
    /// What is asked for differs from what is there.
    #[error("cluster {cluster} is there with {setting} {found}, expected {expected}")]
    Differs {
        /// The cluster.
        cluster: ClusterName,
        /// What differs.
        setting: &'static str,
        /// What is there.
        found: String,
        /// What is asked for.
        expected: String,
    },
    /// An option has no sense.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// Another node with this name is in the cluster.
    #[error("another node with the name {node} is in the cluster, expected a name that no other node has")]
    NameTaken {
        /// The name.
        node: NodeName,
    },
    /// The broker refused something.
    #[error("broker refused the {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What it said.
        reason: String,
    },
    /// What is kept on the broker cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

fn not_asked(asked: usize, servers: usize, unasked: &[String]) -> String {
    if asked == 0 {
        let text =
            "it is not known whether the broker writes each change to its disk before it acknowledges it";
        return text.to_owned();
    }
    let rest = match unasked {
        [] => String::new(),
        names => format!(": {} did not", names.join(", ")),
    };
    format!(
        "{asked} of the broker's {servers} servers said how often it writes to its disk, expected all{rest}"
    )
}

impl ClusterError {
    /// Whether trying again is of no use until somebody has changed something.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Broker(error) => matches!(
                error,
                BrokerError::Denied
                    | BrokerError::Permission { .. }
                    | BrokerError::TooOld { .. }
                    | BrokerError::NoJetStream
                    | BrokerError::Address { .. }
                    | BrokerError::BrokerCredentials(_)
            ),
            Self::Refused { .. } => false,
            _ => true,
        }
    }
}
