//! Connections: accepted, driven by one task each, and closed in time.

pub(crate) mod accept;
pub(crate) mod drive;
mod handshake;
pub(crate) mod peers;
pub(crate) mod poll_average;
mod refusal;
pub(crate) mod registry;
mod schedule_delay;
mod socket;
pub(crate) mod state;
mod timeouts;
mod transport;
mod writer;
