//! The control plane: which functions, versions, stages and splits there are, who changed them, and
//! the table that the data plane routes by.
//!
//! Every mutation is planned purely into a [`Change`](state::Change), committed to a
//! [`Store`](store::Store) as one journal entry, and published as one route table, in that order and
//! one at a time.
//!
//! Invariants: it knows neither the runtime nor the data plane: a [`Host`](host::Host) prepares
//! components and makes handles, and a table of those handles is all that leaves. Nothing is published
//! that is not durable. Replaying the journal gives the state. Clients meet only the types in [`wire`].

pub mod host;
pub mod journal;
pub mod state;
pub mod store;
pub mod wire;

mod access;
mod api;
mod blobs;
mod clock;
mod control;
#[cfg(test)]
mod fake;
mod judge;
mod publish;
mod report;
mod stored;

pub use access::{Access, Actor, TokenError};
pub use api::openapi;
pub use blobs::{Blobs, Pin, PutError};
pub use clock::Clock;
pub use control::{Control, ControlError, Deploy, Deployed, Note, OpenError, Options, salt_at_random};
pub use publish::TableError;
