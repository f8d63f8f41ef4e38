//! The connection to the broker: one at a time, made again when it is lost or the broker is silent.

mod api;
mod connection;
mod session;
mod supervisor;

pub(crate) use self::{
    api::{
        Api, AskError, EXPECTED_LAST, EXPECTED_LAST_OF_SUBJECT, Kept, MESSAGE_ID, StreamInfo, is_overtaken,
    },
    session::Session,
    supervisor::{Link, LinkOptions, connect},
};
