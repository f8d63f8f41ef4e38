//! The data plane: accepts connections, matches each request to a stage, lets the stage choose a
//! version, has that version answer, and counts how it ended; on shutdown it drains.
//!
//! Invariants: the server does not know where a route table comes from, nor what runs behind
//! [`Invoke`]. A request uses the one table it loaded when its head was complete; every run of
//! it is tallied exactly once, and its trial hears of it exactly once. No request runs twice after it had an
//! effect. Everything that a client or a guest can make grow has a bound in [`Options`].

mod access;
mod client;
mod clock;
mod effects;
mod failure;
mod invoke;
mod options;
mod request_id;

mod problem;
mod request_body;
mod watch;

mod answer;
mod asked;
mod attempt;
mod charges;
mod crowding;
mod dispatch;
mod head;
mod preview;
mod session;
mod shield;
mod tallying;
mod turn;

mod accept;
mod connection;
mod connections;
mod hold;
mod observed;
mod outbox;
mod overseer;
mod server;

pub use access::OverrideAccess;
pub use charges::{Answered, Charge, charges};
pub use client::{Network, NetworkError};
pub use effects::Effects;
pub use failure::{Cause, Failure};
pub use invoke::{Call, InvocationBody, Invoke, Usage};
pub use options::{Options, draw_at_random};
pub use request_body::{RequestBody, RequestBodyError};
pub use request_id::RequestId;
pub use server::{DrainReport, ServerHandle, serve};

#[cfg(test)]
mod tests;
