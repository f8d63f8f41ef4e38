//! `backup` and `restore`, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Connection, Format};

/// `backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write, a tar archive; it must not exist
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File that `wasm-fn backup` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Data directory to create; it must be empty or not exist
    #[arg(long, env = "WASM_FN_DATA_DIR", value_name = "DIR", default_value = "wasm-fn-data", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// Format of data, and of errors on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}
