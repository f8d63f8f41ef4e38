//! Modules in OCI registries: where they are, how they are pushed, and how they are pulled by digest.
//!
//! A [`Reference`] names an artifact. [`DockerConfig`] has the [`Credentials`] that `docker login` left.
//! [`RegistryClient`] resolves a tag, finds an artifact's module, pulls it, and pushes one. A [`PublicKey`]
//! tells whether an artifact was signed with cosign.
//!
//! The layout is the one that other tools use: a manifest with a configuration of type
//! `application/vnd.wasm.config.v0+json` and one layer of type `application/wasm` ("Wasm OCI Artifact
//! layout" of the CNCF's TAG Runtime). The protocol is the OCI Distribution Specification 1.1.
//!
//! Invariants: what is read of a registry has a bound in size and time, whatever the registry says; bytes
//! count as pulled only if their SHA-256 is the one that was asked for; credentials go to their registry and
//! to the token service that it names, never unencrypted unless the registry itself is spoken to so; this
//! crate knows neither functions nor nodes.

mod artifact;
mod client;
mod credentials;
mod error;
mod layout;
mod reference;
mod signature;

pub use artifact::{Annotations, Artifact};
pub use client::{AddressJudge, RegistryClient, RegistryOptions};
pub use credentials::{Credentials, CredentialsError, DockerConfig};
pub use error::RegistryError;
pub use reference::{Reference, ReferenceError};
pub use signature::{PublicKey, PublicKeyError, SignatureError};
