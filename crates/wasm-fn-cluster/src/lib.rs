//! What the nodes of a cluster share through a broker of NATS JetStream: one log of changes, leases,
//! messages, components, one inbox of events, and what functions keep in buckets.
//!
//! Every node keeps a replica of the state on its own disk and serves from it, whether the broker is there or
//! not. The log decides which change comes next: one message is one commit, and the message's number in its
//! stream is the commit's revision.
//!
//! Invariants: a commit that returned is on the brokers' disks and in the node's replica; the replica takes
//! only what follows its last record; a log that differs from the replica is named, and never obeyed; a lease
//! is gone from its holder's view before another node can take it, by the holder's own monotonic clock;
//! decisions are made from what the leader of a stream answers, never from another server's copy. No other
//! crate but wasm-fn-queue knows what the broker is.

mod buckets;
mod cluster;
mod components;
mod contact;
mod error;
mod events;
mod health;
mod leases;
mod link;
mod log;
mod looking;
mod messages;
mod names;
mod questions;
mod setup;
mod snapshots;
mod store;

pub use async_nats::HeaderMap;
pub use buckets::{ClusterBucket, ClusterBuckets};
pub use cluster::{
    Cluster, ClusterOptions, GetTls, InboxReplica, LEASE_DEFAULT, LEASE_MAX, LEASE_MIN, LOG_KEEP_DEFAULT,
    RestoreError,
};
pub use components::{Collected, Collection, ComponentError, Components};
pub use contact::{Contact, ContactState};
pub use error::ClusterError;
pub use events::SharedInbox;
pub use health::{ServerHealth, StreamHealth};
pub use leases::{HOUSEKEEPING, LEASES_MAX, Lease, Leases};
pub use link::{AskError, BrokerFuture, BrokerMessage, Connector, ServerConnection, Subscription};
pub use messages::{MESSAGE_BYTES_MAX, Member, Messages, NodeMessage, PRESENCE_TEXT_BYTES_MAX};
pub use questions::{ANSWER_BYTES_MAX, QUESTION_BYTES_MAX, Question, QuestionError, Questions};
pub use setup::{
    AskedServers, Base, BaseSource, ClusterRecord, InboxSource, InitOptions, InitReport, Made, Monitors,
    SERVER_VERSION_MIN, SyncSetting, Syncs, init, init_over, syncs,
};
pub use store::{Chain, Replica, ReplicatedStore};

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;
#[cfg(test)]
mod tests;
