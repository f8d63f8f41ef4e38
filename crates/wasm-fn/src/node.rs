//! One node. Only this module knows the runtime, the data plane and the control plane.
//!
//! They meet in the route table: control publishes it, the server routes by it, and its handles are the
//! runtime's versions.

mod activation;
mod buckets;
mod cluster;
mod data_plane;
mod deploying;
mod encryption;
mod events;
mod federation;
mod handover_protocol;
mod host;
mod hosted;
mod kept;
mod needs;
mod notify;
mod options;
mod pid_file;
mod predecessor;
mod prefetch;
mod queues;
mod secrets_key;
mod signals;
mod sockets;
mod swap;
mod webhooks;
mod workers;

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinHandle};
use wasm_fn_access::{Permission, Target};
use wasm_fn_admin::{Admin, AdminOptions};
use wasm_fn_control::{Access, Clock, Control, ControlOptions, OpenError, peers::Peers, salt_at_random};
use wasm_fn_core::{FunctionName, Scheme, StageName, format_bytes as bytes};
use wasm_fn_runtime::{EgressOptions, Listeners, Runtime, RuntimeOptions, SystemResolver, TrustedRoots};
use wasm_fn_server::{
    DrainReport, EventDispatcher, OverrideAccess, RedirectHandle, RedirectOptions, ServerHandle,
    ServerOptions,
};

use crate::machine;
use buckets::{NodeBuckets, RuntimeBuckets};
use cluster::Sharing;
pub(crate) use cluster::{ClusterKey, JournalChain, options as cluster_options, sha256_of};
use data_plane::{RuntimeIsolation, TelemetryCounts, log_sink, server_options};
pub(crate) use deploying::ArtifactSource;
use deploying::FetcherOptions;
use encryption::Encryption;
use events::NodeEvents;
pub(crate) use federation::{PublicClient, TrustedIssuer};
use host::{NodeAdmin, NodeControl, RuntimeHost};
use kept::{Before, Kept};
use needs::Need;
pub(crate) use options::NodeOptions;
use predecessor::Predecessor;
pub(crate) use secrets_key::KeyCommand;
use sockets::Sockets;
pub(crate) use sockets::is_exposed;

pub(crate) use signals::Signals;

use crate::tls;

/// Time without requests after which a version keeps no instances ready.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Time without requests after which a function's native code is unloaded. Loading it again takes
/// milliseconds.
const CODE_IDLE_AFTER: Duration = Duration::from_secs(300);

/// Maximum number of instances that one version keeps ready.
const WARM_MAX: usize = 64;

/// Maximum number of connections that are redirected at a time.
const REDIRECTS_MAX: usize = 256;

/// How often to ask a service manager for more time.
const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// A running node.
pub(crate) struct Node {
    control: Arc<NodeControl>,
    api: Arc<NodeAdmin>,
    server: ServerHandle,
    events: NodeEvents,
    buckets: NodeBuckets,
    /// For a successor. The data plane and the admin API have their own handles on them.
    sockets: Sockets,
    addresses: Addresses,
    /// `None` while another process owns the state.
    admin: Option<AdminApi>,
    data_dir: PathBuf,
    /// Compiles components with traffic. When the task ends, the node is ready.
    preparing: JoinHandle<()>,
    /// Redirects clients of plain HTTP, if there is TLS for them and an address for it.
    redirect: Option<RedirectHandle>,
    /// How the listeners are secured.
    encryption: Encryption,
    /// Reads certificates again when their files change.
    reloading: JoinHandle<()>,
    /// Gets a certificate, and renews it.
    certifying: JoinHandle<()>,
    /// Tells the service manager when the node is ready.
    announcing: JoinHandle<()>,
    /// The other nodes, if the node is in a cluster.
    sharing: Option<Arc<Sharing>>,
}

/// The addresses of a node.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    listen: SocketAddr,
    admin: SocketAddr,
}

/// The admin API while it is served.
struct AdminApi {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// What runs functions, and where it will find their buckets.
struct Runner {
    runtime: Arc<Runtime>,
    buckets: Arc<RuntimeBuckets>,
}

/// Lets the bearer of a token that may read the function in the stage choose the version, or any client if
/// the node is configured so.
struct Overrides {
    control: Arc<NodeControl>,
    open: bool,
}

impl OverrideAccess for Overrides {
    fn may_preview(&self, function: &FunctionName, stage: &StageName, token: &str) -> bool {
        self.control.previews(function, stage, token)
    }

