//! `wasm-fn top` as typed.

use clap::{Args, ValueEnum};

use super::Connection;

/// `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Show only functions with this text in their names
    pub(crate) filter: Option<String>,
    /// What to sort by, largest first
    #[arg(short, long, value_name = "COLUMN", default_value = "requests")]
    pub(crate) sort: TopSort,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What functions are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopSort {
    /// By name, from a to z.
    Name,
    /// By requests a second.
    Requests,
    /// By failures a second, then by their share of the requests.
    Errors,
    /// By median latency.
    P50,
    /// By the 99th percentile of the latency.
    P99,
    /// By instances.
    Instances,
    /// By memory.
    Memory,
}
