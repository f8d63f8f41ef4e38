//! `wasm-fn cluster`: makes clusters, and shows them.

mod export;
mod make;
mod values;

use http::Method;
use wasm_fn_api as api;

use super::{DONE, connect};
use crate::{
    args::{self, ClusterCommand},
    fault::Fault,
    output::{Output, tables, time},
};

pub(super) async fn run(args: args::Cluster, output: Output) -> Result<u8, Fault> {
    match args.command {
        ClusterCommand::Init(args) => make::init(args, output).await,
        ClusterCommand::Import(args) => make::import(args, output).await,
        ClusterCommand::Export(args) => export::run(args, output).await,
        ClusterCommand::Status(args) => status(&args, output).await,
        ClusterCommand::Drain(args) => drain(&args.connection, Some(args.node.to_string()), output).await,
        ClusterCommand::Leave(args) => drain(&args.connection, None, output).await,
    }
}

async fn status(args: &args::ClusterStatus, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    let view = client.get::<api::ClusterView>("/v1/cluster").await;
    let view = view.map_err(|error| error.fault("the cluster cannot be shown".to_owned()))?;
    output.data(&view, tables::cluster)?;
    if let Some(problem) = &view.problem {
        let since = view.out_of_touch_since_ms.map(|since| format!(" since {}", time::instant(since)));
        output.talk(&format!("this node is out of touch{}: {problem}", since.unwrap_or_default()));
    }
    Ok(DONE)
}

async fn drain(connection: &args::Connection, node: Option<String>, output: Output) -> Result<u8, Fault> {
    let client = connect(connection)?;
    let request = Some(&api::DrainRequest { node });
    let drained = client.call::<_, api::NodeDrained>(Method::POST, "/v1/cluster/drain", request).await;
    let drained = drained.map_err(|error| error.fault("the node was not told to end".to_owned()))?;
    output.data(&drained, |drained| format!("{} finishes its requests and ends", drained.node))?;
    Ok(DONE)
}