    fn may_override(&self, function: &FunctionName, stage: &StageName, token: Option<&str>) -> bool {
        let stage = Target::Stage(function, stage);
        let reads = |token| {
            let actor = self.control.authenticate(token);
            actor.is_ok_and(|actor| actor.rights.allow(Permission::ReadFunctions, stage))
        };
        self.open || token.is_some_and(reads)
    }
}

impl Node {
    /// Starts a node on its own sockets, and serves the functions in its data directory.
    pub(crate) async fn start(options: NodeOptions) -> anyhow::Result<Self> {
        // The sockets come first: clients are queued instead of refused while the node starts.
        let sockets = Sockets::bind(&options)?;
        let encryption = Encryption::load(&options, tls::system_time())?;
        let kept = Kept::open(&options, Before::Nobody).await?;
        let runner = start_runtime(&options, &sockets)?;
        Self::serve(options, sockets, encryption, runner, kept, None).await
    }

    /// Starts a node as a service: as the successor of the process that started it, on sockets from a service
    /// manager, or on its own sockets.
    pub(crate) async fn start_service(options: NodeOptions) -> anyhow::Result<Self> {
        if let Some((predecessor, sockets)) = Predecessor::find(&options)? {
            return Self::succeed(options, predecessor, sockets).await;
        }
        let mut node = match activation::sockets()? {
            Some(activated) => {
                let sockets = Sockets::complete(activated, &options)?;
                let encryption = Encryption::load(&options, tls::system_time())?;
                let kept = Kept::open(&options, Before::Nobody).await?;
                let runner = start_runtime(&options, &sockets)?;
                Self::serve(options, sockets, encryption, runner, kept, None).await?
            }
            None => Self::start(options).await?,
        };
        node.announce();
        Ok(node)
    }

    /// Starts a node that takes over from `predecessor`, which serves until this node does.
    async fn succeed(
        options: NodeOptions,
        mut predecessor: Predecessor,
        sockets: Sockets,
    ) -> anyhow::Result<Self> {
        // Work that takes long or may fail comes before the predecessor releases the state.
        let encryption = Encryption::load(&options, tls::system_time())?;
        let runner = start_runtime(&options, &sockets)?;
        Access::open(&options.data_dir)?;
        let needs = predecessor.needs().to_vec();
        compile_before(&mut predecessor, &runner.runtime, needs).await?;
        predecessor.release().await?;
        let kept = Kept::open(&options, Before::Predecessor).await?;
        let mut node =
            Self::serve(options, sockets, encryption, runner, kept, Some(&mut predecessor)).await?;
        node.announce();
        predecessor.leave().await;
        Ok(node)
    }

    /// Writes the file with the process id, and notifies the service manager when the node is ready.
    fn announce(&mut self) {
        pid_file::write(&self.data_dir);
        let mut unready = self.control.unready();
        self.announcing = tokio::spawn(async move {
            let mut told = false;
            // The wait also ends if the node ends before it is ready.
            while tokio::time::timeout(EXTEND_EVERY, unready.wait_for(Option::is_none)).await.is_err() {
                let why = unready.borrow().clone();
                notify::preparing(&why.unwrap_or_default());
                told = true;
            }
            if unready.has_changed().is_err() {
                return;
            }
            if told {
                notify::prepared();
            }
            notify::ready();
        });
    }

