//! One node: the only place that knows the runtime, the data plane and the control plane at once.
//!
//! They meet in the route table: control publishes it, the server routes by it, and the handles in it
//! are the runtime's versions.

mod host;
mod hosted;
mod prefetch;
mod signals;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use wasm_fn_control::{Access, Blobs, Clock, Control, salt_at_random, store::EmbeddedStore};
use wasm_fn_core::FunctionName;
use wasm_fn_runtime::{Runtime, RuntimeOptions};
use wasm_fn_server::{DrainReport, OverrideAccess, ServerHandle, draw_at_random};

use host::RuntimeHost;

pub(crate) use signals::Signals;

/// Time without requests after which a version keeps no instances ready.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Instances that one version keeps ready at most.
const WARM_MAX: usize = 64;

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    /// Where functions are called; port 0 takes any.
    pub(crate) listen: SocketAddr,
    /// Where the admin API is; port 0 takes any.
    pub(crate) admin: SocketAddr,
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Instances alive at once.
    pub(crate) instances_max: u32,
    /// Largest request body, bytes.
    pub(crate) body_bytes_max: u64,
    /// Largest component, bytes.
    pub(crate) component_bytes_max: u64,
    /// Whether any client may choose its version, without a token.
    pub(crate) overrides_open: bool,
    /// Whether answers of a request's second run say so.
    pub(crate) show_shielded: bool,
}

type NodeControl = Control<RuntimeHost, EmbeddedStore>;

/// A running node.
pub(crate) struct Node {
    server: ServerHandle,
    admin: SocketAddr,
    admin_task: JoinHandle<()>,
    stop_admin: watch::Sender<bool>,
}

/// Lets the bearer of an admin token choose the version, or anybody when the node says so.
struct Overrides {
    control: Arc<NodeControl>,
    open: bool,
}

impl OverrideAccess for Overrides {
    fn may_override(&self, _function: &FunctionName, token: Option<&str>) -> bool {
        self.open || token.is_some_and(|token| self.control.accepts(token))
    }
}

impl Node {
    /// Starts a node and serves what its data directory holds.
    pub(crate) async fn start(options: NodeOptions) -> anyhow::Result<Self> {
        // The sockets first: whoever waits for the node is queued instead of refused.
        let listener = bind(options.listen, "--listen").await?;
        let admin_listener = bind(options.admin, "--admin").await?;
        let admin = admin_listener.local_addr()?;
        let control = open(&options, listener.local_addr()?).await?;
        let overrides = Overrides { control: control.clone(), open: options.overrides_open };
        let server =
            wasm_fn_server::serve(listener, control.tables(), server_options(&options), Arc::new(overrides))?;
        let (stop_admin, mut stopped) = watch::channel(false);
        let admin_task = tokio::spawn(control.clone().serve(admin_listener, async move {
            // The sender's end counts as the order.
            let _ = stopped.wait_for(|&stop| stop).await;
        }));
        tokio::spawn(prefetch::prefetch(control.tables()));
        tracing::info!(listen = %server.local_addr(), %admin, data_dir = %options.data_dir.display(), "node is ready");
        Ok(Self { server, admin, admin_task, stop_admin })
    }

    /// Where functions are called.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where the admin API is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Finishes what was accepted, for at most `timeout`, and ends.
    pub(crate) async fn drain(self, timeout: Duration) -> DrainReport {
        // The admin API stays until the end, for those who watch.
        let report = self.server.drain(timeout).await;
        self.stop_admin.send_replace(true);
        if let Err(error) = self.admin_task.await {
            tracing::warn!(%error, "admin API did not end in order");
        }
        report
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address} cannot be listened on"))
}

async fn open(options: &NodeOptions, data_listen: SocketAddr) -> anyhow::Result<Arc<NodeControl>> {
    let data_dir = options.data_dir.clone();
    let component_bytes_max = options.component_bytes_max;
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let shown = data_dir.display().to_string();
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("data directory {shown} cannot be made"))?;
        // The store's lock comes first: it keeps two nodes from sharing a directory.
        let store = EmbeddedStore::open(&data_dir)?;
        let access = Access::open(&data_dir)?;
        let blobs = Blobs::open(&data_dir, component_bytes_max)
            .with_context(|| format!("components in {shown} cannot be kept"))?;
        Ok((store, access, blobs))
    });
    let (store, access, blobs) = opened.await??;
    let runtime = Runtime::start(RuntimeOptions {
        data_dir: options.data_dir.clone(),
        components_dir: options.data_dir.join("blobs"),
        instances_max: options.instances_max,
        warm_max: WARM_MAX,
        idle_after: IDLE_AFTER,
    })?;
    let control = Control::open(wasm_fn_control::Options {
        host: Arc::new(RuntimeHost::new(runtime)),
        store,
        blobs,
        access,
        data_listen: data_listen.to_string(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        clock: Clock::system(),
        salt: Box::new(salt_at_random),
    });
    Ok(control.await?)
}

fn server_options(options: &NodeOptions) -> wasm_fn_server::Options {
    wasm_fn_server::Options {
        connections_max: 10_000,
        headers_max: 100,
        head_bytes_max: 64 << 10,
        body_bytes_max: options.body_bytes_max,
        head_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(30),
        drain_grace: Duration::from_millis(500),
        shield_body_bytes_max: 64 << 10,
        show_shielded: options.show_shielded,
        draw: draw_at_random,
    }
}
