//! What a cluster's streams and subjects are called on the broker.

use std::sync::Arc;

use wasm_fn_core::ClusterName;

/// The names of one cluster. No other cluster has any of them: names of clusters are lower case and begin
/// with a letter or a digit, so what stands before and behind them is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The stream whose messages are the commits.
    pub(crate) log: Arc<str>,
    /// The subject of commits.
    pub(crate) commits: Arc<str>,
    /// Where the broker says that it has a commit.
    pub(crate) committed: Arc<str>,
    /// The stream of changes of the inbox.
    pub(crate) events: Arc<str>,
    /// The subject of those changes.
    pub(crate) changes: Arc<str>,
    /// Where the broker says that it has such a change.
    pub(crate) changed: Arc<str>,
    /// The stream with the cluster's record and the table of leases.
    pub(crate) coordination: Arc<str>,
    /// The subject of the cluster's record.
    pub(crate) record: Arc<str>,
    /// The subject of the table of leases.
    pub(crate) leases: Arc<str>,
    /// The subject that says which snapshot of the inbox there is.
    pub(crate) snapshot: Arc<str>,
    /// The subject of messages between nodes.
    pub(crate) peers: Arc<str>,
    /// What the subjects of questions to one process begin with.
    questions: Arc<str>,
    /// What the subjects of answers to one process begin with.
    answers: Arc<str>,
    /// The bucket of components.
    pub(crate) bucket: Arc<str>,
    /// The stream of that bucket.
    pub(crate) components: Arc<str>,
    /// The stream with what functions keep in buckets.
    pub(crate) values: Arc<str>,
    /// What the subjects of that begin with.
    pub(crate) kept: Arc<str>,
}

impl Names {
    pub(crate) fn new(cluster: &ClusterName) -> Self {
        let upper = cluster.as_str().to_ascii_uppercase();
        let subject = |what: &str| Arc::from(format!("wasm-fn.{cluster}.{what}"));
        Self {
            log: Arc::from(format!("WASM_FN_{upper}")),
            commits: subject("log"),
            committed: subject("committed"),
            events: Arc::from(format!("WASM_FN-{upper}-EVENTS")),
            changes: subject("events"),
            changed: subject("changed"),
            coordination: Arc::from(format!("WASM_FN-{upper}-COORDINATION")),
            record: subject("cluster"),
            leases: subject("leases"),
            snapshot: subject("snapshot"),
            peers: subject("peers"),
            questions: subject("questions"),
            answers: subject("answers"),
            bucket: Arc::from(format!("wasm-fn-{cluster}-components")),
            components: Arc::from(format!("OBJ_wasm-fn-{cluster}-components")),
            values: Arc::from(format!("WASM_FN-{upper}-BUCKETS")),
            kept: subject("kv"),
        }
    }

    /// The subject of questions to the process `instance`.
    pub(crate) fn questions_to(&self, instance: &str) -> String {
        format!("{}.{instance}", self.questions)
    }

    /// The subject of answers to the process `instance`.
    pub(crate) fn answers_to(&self, instance: &str) -> String {
        format!("{}.{instance}", self.answers)
    }
}