    async fn serve(
        options: NodeOptions,
        sockets: Sockets,
        encryption: Encryption,
        runner: Runner,
        kept: Kept,
        predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let Runner { runtime, buckets: runtime_buckets } = runner;
        let buckets = kept.buckets;
        runtime_buckets.find_in(buckets.clone());
        // The runtime has opened what it needs of this process's files.
        if !options.core_dumps_allowed {
            machine::protect_memory();
        }
        let addresses = Addresses { listen: sockets.http.local_addr()?, admin: sockets.admin.local_addr()? };
        tokio::spawn(workers::flush_after_bursts(runtime.bursts()));
        let (sharing, asking) = (kept.peers.clone(), kept.asking);
        let sharing = sharing.map(|peers| Sharing::start(peers, runtime.clone(), Arc::clone(&kept.blobs)));
        let control = Control::open(ControlOptions {
            host: Arc::new(RuntimeHost::new(runtime.clone(), buckets.clone(), sharing.clone())),
            store: kept.store,
            blobs: kept.blobs,
            access: kept.access,
            secrets_key: kept.secrets_key,
            clock: Clock::system(),
            stage_rules: options.stage_rules.clone(),
            salt: Box::new(salt_at_random),
            peers: kept.peers.map(|peers| peers as Arc<dyn Peers>),
        });
        let control = match (control.await, kept.new_key) {
            (Err(error @ OpenError::Key(_)), Some(file)) => {
                return Err(anyhow::Error::new(error).context(file.missing()));
            }
            (control, None) => control?,
            (control, Some(file)) => {
                let control = control?;
                // Nothing is sealed under it yet.
                tokio::task::spawn_blocking(|| file.write()).await??;
                control
            }
        };
        buckets.follow(&control);
        if predecessor.is_none() {
            buckets.remove_orphans(control.state()).await;
        }
        let admin_options = AdminOptions {
            data_listen: addresses.listen.to_string(),
            data_scheme: if encryption.http.is_some() { Scheme::Https } else { Scheme::Http },
            preview_domain: options.preview_domain.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            issuers: federation::issuers(&options.oidc)?,
            login: federation::login(&options.oidc),
            certificates: options.admin_certificates.clone(),
            shown: encryption.certificates(),
            telemetry: Arc::new(TelemetryCounts(options.telemetry.clone())),
            isolation: Arc::new(RuntimeIsolation(runtime.clone())),
            cluster: sharing
                .as_ref()
                .zip(asking.as_ref())
                .map(|(sharing, asking)| cluster::source(sharing, asking, &control)),
            series_max: options.metrics_series_max as usize,
        };
        let overrides = Overrides { control: control.clone(), open: options.overrides_open };
        let overrides: Arc<dyn OverrideAccess> = Arc::new(overrides);
        let server_options = server_options(&options, &encryption);
        let dispatcher =
            EventDispatcher::new(control.tables(), server_options.clone(), Arc::clone(&overrides));
        let brokers = egress(&options, &sockets)?;
        let fetcher = fetcher_options(&options, &sockets)?;
        let mut events = NodeEvents::new(kept.inbox, &control, dispatcher, brokers, fetcher);
        let api = Admin::new(control.clone(), events.events(), buckets.values(), admin_options);
        if let Some(asking) = asking {
            tokio::spawn(asking.answer(Arc::downgrade(&api)));
        }
        if let Some(predecessor) = predecessor {
            // Versions may have got traffic after the list was written. The predecessor still accepts
            // connections.
            let needs = needs::of(&control.tables().load());
            compile_before(predecessor, &runtime, needs).await?;
        }
        let listener = sockets::share(&sockets.http)?;
        let server_options = ServerOptions { receiver: Some(events.webhooks(&control)), ..server_options };
        let server = wasm_fn_server::serve(listener, control.tables(), server_options, overrides)?;
        events.start();
        let redirect = redirect(&options, &sockets, addresses.listen.port())?;
        let reloading = tokio::spawn(tls::keep_current(encryption.all()));
        let acme = encryption.acme.clone();
        let certifying = tokio::spawn(async move {
            if let Some(acme) = acme {
                acme.keep().await;
            }
        });
        let data_dir = options.data_dir;
        control.set_unready(Some("the components to compile are not known yet".to_owned()));
        let preparing = tokio::spawn(prepare(runtime, control.clone(), sharing.clone()));
        if let Some(sharing) = &sharing {
            tokio::spawn(cluster::complete(Arc::clone(sharing), control.clone()));
            tokio::spawn(cluster::present(Arc::clone(sharing), control.clone()));
            tokio::spawn(cluster::collect(Arc::clone(sharing), control.clone()));
        }
        let announcing = tokio::spawn(std::future::ready(()));
        let mut node = Self {
            control,
            api,
            server,
            events,
            buckets,
            sockets,
            addresses,
            admin: None,
            data_dir,
            preparing,
            redirect,
            encryption,
            reloading,
            certifying,
            announcing,
            sharing,
        };
        node.open_admin()?;
        let Addresses { listen, admin } = addresses;
        if sockets::is_exposed(admin) && node.encryption.admin.is_none() {
            tracing::warn!(
                %admin,
                "other machines may reach the admin API, which is plain HTTP: who reads along gets its token"
            );
        }
        let pid = std::process::id();
        if let Some(redirect) = &node.redirect {
            tracing::info!(listen = %redirect.local_addr(), "plain HTTP is redirected to https");
        }
        tracing::info!(%listen, %admin, data_dir = %node.data_dir.display(), pid, "node is listening");
        Ok(node)
    }

