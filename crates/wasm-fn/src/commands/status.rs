//! `wasm-fn status`: shows the status once or repeatedly.

use http::Method;
use wasm_fn_api as api;
use wasm_fn_core::NodeName;

use super::{DONE, connect, functions, watch};
use crate::{
    args,
    client::Client,
    fault::Fault,
    output::{self, Look, Output, lines, picture::Picture, tables, time},
};

pub(super) async fn run(args: args::Status, output: Output) -> Result<u8, Fault> {
    let args::Status { function, watch, node, connection } = args;
    let client = connect(&connection)?;
    match (function, watch) {
        (Some(function), true) => watch::status(&client, function.as_str(), output).await?,
        (Some(function), false) => {
            let (path, query) = (format!("/v1/functions/{function}"), query(node));
            let status = client.query::<_, api::FunctionStatus>(Method::GET, &path, &query).await;
            let status = status.map_err(|error| error.fault(format!("`{function}` cannot be shown")))?;
            let look = Look::of_stdout();
            output.data(&status, |status| tables::status(status, time::now_ms(), look))?;
            missing(&status.nodes, output);
        }
        (None, true) => tokio::select! {
            ended = follow(&client, output) => ended?,
            _ = tokio::signal::ctrl_c() => {}
        },
        (None, false) => {
            let list = look(&client, node).await?;
            output.data(&list, |list| tables::summaries(list, Look::of_stdout()))?;
            missing(&list.nodes, output);
            functions::none_yet(&list, output);
        }
    }
    Ok(DONE)
}

fn query(node: Option<NodeName>) -> api::NodeQuery {
    api::NodeQuery { node: node.map(|node| node.to_string()) }
}

/// Says which nodes' numbers are not there.
fn missing(nodes: &[api::AskedNode], output: Output) {
    for (node, reason) in nodes.iter().filter_map(|node| Some((&node.node, node.missing.as_ref()?))) {
        output.talk(&format!("the numbers of node {node} are missing: {reason}"));
    }
}

async fn look(client: &Client, node: Option<NodeName>) -> Result<api::FunctionList, Fault> {
    let list = functions::all(client, query(node).node).await;
    list.map_err(|error| error.fault("the functions cannot be shown"))
}

/// Redraws all functions on a terminal whenever one has changed. Elsewhere it prints a line for each.
async fn follow(client: &Client, output: Output) -> Result<(), Fault> {
    let drawn = output::stdout_is_terminal() && !output.is_json();
    let mut picture = drawn.then(Picture::on_stdout);
    let mut functions = watch::Functions::new(client);
    let (mut heard, mut away) = (false, false);
    loop {
        let changed = match functions.next().await {
            Ok(changed) => changed,
            Err(error) if heard && error.is_passing() => {
                if !std::mem::replace(&mut away, true) {
                    output.talk(&format!("{error}; retrying until it answers"));
                }
                tokio::time::sleep(watch::RETRY).await;
                continue;
            }
            Err(error) => return Err(error.fault("the functions cannot be shown")),
        };
        (heard, away) = (true, false);
        let (list, now_ms) = (functions.list(), time::now_ms());
        if let Some(picture) = &mut picture {
            let drawn = tables::summaries(&list, Look::of_stdout());
            picture.draw(&drawn).map_err(|error| Fault::output(&error))?;
        } else if output.is_json() {
            output.record(&list, |_| String::new())?;
        } else {
            let is_new = |name: &String| changed.binary_search(name).is_ok();
            for function in list.functions.iter().filter(|one| is_new(&one.function)) {
                output.record(function, |function| lines::summary(function, now_ms))?;
            }
        }
    }
}
