//! The connection to the broker: one at a time, made again when it is lost or the broker is silent.

mod api;
mod connection;
mod session;
mod supervisor;

pub use self::{
    api::AskError,
    connection::{BrokerFuture, BrokerMessage, Connector, ServerConnection, Subscription},
};
pub(crate) use self::{
    api::{
        Api, BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, EXPECTED_LAST, EXPECTED_LAST_OF_SUBJECT, Kept,
        MESSAGE_ID, StreamInfo, SubjectsPage, TIME_TO_LIVE, is_overtaken,
    },
    connection::Nats,
    session::Session,
    supervisor::{Link, LinkOptions},
};

/// For how long a server that was deposed as the leader of a stream may answer for it: every ten seconds it
/// looks whether a majority has answered it in the last ten (nats-server, `lostQuorumCheckIntervalDefault`
/// and `lostQuorumIntervalDefault`).
pub(crate) const DEPOSED_LEADER_MAX: std::time::Duration = std::time::Duration::from_secs(24);
