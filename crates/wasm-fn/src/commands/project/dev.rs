//! `wasm-fn dev`: builds a function after each change, and deploys it to the stage `dev` of a node.
//!
//! The last good version answers while a build is broken: nothing is deployed that was not built.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, sync::watch, task::JoinHandle, time::timeout};
use wasm_fn_api as api;
use wasm_fn_core::{Route, Scheme, StageName};
use wasm_fn_project::Watch;

use super::{build, serving};
use crate::{
    args::{self, Format},
    client::{Client, ClientError},
    commands::{
        DONE,
        address::{self, DataAddress},
    },
    config::{Buildable, Connection, NodeAddress},
    fault::Fault,
    node::{Node, Signals},
    output::{self, Look, Output, lines, time},
};

/// The stage.
const STAGE: &str = "dev";

/// Folder of the data of a node that this command starts, beside the configuration file.
const DATA: &str = ".wasm-fn";

/// How long a node may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// A function that is being worked on.
struct Session {
    of: args::ProjectFunction,
    stage: StageName,
    connection: Connection,
    client: Client,
    data: DataAddress,
    /// Whether this command started the node, so that nothing else has routes there.
    alone: bool,
    output: Output,
    began_ms: u64,
    /// The last good version, and where it answers.
    good: Option<(String, String)>,
    /// Prints the log.
    logs: Option<JoinHandle<Result<(), Fault>>>,
}

pub(crate) async fn run(args: args::Dev, output: Output) -> Result<u8, Fault> {
    let signals = Signals::listen();
    let mut signals = signals.map_err(|error| Fault::new("system", "signals cannot be received", error))?;
    let stage: StageName = STAGE.parse().expect("it is a name");
    let of = Buildable::read(&args.of, &stage, "nothing is served")?;
    build::require_command(&of, "nothing is served")?;
    let (sender, changes) = watch::channel(PathBuf::new());
    let changed = move |path: &Path| drop(sender.send_replace(path.to_owned()));
    let _watch = Watch::start(&of.folder, &[in_folder(&of)], changed)
        .map_err(|error| Fault::new("unwatchable", "nothing is served", error))?;
    let (node, connection) = node(&args, &of).await?;
    let mut session = Session::new(args.of, stage, connection, node.is_some(), output).await?;
    let ended = tokio::select! {
        ended = session.work(changes) => ended,
        () = signals.next() => Ok(()),
    };
    if let Some(logs) = session.logs.take() {
        logs.abort();
    }
    drop(session);
    if let Some(node) = node {
        signals.drain(node, serving::DRAIN_TIMEOUT).await;
    }
    ended.map(|()| DONE)
}

/// The component's path in the folder of the project, if it is in it.
fn in_folder(of: &Buildable) -> PathBuf {
    of.component.strip_prefix(&of.folder).unwrap_or(&of.component).to_owned()
}

/// The node at the address in `args`. If nothing listens there, and it is on this machine, one is started.
async fn node(args: &args::Dev, of: &Buildable) -> Result<(Option<Node>, Connection), Fault> {
    let address = Connection::anonymous(&args.connection)?.address;
    let Some(admin) = nothing_at(&address).await else {
        return Ok((None, Connection::resolve(&args.connection)?));
    };
    let data_dir = of.folder.join(DATA);
    let node = serving::start(args.listen, admin, &data_dir).await?;
    let connection = serving::connection(&node, &data_dir)?;
    Ok((Some(node), connection))
}

/// The address of `node`, if it is on this machine, is plain HTTP, and refuses connections.
async fn nothing_at(node: &NodeAddress) -> Option<SocketAddr> {
    if node.scheme != Scheme::Http {
        return None;
    }
    let (host, port) = (node.authority.host(), node.authority.port_u16().unwrap_or(80));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, port).to_socket_addrs().ok()?.find(|address| address.ip().is_loopback())?;
    match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(address),
        _ => None,
    }
}

