//! The admin API: HTTP in front of the control plane.
//!
//! Every operation in [`wasm_fn_api::Operation`] has a handler, and there are no other paths. Everything
//! under `/v1` needs a bearer token or a certificate whose roles have the operation's permission. Every error
//! is an `application/problem+json`; only `problem.rs` maps errors to problems.
//!
//! Invariants: no handler of an operation with a permission runs before `authorize.rs` has checked it. This
//! crate reads, parses and shows, but decides nothing. No client can cause a 500: a 500 is always a fault of
//! the node.

mod admin;
mod authorize;
mod client_certificate;
mod extract;
mod federation;
mod handlers;
mod listener;
mod problem;
mod strategy;
mod trigger;
mod view;

#[cfg(test)]
#[expect(dead_code, reason = "the control plane's own tests use all of it")]
#[path = "../../wasm-fn-control/src/fake.rs"]
mod fake;

pub use admin::{Admin, AdminOptions};
pub use client_certificate::ClientIdentity;
pub use federation::{CertificateRule, TokenIssuers, Untrusted, Vouching};
pub use handlers::metrics::{CertificateExpiry, NodeCertificates};
use problem::ApiError;
pub use strategy::check_release;

/// The media type of a stream of JSON lines.
const NDJSON: &str = "application/x-ndjson";

#[cfg(test)]
mod tests;
