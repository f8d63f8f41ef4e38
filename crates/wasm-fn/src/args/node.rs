//! Commands that run a node, as typed.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, ValueHint};
use wasm_fn_core::PreviewDomain;
use wasm_fn_server::Network;

use super::Format;

/// `serve`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    /// Where functions are called [default: 127.0.0.1:8080]
    #[arg(long, env = "WASM_FN_LISTEN", value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the admin API is [default: 127.0.0.1:8081]
    #[arg(long, env = "WASM_FN_ADMIN", value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// Where everything is kept [default: wasm-fn-data]
    #[arg(long, env = "WASM_FN_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file whose `[serve]` table is read
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Instances alive at once [default: by the machine's memory, at most 1000]
    #[arg(long, env = "WASM_FN_INSTANCES_MAX", value_name = "N")]
    pub(crate) instances_max: Option<u32>,
    /// Memory of all instances together [default: three quarters of the machine's]
    #[arg(long, env = "WASM_FN_MEMORY_MAX", value_name = "SIZE")]
    pub(crate) memory_max: Option<ByteSize>,
    /// Connections open at once, 1 to 1000000; further ones wait [default: 10000]
    #[arg(long, env = "WASM_FN_CONNECTIONS_MAX", value_name = "N")]
    pub(crate) connections_max: Option<u32>,
    /// Largest request body, up to 1TiB [default: 10MiB]
    #[arg(long, env = "WASM_FN_BODY_MAX", value_name = "SIZE")]
    pub(crate) body_max: Option<ByteSize>,
    /// Largest component, up to 4GiB [default: 256MiB]
    #[arg(long, env = "WASM_FN_COMPONENT_MAX", value_name = "SIZE")]
    pub(crate) component_max: Option<ByteSize>,
    /// Memory for the native code of functions, 1MiB to 1TiB [default: 1GiB]
    #[arg(long, env = "WASM_FN_CODE_MEMORY", value_name = "SIZE")]
    pub(crate) code_memory: Option<ByteSize>,
    /// How long requests may take to finish at the end, up to 1h [default: 30s]
    #[arg(long, env = "WASM_FN_DRAIN_TIMEOUT", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) drain_timeout: Option<Duration>,
    /// Whether anybody may choose the version that answers, without a token [default: false]
    #[arg(long, env = "WASM_FN_ALLOW_OVERRIDES", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_overrides: Option<bool>,
    /// Whether answers of a second run, after a canary failed, say so by `wasm-fn-shielded: 1` [default:
    /// false]
    #[arg(long, env = "WASM_FN_SHOW_SHIELDED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) show_shielded: Option<bool>,
    /// Network of proxies whose `Forwarded` or `X-Forwarded-For` names the client; others' are removed
    /// [repeatable, default: none]
    #[arg(long, env = "WASM_FN_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<Network>,
    /// Whether connections of trusted proxies begin with a PROXY header, version 1 or 2 [default: false]
    #[arg(long, env = "WASM_FN_PROXY_PROTOCOL", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) proxy_protocol: Option<bool>,
    /// Domain, with a wildcard record in DNS, below which each version has a host name: `v2--hello.DOMAIN`
    #[arg(long, env = "WASM_FN_PREVIEW_DOMAIN", value_name = "DOMAIN")]
    pub(crate) preview_domain: Option<PreviewDomain>,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// `doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// How to print what was found
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Where the example function is called; port 0 takes any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where the admin API is; port 0 takes any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,
    /// End after the tour instead of staying up
    #[arg(long)]
    pub(crate) exit: bool,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// What the node tells about itself on standard error.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct Log {
    /// What is logged: error, warn, info, debug, trace, or `target=level,…` [default: info]
    #[arg(long, env = "WASM_FN_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is written
    #[arg(long, env = "WASM_FN_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}
