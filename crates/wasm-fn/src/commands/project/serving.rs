//! What `dev` and `test` have in common: a node inside of the command, and deployments to a node.

use std::{net::SocketAddr, path::Path, time::Duration};

use http::Method;
use wasm_fn_api as api;
use wasm_fn_pool::PlanOptions;

use crate::{
    args,
    client::{Client, ClientError, Upload},
    config::{Buildable, Connection},
    fault::Fault,
    machine,
    node::{Node, NodeOptions},
};

/// How long requests may take to finish when the node stops.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A node inside of the command.
pub(super) async fn start(listen: SocketAddr, admin: SocketAddr, data_dir: &Path) -> Result<Node, Fault> {
    let pool = machine::plan(PlanOptions::default())?;
    let options = NodeOptions::inside_command(listen, admin, data_dir.to_owned(), pool);
    let node = Node::start(options).await;
    node.map_err(|error| {
        Fault::new("start", "the node did not start", format!("{error:#}"))
            .help("if another program has the port, choose another one: --listen and --server")
    })
}

/// How clients reach `node`, whose data is in `data_dir`. Blocks.
pub(super) fn connection(node: &Node, data_dir: &Path) -> Result<Connection, Fault> {
    Connection::of_data_dir(&args::Connection {
        server: format!("http://{}", node.admin()),
        token: None,
        data_dir: data_dir.to_owned(),
        ca: None,
        cert: None,
        key: None,
        at_least_revision: None,
        output: args::Format::Table,
    })
}

/// Deploys the component of `of` to `stage`, all at once and without a watch.
///
/// # Errors
/// The component cannot be read, or the node refuses it.
pub(super) async fn deploy(
    client: &Client,
    of: &Buildable,
    stage: &str,
    stage_config: Option<api::StageConfigSpec>,
) -> Result<api::DeployResult, Fault> {
    let failed = format!("`{}` was not deployed", of.function);
    let refused = |error: ClientError| error.fault(failed.clone());
    let (component, bytes) = Upload::digest(&of.component).map_err(|error| {
        Fault::new("unreadable-file", failed.clone(), format!("{}: {error}", of.component.display()))
    })?;
    if !client.has(component).await.map_err(refused)? {
        let upload = Upload { path: of.component.clone(), component, bytes, sent: Box::new(|_| {}) };
        client.upload(upload).await.map_err(refused)?;
    }
    let rollout = api::RolloutOptions { watch_ms: Some(0), ..api::RolloutOptions::default() };
    let request = api::DeployRequest {
        component: component.to_string(),
        config: of.config.clone(),
        stage: stage.to_owned(),
        release: api::ReleaseRequest {
            stage_config: Some(stage_config.unwrap_or_default()),
            strategy: api::StrategySpec::AllAtOnce,
            rollout,
            // Whoever builds the code on this machine has allowed what it does.
            allow_new: true,
            replace: true,
            ..api::ReleaseRequest::default()
        },
    };
    let path = format!("/v1/functions/{}/deployments", of.function);
    let mut events = client.lines(Method::POST, &path, Some(&request)).await.map_err(refused)?;
    while let Some(event) = events.next().await.map_err(refused)? {
        match event {
            api::DeployEvent::Progress { .. } => {}
            api::DeployEvent::Done { result } => return Ok(result),
            api::DeployEvent::Error { problem } => return Err(Fault::refused(failed, problem)),
        }
    }
    Err(Fault::new("unexpected-answer", failed, "the node's answer ended early"))
}