    /// The address that serves functions.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.addresses.listen
    }

    /// The address that serves the admin API.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Waits until somebody has this node end by way of its cluster.
    pub(crate) async fn ordered_to_end(&self) {
        match &self.sharing {
            Some(sharing) => sharing.drained().await,
            None => std::future::pending().await,
        }
    }

    /// Finishes accepted requests, for at most `timeout`, and ends the node.
    pub(crate) async fn drain(mut self, timeout: Duration) -> DrainReport {
        self.preparing.abort();
        self.announcing.abort();
        notify::stopping();
        pid_file::remove(&self.data_dir);
        self.reloading.abort();
        self.certifying.abort();
        // Only the handles of the data plane and the admin API remain: clients are refused once those close.
        drop(self.sockets);
        if let Some(sharing) = &self.sharing {
            sharing.retire();
        }
        // The admin API stays until the end, so that the drain can be observed.
        let (report, (), ()) =
            tokio::join!(self.server.drain(timeout), stop(self.redirect), self.events.stop(timeout));
        if let Some(sharing) = &self.sharing {
            sharing.leave().await;
        }
        close_admin(&mut self.admin).await;
        report
    }

    fn open_admin(&mut self) -> anyhow::Result<()> {
        let listener = sockets::share(&self.sockets.admin)?;
        let tls = self.encryption.admin.as_ref().map(|tls| tls.config.clone());
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(self.api.clone().serve(listener, tls, async move {
            // A dropped sender counts as the order to stop.
            let _ = stopped.wait_for(|&stop| stop).await;
        }));
        self.admin = Some(AdminApi { task, stop });
        Ok(())
    }
}

/// Compiles the components of versions with traffic that have no native code yet, and then makes the node
/// ready. The node already serves in the meantime.
async fn prepare(runtime: Arc<Runtime>, control: Arc<NodeControl>, sharing: Option<Arc<Sharing>>) {
    let (mut tried, mut failed, mut began) = (HashSet::new(), 0, None);
    loop {
        // Check again after compiling, because a command may have given traffic to other versions.
        let mut missing = prefetch::missing(&runtime, needs::of(&control.tables().load())).await;
        // Try each component once: one that cannot be written to the cache stays missing.
        missing.retain(|need| tried.insert(need.component));
        if missing.is_empty() {
            break;
        }
        began.get_or_insert_with(tokio::time::Instant::now);
        tracing::info!(
            components = missing.len(),
            "compiling versions with traffic before the node is ready"
        );
        if let Some(sharing) = &sharing {
            for need in &missing {
                if let Err(reason) = sharing.fetch(need.component).await {
                    tracing::warn!(component = %need.component, reason, "component cannot be had from the cluster");
                }
            }
        }
        let tell = |left: usize| {
            control.set_unready(Some(format!("compiling {left} components with traffic first")));
        };
        failed += prefetch::compile(&runtime, missing, tell).await;
    }
    control.set_unready(None);
    if let Some(began) = began {
        tracing::info!(took = ?began.elapsed(), failed, "versions with traffic were compiled");
    }
}

/// Compiles those `needs` that have no native code, while `predecessor` serves. Gives up on those that take
/// too long.
async fn compile_before(
    predecessor: &mut Predecessor,
    runtime: &Runtime,
    needs: Vec<Need>,
) -> anyhow::Result<()> {
    let work = async {
        let missing = prefetch::missing(runtime, needs).await;
        if !missing.is_empty() {
            tracing::info!(
                components = missing.len(),
                "compiling versions with traffic before this process takes over"
            );
            prefetch::compile(runtime, missing, |_| {}).await;
        }
    };
    if predecessor.wait_for(work).await?.is_none() {
        tracing::warn!("compiling takes too long: this process takes over before it is finished");
    }
    Ok(())
}

