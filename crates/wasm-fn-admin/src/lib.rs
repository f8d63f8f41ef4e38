//! The admin API: HTTP in front of the control plane.
//!
//! Every operation in [`wasm_fn_api::Operation`] has a handler. Besides, there are only the paths of the
//! page, under `/ui`. Everything under `/v1` needs a bearer token, a session of the page or a certificate,
//! whose roles have the operation's permission. Every error is an `application/problem+json`; only
//! `problem.rs` maps errors to problems.
//!
//! Invariants: no handler of an operation with a permission runs before `authorize.rs` has checked it. This
//! crate reads, parses and shows, but decides nothing. No client can cause a 500: a 500 is always a fault of
//! the node.

mod admin;
mod answering;
mod authorize;
mod catch_up;
mod client_certificate;
mod cluster_source;
mod elsewhere;
mod extract;
mod federation;
mod handlers;
mod listener;
mod merge;
mod nodes;
mod origin;
mod overview;
mod problem;
mod series;
mod sessions;
mod strategy;
mod trigger;
mod view;

#[cfg(test)]
#[expect(dead_code, reason = "the control plane's own tests use all of it")]
#[path = "../../wasm-fn-control/src/fake.rs"]
mod fake;

pub use admin::{Admin, AdminOptions};
pub use client_certificate::ClientIdentity;
pub use cluster_source::{ClusterSource, NodeAnswer, NodeQuestion, OtherNode};
pub use federation::{BrowserLogin, CertificateRule, TokenIssuers, Untrusted, Vouching};
pub use handlers::metrics::{
    CertificateExpiry, IsolationCounts, IsolationSource, NodeCertificates, TelemetryCount, TelemetrySource,
    TracedRequest,
};
use problem::ApiError;
pub use strategy::check_release;

/// The media type of a stream of JSON lines.
const NDJSON: &str = "application/x-ndjson";

#[cfg(test)]
mod tests;
