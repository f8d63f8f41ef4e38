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