/// Redirects clients of plain HTTP to the data plane at `https_port`, if `options` say so.
fn redirect(
    options: &NodeOptions,
    sockets: &Sockets,
    https_port: u16,
) -> anyhow::Result<Option<RedirectHandle>> {
    let Some(socket) = &sockets.redirect else { return Ok(None) };
    let options = RedirectOptions {
        https_port,
        connections_max: REDIRECTS_MAX,
        trusted_proxies: options.trusted_proxies.clone(),
        proxy_protocol: options.proxy_protocol,
    };
    Ok(Some(wasm_fn_server::redirect(sockets::share(socket)?, options)?))
}

async fn stop(redirect: Option<RedirectHandle>) {
    if let Some(redirect) = redirect {
        redirect.stop().await;
    }
}

/// Ends the admin API after the requests in flight.
async fn close_admin(admin: &mut Option<AdminApi>) {
    let Some(AdminApi { task, stop }) = admin.take() else { return };
    stop.send_replace(true);
    if let Err(error) = task.await {
        tracing::warn!(%error, "admin API did not stop cleanly");
    }
}

fn start_runtime(options: &NodeOptions, sockets: &Sockets) -> anyhow::Result<Runner> {
    let buckets = Arc::new(RuntimeBuckets::default());
    let pool = &options.pool;
    tracing::info!(
        instances_max = pool.instances_max,
        running_max = pool.running_max,
        memory_max = %bytes(pool.memory_max_bytes),
        kept_by_a_free_slot = %bytes(pool.keep_bytes),
        address_space = %bytes(pool.address_bytes),
        "instance pool"
    );
    let runtime = Runtime::start(RuntimeOptions {
        data_dir: options.data_dir.clone(),
        components_dir: options.data_dir.join("blobs"),
        pool: options.pool.clone(),
        warm_max: WARM_MAX,
        idle_after: IDLE_AFTER,
        code_bytes_max: options.code_bytes_max,
        code_idle_after: CODE_IDLE_AFTER,
        egress: egress(options, sockets)?,
        isolation: options.isolation,
        buckets: Some(Arc::clone(&buckets) as _),
        log_sink: log_sink(&options.telemetry),
    })?;
    Ok(Runner { runtime, buckets })
}

/// Where functions, and the node for their queues, may connect to, and whom they trust. Blocks.
fn egress(options: &NodeOptions, sockets: &Sockets) -> anyhow::Result<EgressOptions> {
    Ok(EgressOptions {
        roots: trusted_roots(options.egress_ca.as_deref())?,
        private: options.egress_private.clone(),
        listeners: listeners(sockets)?,
        resolver: Arc::new(SystemResolver::new()),
    })
}

/// From where the artifacts of triggers that deploy are fetched. Blocks.
fn fetcher_options(options: &NodeOptions, sockets: &Sockets) -> anyhow::Result<FetcherOptions> {
    Ok(FetcherOptions {
        sources: options.artifact_sources.clone(),
        listeners: listeners(sockets)?,
        roots: trusted_roots(options.egress_ca.as_deref())?,
    })
}

/// The node's own sockets.
fn listeners(sockets: &Sockets) -> anyhow::Result<Listeners> {
    let data = std::iter::once(&sockets.http).chain(&sockets.redirect);
    Ok(Listeners {
        data: data.map(|socket| socket.local_addr()).collect::<Result<_, _>>()?,
        admin: vec![sockets.admin.local_addr()?],
    })
}

/// Whom outgoing requests trust: the public authorities, and those in `file`. Blocks.
fn trusted_roots(file: Option<&Path>) -> anyhow::Result<TrustedRoots> {
    let Some(file) = file else { return Ok(TrustedRoots::public()) };
    let context = || format!("certificates of outgoing requests in {}", file.display());
    let pem = std::fs::read(file).with_context(context)?;
    TrustedRoots::with_pem(&pem).with_context(context)
}
