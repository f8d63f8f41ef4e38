//! `wasm-fn config` as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Format;

/// `config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// What to do with the file.
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with a configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Checks a configuration file as `deploy` and `serve` do, without a node
    Check(ConfigCheck),
}

/// `config check`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// The file [default: ./wasm-fn.toml]
    #[arg(env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Format of what the file contains
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}
