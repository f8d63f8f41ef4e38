//! What a node is told when it starts.

use std::{net::SocketAddr, path::PathBuf};

use wasm_fn_core::PreviewDomain;
use wasm_fn_pool::PoolPlan;
use wasm_fn_server::Network;

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    /// Where functions are called; port 0 takes any.
    pub(crate) listen: SocketAddr,
    /// Where the admin API is; port 0 takes any.
    pub(crate) admin: SocketAddr,
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Instances and their memory.
    pub(crate) pool: PoolPlan,
    /// Connections open at once.
    pub(crate) connections_max: u32,
    /// Largest request body, bytes.
    pub(crate) body_bytes_max: u64,
    /// Largest component, bytes.
    pub(crate) component_bytes_max: u64,
    /// Most memory for native code, bytes.
    pub(crate) code_bytes_max: u64,
    /// Whether any client may choose its version, without a token.
    pub(crate) overrides_open: bool,
    /// Whether answers of a request's second run say so.
    pub(crate) show_shielded: bool,
    /// Where the proxies are that name clients.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Whether their connections begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// The domain below which each version has a host name.
    pub(crate) preview_domain: Option<PreviewDomain>,
}