impl Session {
    async fn new(
        of: args::ProjectFunction,
        stage: StageName,
        connection: Connection,
        alone: bool,
        output: Output,
    ) -> Result<Self, Fault> {
        let client = Client::new(connection.clone());
        let node: Result<api::NodeView, _> = client.get("/v1/node").await;
        let node = node.map_err(|error| error.fault("nothing is served"))?;
        let data = DataAddress::of(&node, client.address());
        if alone {
            output.talk(&format!(
                "a node is up: functions at http://{}, admin API at {}",
                data.authority,
                client.address()
            ));
        }
        let (began_ms, good, logs) = (time::now_ms(), None, None);
        Ok(Self { of, stage, connection, client, data, alone, output, began_ms, good, logs })
    }

    /// Deploys the function now and after each change, without an end.
    async fn work(&mut self, mut changes: watch::Receiver<PathBuf>) -> Result<(), Fault> {
        loop {
            if let Err(fault) = self.round().await {
                let Fault::Told(told) = fault else { return Err(fault) };
                let format = if self.output.is_json() { Format::Json } else { Format::Table };
                output::fault(format, &told);
                self.output.talk(&match &self.good {
                    Some((version, url)) => format!("{version} keeps answering at {url}"),
                    None => "nothing answers yet; save a file to try again".to_owned(),
                });
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
            let path = changes.borrow_and_update().clone();
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            self.output.talk(&format!("{} changed", output::visible(&name)));
        }
    }

    /// Builds the function and deploys it.
    #[expect(clippy::disallowed_methods, reason = "people want to know how long a change takes")]
    async fn round(&mut self) -> Result<(), Fault> {
        let (args, stage) = (self.of.clone(), self.stage.clone());
        let built = tokio::task::spawn_blocking(move || {
            let of = Buildable::read(&args, &stage, "nothing was deployed")?;
            build::build(&of, true).map(|(_, took)| (of, took))
        });
        let built =
            built.await.map_err(|error| Fault::new("build-not-run", "nothing was deployed", error))?;
        let (of, built) = built?;
        let began = Instant::now();
        let stage_config = self.stage_config(&of);
        let result = serving::deploy(&self.client, &of, STAGE, stage_config).await?;
        let deployed = began.elapsed();
        let route = result.routes.first().and_then(|route| route.parse::<Route>().ok());
        let url = route.map(|route| address::url(&self.data, &route)).unwrap_or_default();
        let version = result.version.clone();
        self.output.record(&result, |_| {
            format!("{version} answers at {url} (built in {built:.2?}, deployed in {deployed:.2?})")
        })?;
        self.good = Some((result.version, url));
        if self.logs.as_ref().is_none_or(JoinHandle::is_finished) {
            self.logs = Some(self.follow(of.function.as_str()));
        }
        Ok(())
    }

    /// What the stage lays over the function: what the file says. On a node that is ours alone, the function
    /// has its own routes here, so that its paths are those that it will have.
    fn stage_config(&self, of: &Buildable) -> Option<api::StageConfigSpec> {
        let mut config = of.stage_config.clone().unwrap_or_default();
        if self.alone && config.routes.is_empty() {
            config.routes = match of.config.routes.as_slice() {
                [] => vec![Route::default_for(&of.function, &StageName::live()).to_string()],
                routes => routes.to_vec(),
            };
        }
        Some(config)
    }

    /// Prints the log of `function` as it is written.
    fn follow(&self, function: &str) -> JoinHandle<Result<(), Fault>> {
        let client = Client::new(self.connection.clone());
        let path = format!("/v1/functions/{function}/logs");
        let (stage, since_ms) = (Some(STAGE.to_owned()), Some(self.began_ms));
        let query = api::LogsQuery { follow: true, stage, since_ms, ..api::LogsQuery::default() };
        let output = self.output;
        tokio::spawn(async move {
            let failed = |error: ClientError| error.fault("the log cannot be read");
            let look = Look::of_stdout();
            let mut events = client.query_lines(&path, &query).await.map_err(failed)?;
            while let Some(event) = events.next::<api::LogEvent>().await.map_err(failed)? {
                output.record(&event, |event| lines::worked_on(event, look))?;
            }
            Ok(())
        })
    }
}
