//! The data plane: accepts connections, matches each request to a stage, lets the stage choose a version, has
//! that version answer, and counts how the request ended. On shutdown it drains.
//!
//! Invariants: the server does not know where a route table comes from, nor what runs behind [`Invoke`]. A
//! request uses the one table that it loaded when its head was complete. Every run of a request is tallied
//! exactly once, and its observer learns of it exactly once. No request runs twice after it had an effect; an
//! event does, unless its trigger forbids that.
//! Everything that a client or a guest can make grow has a limit in [`ServerOptions`].

mod client;
mod clock;
mod failure;
mod invoke;
mod options;
mod receiver;

mod connection;
mod request;
mod response;

mod redirect;
mod server;
mod session;

pub use failure::{FailureCause, InvokeFailure};
pub use invoke::{Call, InvocationBody, Invoke};
pub use options::{RequestRecording, ServerOptions, draw_at_random};
pub use receiver::{EventReceiver, HOOKS_PATH, Received};
pub use redirect::{RedirectHandle, RedirectOptions, redirect};
pub use request::{
    RequestBody, RequestBodyError, RequestId,
    access::OverrideAccess,
    delivery::{Delivered, DeliveryError, DeliveryOptions, DeliveryTarget, EventDispatcher},
    effects::EffectGuard,
    redelivery::Redelivery,
};
pub use response::charges::{Charge, ClientGets, charges};
pub use server::{DrainReport, ServerHandle, serve};

#[cfg(test)]
mod tests;
