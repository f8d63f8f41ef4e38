//! `kv`, as typed.

use clap::{Args, Subcommand};
use wasm_fn_core::{BucketName, FunctionName, StageName};

use super::Connection;

/// `kv`.
#[derive(Debug, Args)]
pub(crate) struct Kv {
    #[command(subcommand)]
    pub(crate) command: KvCommand,
}

/// The commands of `kv`.
#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Prints the value of a key, as it is
    Get(KvOne),
    /// Sets the value of a key, from standard input or `--value`
    Put(KvPut),
    /// Lists the keys of a bucket, sorted
    List(KvList),
    /// Deletes a key
    Delete(KvOne),
}

impl KvCommand {
    /// Where the node is.
    pub(crate) fn connection(&self) -> &Connection {
        let (Self::Get(KvOne { place, .. })
        | Self::Delete(KvOne { place, .. })
        | Self::Put(KvPut { place, .. })
        | Self::List(KvList { place, .. })) = self;
        &place.connection
    }
}

/// The bucket that is meant.
#[derive(Debug, Args)]
pub(crate) struct KvPlace {
    /// The function
    pub(crate) function: FunctionName,
    /// The bucket, as the function's configuration names it
    pub(crate) bucket: BucketName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `kv get` and `kv delete`.
#[derive(Debug, Args)]
pub(crate) struct KvOne {
    #[command(flatten)]
    pub(crate) place: KvPlace,
    /// The key
    // Connections have an argument `key` too.
    #[arg(id = "bucket_key", value_name = "KEY")]
    pub(crate) key: String,
}

/// `kv put`.
#[derive(Debug, Args)]
pub(crate) struct KvPut {
    #[command(flatten)]
    pub(crate) place: KvPlace,
    /// The key
    // Connections have an argument `key` too.
    #[arg(id = "bucket_key", value_name = "KEY")]
    pub(crate) key: String,
    /// The value; if absent, all of standard input
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
}

/// `kv list`.
#[derive(Debug, Args)]
pub(crate) struct KvList {
    #[command(flatten)]
    pub(crate) place: KvPlace,
    /// Only keys that begin so
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// Maximum number of keys
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}
