//! The control plane: which functions, versions, stages and splits exist, who changed them, and the table
//! that the data plane routes by.
//!
//! Every mutation is planned purely as a [`Change`](state::Change), committed to a
//! [`Store`](wasm_fn_store::Store) as one journal entry, and published as one route table: in this order, and
//! one mutation at a time.
//!
//! Invariants: the control plane knows neither the runtime nor the data plane. A [`Host`](host::Host)
//! prepares components and creates handles, and only a table of these handles leaves the crate. Only durable
//! state is published. Replaying the journal gives the same state. This crate serves no HTTP; the checks
//! of a blue-green release use its types.

pub mod host;
pub mod journal;
pub mod peers;
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
mod secrets;
mod stored;

pub use access::{Access, Actor, Proof, TokenError, Unproven};
pub use clock::Clock;
pub use control::{
    Backup, ChangedValue, Control, ControlError, ControlOptions, CreateToken, Deploy, Deployed, GateStanding,
    Note, OpenError, OperatedEvents, SecretId, salt_at_random,
};
pub use documents::{VerifyError, stored_state, verify_journal};
pub use journal::NotedHead;
pub use publish::TableError;
pub use secrets::SecretsError;
pub use stored::Malformed;
