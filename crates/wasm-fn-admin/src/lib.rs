//! HTTP in front of the control plane: the admin API.
//!
//! Every operation of [`wasm_fn_api::Operation`] has a handler, and there is no other path. Everything under
//! `/v1` needs a bearer token. Every error is `application/problem+json`; one file, `problem.rs`, says which.
//!
//! Invariants: nothing is decided here, only read, parsed and shown. No client makes a 500: those are faults
//! of the node.

mod admin;
mod extract;
mod handlers;
mod listener;
mod problem;
mod strategy;
mod view;

#[cfg(test)]
#[expect(dead_code, reason = "the control plane's own tests use all of it")]
#[path = "../../wasm-fn-control/src/fake.rs"]
mod fake;

pub use admin::{Admin, AdminOptions};
use problem::ApiError;

/// The media type of a stream of JSON lines.
const NDJSON: &str = "application/x-ndjson";

#[cfg(test)]
mod tests;
