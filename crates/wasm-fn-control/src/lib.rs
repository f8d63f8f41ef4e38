//! The control plane: which functions, versions, stages and splits there are, who changed them, and
//! the table that the data plane routes by.
//!
//! Every mutation is planned purely into a [`Change`](state::Change), committed to a
//! [`Store`](wasm_fn_store::Store) as one journal entry, and published as one route table, in that order and
//! one at a time.
//!
//! Invariants: it knows neither the runtime nor the data plane: a [`Host`](host::Host) prepares
//! components and makes handles, and a table of those handles is all that leaves. Nothing is published
//! that is not durable. Replaying the journal gives the state. It knows no HTTP.

pub mod host;
pub mod journal;
pub mod report;
pub mod state;

#[cfg(test)]
extern crate self as wasm_fn_control;

mod access;
mod analysis;
mod clock;
mod control;
mod documents;
#[cfg(test)]
mod fake;
mod publish;
mod stored;

pub use access::{Access, Actor, TokenError};
pub use clock::Clock;
pub use control::{
    Control, ControlError, ControlOptions, Deploy, Deployed, GateStanding, Note, OpenError, salt_at_random,
};
pub use documents::{VerifyError, stored_state};
pub use publish::TableError;
pub use stored::Malformed;
