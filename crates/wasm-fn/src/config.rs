//! What the command line, the environment and `wasm-fn.toml` mean together.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. clap
//! reads the environment, so flags and environment arrive here as one.

mod checks;
mod connection;
mod file;
mod function;
mod gate;
mod project;
mod rollout;
mod serve;
mod toml_file;

pub(crate) use connection::Connection;
pub(crate) use file::ConfigFile;
pub(crate) use project::Deployment;
pub(crate) use serve::Serve;

/// The file that is read from the working directory.
pub(crate) const FILE: &str = "wasm-fn.toml";

#[cfg(test)]
mod tests;
