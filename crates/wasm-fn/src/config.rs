//! Combines the command line, the environment and `wasm-fn.toml`.
//!
//! A flag overrides the environment, the environment overrides the file, and the file overrides the
//! default. clap reads the environment, so flags and environment arrive here together.

mod access_log;
mod buildable;
mod checks;
mod cluster;
mod connection;
mod federation;
mod file;
mod function;
mod gate;
mod project;
#[cfg(test)]
mod reference;
mod rollout;
mod serve;
mod toml_file;

pub(crate) use access_log::sampler;
pub(crate) use buildable::Buildable;
pub(crate) use cluster::{ClusterPlace, Membership};
pub(crate) use connection::{
    Connection, CredentialsError, CredentialsFile, Login, NodeAddress, StoredLogin, Token, issuer_tls,
};
pub(crate) use file::ConfigFile;
pub(crate) use function::Release;
pub(crate) use project::{Deployment, ModuleSource, release, trigger_release};
pub(crate) use serve::Serve;

/// The configuration file in the working directory.
pub(crate) const FILE: &str = "wasm-fn.toml";

#[cfg(test)]
mod tests;
