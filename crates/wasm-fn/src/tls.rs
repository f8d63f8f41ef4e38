//! TLS: certificates from files, for the listeners of a node and for the client of one.
//!
//! This module knows files, certificates and rustls. It does not know what is served.

mod certificate;
mod challenge;
mod client;
mod expiry;
mod key_pair;
mod listener;
mod reload;
mod sni;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub(crate) use challenge::{Challenges, PROTOCOL as CHALLENGE_PROTOCOL};
pub(crate) use client::{ClientFiles, client_config, public_or, unverified};
pub(crate) use expiry::{Shown, nearness};
pub(crate) use key_pair::{KeyPair, KeyPairError, KeyPairFiles, Warning};
pub(crate) use listener::{ListenerFiles, ListenerTls, authorities};
pub(crate) use reload::{keep_current, system_time};

/// The only cryptography that this program uses.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
