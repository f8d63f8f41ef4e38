//! `wasm-fn logs`: prints a function's logs until they end or the user interrupts.

use wasm_fn_api as api;

use super::{DONE, connect};
use crate::{
    args,
    client::{Client, ClientError},
    fault::Fault,
    output::{Look, Output, lines, time},
};

pub(super) async fn run(args: args::Logs, output: Output) -> Result<u8, Fault> {
    let args::Logs { function, follow, stage, version, status, request, since, until, node, connection } =
        args;
    let client = connect(&connection)?;
    let version = version.map(|version| version.to_string());
    let stage = stage.map(|stage| stage.to_string());
    let (since_ms, until_ms) = (since.map(time::unix_ms), until.map(time::unix_ms));
    let node = node.map(|node| node.to_string());
    let query =
        api::LogsQuery { after: 0, follow, stage, version, status, request, since_ms, until_ms, node };
    let path = format!("/v1/functions/{function}/logs");
    let failed = |error: ClientError| error.fault(format!("the logs of `{function}` cannot be read"));
    tokio::select! {
        ended = print(&client, &path, &query, output, failed) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(DONE)
}

async fn print(
    client: &Client,
    path: &str,
    query: &api::LogsQuery,
    output: Output,
    failed: impl Fn(ClientError) -> Fault,
) -> Result<(), Fault> {
    let mut events = client.query_lines(path, query).await.map_err(&failed)?;
    let look = Look::of_stdout();
    while let Some(event) = events.next::<api::LogEvent>().await.map_err(&failed)? {
        output.record(&event, |event| lines::log(event, look))?;
    }
    Ok(())
}
