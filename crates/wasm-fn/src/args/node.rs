//! Commands for a node, as typed.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, ValueHint};
use wasm_fn_core::{Network, NodeName, PreviewDomain};
use wasm_fn_runtime::MemoryReset;

use super::{Format, Membership, cluster::CLUSTER, listen_address, switch};
use crate::node::KeyCommand;

/// Heading of the options for what holds guests apart.
const ISOLATION: &str = "Isolation";

/// Heading of the options for TLS.
const TLS: &str = "TLS";

/// `serve`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    /// Address that serves functions: HOST:PORT [default: 127.0.0.1:8080]
    #[arg(long, env = "WASM_FN_LISTEN", value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address that serves the admin API: HOST:PORT [default: 127.0.0.1:8081]
    #[arg(long, env = "WASM_FN_ADMIN", value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) admin: Option<SocketAddr>,
    /// Directory that holds all data [default: wasm-fn-data]
    #[arg(long, env = "WASM_FN_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file; its `[serve]` table is read
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Maximum number of live instances [default: depends on the machine's memory, at most 1000]
    #[arg(long, env = "WASM_FN_INSTANCES_MAX", value_name = "N")]
    pub(crate) instances_max: Option<u32>,
    /// Maximum memory of all instances together [default: three quarters of the machine's memory]
    #[arg(long, env = "WASM_FN_MEMORY_MAX", value_name = "SIZE")]
    pub(crate) memory_max: Option<ByteSize>,
    /// Maximum number of open connections, 1 to 1000000; further connections wait [default: 10000]
    #[arg(long, env = "WASM_FN_CONNECTIONS_MAX", value_name = "N")]
    pub(crate) connections_max: Option<u32>,
    /// Maximum number of open connections of one address, 1 to 1000000; further ones are closed, except those
    /// of trusted proxies [default: a quarter of `--connections-max`]
    #[arg(long, env = "WASM_FN_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    pub(crate) connections_per_address: Option<u32>,
    /// Maximum size of a request body, up to 1TiB [default: 10MiB]
    #[arg(long, env = "WASM_FN_BODY_MAX", value_name = "SIZE")]
    pub(crate) body_max: Option<ByteSize>,
    /// Maximum size of a component, up to 4GiB [default: 256MiB]
    #[arg(long, env = "WASM_FN_COMPONENT_MAX", value_name = "SIZE")]
    pub(crate) component_max: Option<ByteSize>,
    /// Maximum memory for the native code of functions, 1MiB to 1TiB [default: 1GiB]
    #[arg(long, env = "WASM_FN_CODE_MEMORY", value_name = "SIZE")]
    pub(crate) code_memory: Option<ByteSize>,
    /// How the memory of an instance is reset for the next one: discard, scan or counted [default: counted]
    #[arg(help_heading = ISOLATION, long, env = "WASM_FN_MEMORY_RESET", value_name = "HOW")]
    pub(crate) memory_reset: Option<MemoryReset>,
    /// Audit one in N resets, on average: compare the memory with what it must be; 0 for none [default:
    /// 10000]
    #[arg(help_heading = ISOLATION, long, env = "WASM_FN_AUDIT_RESETS", value_name = "N")]
    pub(crate) audit_resets: Option<u32>,
    /// Whether to link the core modules of a component before it is compiled: on or off [default: on]
    #[arg(help_heading = ISOLATION, long, env = "WASM_FN_LINK_COMPONENTS", value_name = "SWITCH", value_parser = switch)]
    pub(crate) link_components: Option<bool>,
    /// How long requests may take to finish when the node stops, up to 1h [default: 30s]
    #[arg(long, env = "WASM_FN_DRAIN_TIMEOUT", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) drain_timeout: Option<Duration>,
    /// Let any client choose the version that answers, without a token [default: false]
    #[arg(long, env = "WASM_FN_ALLOW_OVERRIDES", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_overrides: Option<bool>,
    /// Add the header `wasm-fn-shielded: 1` to answers of a second run, which follows a canary's failure
    /// [default: false]
    #[arg(long, env = "WASM_FN_SHOW_SHIELDED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) show_shielded: Option<bool>,
    /// Network of proxies whose `Forwarded` or `X-Forwarded-For` header names the client; the headers of
    /// others are removed [repeatable, default: none]
    #[arg(long, env = "WASM_FN_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<Network>,
    /// Expect connections from trusted proxies to begin with a PROXY header, version 1 or 2 [default: false]
    #[arg(long, env = "WASM_FN_PROXY_PROTOCOL", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) proxy_protocol: Option<bool>,
    /// Domain with a wildcard DNS record; each version has a host name under it: `v2--hello.DOMAIN`
    #[arg(long, env = "WASM_FN_PREVIEW_DOMAIN", value_name = "DOMAIN")]
    pub(crate) preview_domain: Option<PreviewDomain>,
    /// PEM file with certificates of authorities that outgoing requests of functions trust, beside the public
    /// ones, and that brokers and registries of triggers are trusted by
    #[arg(long, env = "WASM_FN_EGRESS_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) egress_ca: Option<PathBuf>,
    /// Command that writes the key of the node's secrets to its standard output: words separated by spaces,
    /// without a shell [default: the key is in WASM_FN_SECRETS_KEY or in DIR/secrets.key]
    #[arg(long, env = "WASM_FN_SECRETS_KEY_COMMAND", value_name = "COMMAND")]
    pub(crate) secrets_key_command: Option<KeyCommand>,
    /// Let the system dump the memory of the node, and debuggers of the same user read it [default: false]
    #[arg(long, env = "WASM_FN_ALLOW_CORE_DUMPS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_core_dumps: Option<bool>,
    /// Network without public addresses that functions may reach by name [repeatable, default: none]
    #[arg(long, env = "WASM_FN_EGRESS_PRIVATE", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) egress_private: Vec<Network>,
    /// PEM file with a certificate and its chain: functions are served over TLS. Clients get the certificate
    /// for the name that they ask for, else the first one [repeatable, default: none]
    #[arg(help_heading = TLS, long, env = "WASM_FN_TLS_CERT", value_name = "FILE", value_delimiter = ',', value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Vec<PathBuf>,
    /// PEM file with the private key of the certificate at the same place [repeatable, default: none]
    #[arg(help_heading = TLS, long, env = "WASM_FN_TLS_KEY", value_name = "FILE", value_delimiter = ',', value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Vec<PathBuf>,
    /// Address that redirects clients of plain HTTP to https: HOST:PORT [default: none]
    #[arg(help_heading = TLS, long, env = "WASM_FN_REDIRECT_LISTEN", value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) redirect_listen: Option<SocketAddr>,
    /// PEM file with a certificate and its chain: the admin API is served over TLS
    #[arg(help_heading = TLS, long, env = "WASM_FN_ADMIN_TLS_CERT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) admin_tls_cert: Option<PathBuf>,
    /// PEM file with the private key of that certificate
    #[arg(help_heading = TLS, long, env = "WASM_FN_ADMIN_TLS_KEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) admin_tls_key: Option<PathBuf>,
    /// PEM file with authorities for clients of the admin API; a client may show a certificate of theirs
    #[arg(help_heading = TLS, long, env = "WASM_FN_ADMIN_CLIENT_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) admin_client_ca: Option<PathBuf>,
    /// Let other machines reach the admin API over plain HTTP: who reads along gets its token [default:
    /// false]
    #[arg(help_heading = TLS, long, env = "WASM_FN_INSECURE_ADMIN", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) insecure_admin: Option<bool>,
    /// Maximum number of series that /metrics has of versions, 1000 to 10000000; versions beyond it are
    /// summed up as `other` [default: 150000]
    #[arg(long, env = "WASM_FN_METRICS_SERIES_MAX", value_name = "N")]
    pub(crate) metrics_series_max: Option<u32>,
    #[command(flatten)]
    pub(crate) membership: Membership,
    /// Name of this node, which no other node of the cluster has [default: the name of the machine]
    #[arg(help_heading = CLUSTER, long, env = "WASM_FN_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: Option<NodeName>,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// `doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// Monitoring port of a server of the cluster's broker, which tells how it writes to its disk: HOST:PORT
    /// [repeatable, default: none]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) monitor: Vec<String>,
    /// Format of the findings
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Address that serves the example function; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// Address that serves the admin API; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = listen_address)]
    pub(crate) admin: SocketAddr,
    /// Exit after the tour instead of keeping the node running
    #[arg(long)]
    pub(crate) exit: bool,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// What the node logs to standard error.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct Log {
    /// Log filter: error, warn, info, debug, trace, or `target=level,…` [default: info]
    #[arg(long, env = "WASM_FN_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Format of log lines
    #[arg(long, env = "WASM_FN_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
