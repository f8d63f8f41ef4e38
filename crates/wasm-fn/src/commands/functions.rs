//! `functions`, `versions`, `history`, `delete`: listing functions and deleting one.

use http::Method;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, NodeName};

use super::{DONE, connect};
use crate::{
    args,
    client::{Client, ClientError},
    fault::Fault,
    output::{self, Look, Output, tables, time},
};

/// Revisions to look at in one answer for those of one node.
const HISTORY_PAGE: u32 = 1000;

pub(super) async fn list(args: args::Functions, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    let list = all(&client, None).await;
    let list = list.map_err(|error| error.fault("the functions cannot be listed"))?;
    output.data(&list, |list| tables::functions(list, Look::of_stdout()))?;
    none_yet(&list, output);
    Ok(DONE)
}

/// Reads the list of all functions, page by page; of one `node` of the cluster, or of all together.
pub(super) async fn all(client: &Client, node: Option<String>) -> Result<api::FunctionList, ClientError> {
    let mut query = api::FunctionsQuery { node, ..Default::default() };
    let mut list: Option<api::FunctionList> = None;
    loop {
        let page = client.query::<_, api::FunctionList>(Method::GET, "/v1/functions", &query).await?;
        let more = page.more;
        let list = match &mut list {
            Some(list) => {
                list.functions.extend(page.functions);
                list
            }
            None => list.insert(page),
        };
        list.more = false;
        match list.functions.last().filter(|_| more) {
            Some(last) => query.after = Some(last.function.clone()),
            None => return Ok(list.clone()),
        }
    }
}

/// If there are no functions, says how to deploy the first one.
pub(super) fn none_yet(list: &api::FunctionList, output: Output) {
    if list.functions.is_empty() {
        output.talk("there are no functions yet");
        output.next(&[("wasm-fn deploy FILE".to_owned(), "deploy one")]);
    }
}

pub(super) async fn versions(args: args::OneFunction, output: Output) -> Result<u8, Fault> {
    let args::OneFunction { function, connection } = args;
    let client = connect(&connection)?;
    let list = client.get::<api::VersionList>(&format!("/v1/functions/{function}/versions")).await;
    let list = list.map_err(|error| error.fault(format!("the versions of `{function}` cannot be listed")))?;
    output.data(&list, |list| tables::versions(list, time::now_ms(), Look::of_stdout()))?;
    Ok(DONE)
}

pub(super) async fn history(args: args::History, output: Output) -> Result<u8, Fault> {
    let args::History { function, limit, evidence, node, connection } = args;
    let client = connect(&connection)?;
    let history = read_history(&client, &function, limit, node.as_ref()).await;
    let history =
        history.map_err(|error| error.fault(format!("the history of `{function}` cannot be shown")))?;
    output.data(&history, |history| tables::history(history, evidence, Look::of_stdout()))?;
    if !evidence && history.entries.iter().any(|entry| entry.evidence.is_some()) {
        output
            .next(&[(format!("wasm-fn history {function} --evidence"), "the numbers behind each decision")]);
    }
    if history.more {
        output.talk("there are older entries; show more with -n");
    }
    Ok(DONE)
}

/// The newest entries, of at most `limit` revisions; of those that `node` made, if there is one.
async fn read_history(
    client: &Client,
    function: &FunctionName,
    limit: u32,
    node: Option<&NodeName>,
) -> Result<api::HistoryPage, ClientError> {
    let path = format!("/v1/functions/{function}/history");
    let mut query = api::HistoryQuery { before: None, limit: Some(limit) };
    let Some(node) = node else { return client.query(Method::GET, &path, &query).await };
    query.limit = Some(HISTORY_PAGE);
    let (mut entries, mut revisions) = (Vec::<api::HistoryEntry>::new(), 0);
    loop {
        let page: api::HistoryPage = client.query(Method::GET, &path, &query).await?;
        query.before = page.entries.last().filter(|_| page.more).map(|entry| entry.revision);
        for entry in page.entries {
            if entry.node.as_deref() != Some(node.as_str()) {
                continue;
            }
            if entries.last().is_none_or(|last| last.revision != entry.revision) {
                if revisions == limit {
                    return Ok(api::HistoryPage { function: page.function, entries, more: true });
                }
                revisions += 1;
            }
            entries.push(entry);
        }
        if query.before.is_none() {
            return Ok(api::HistoryPage { function: page.function, entries, more: false });
        }
    }
}

pub(super) async fn delete(args: args::Delete, output: Output) -> Result<u8, Fault> {
    let args::Delete { function, stage, yes, message, connection } = args;
    let what = match &stage {
        Some(stage) => format!("stage `{stage}` of `{function}`"),
        None => format!("`{function}`"),
    };
    let failed = || format!("{what} was not deleted");
    let client = connect(&connection)?;
    if !yes {
        let path = format!("/v1/functions/{function}/versions");
        let list = client.get::<api::VersionList>(&path).await.map_err(|error| error.fault(failed()))?;
        if !output::stdin_is_terminal() {
            let cause = "standard input is not a terminal, so there is no way to ask";
            return Err(Fault::new("not-confirmed", failed(), cause).help("pass --yes"));
        }
        let question = match &stage {
            Some(stage) => format!("delete stage {stage} of {function}?"),
            None => format!("delete {function} and its {} versions?", list.versions.len()),
        };
        let sure = output.confirm(&question);
        if !sure.map_err(|error| Fault::new("not-confirmed", failed(), error))? {
            return Err(Fault::new("not-confirmed", failed(), "the answer was not yes"));
        }
    }
    let query = api::DeleteQuery { message, expected_revision: None };
    let path = format!("/v1/functions/{function}");
    if let Some(stage) = stage {
        let path = format!("{path}/stages/{stage}");
        let deleted = client.query::<_, api::StageDeleted>(Method::DELETE, &path, &query).await;
        let deleted = deleted.map_err(|error| error.fault(failed()))?;
        output.data(&deleted, |deleted| {
            format!("stage {} of {} is deleted", deleted.stage, deleted.function)
        })?;
        return Ok(DONE);
    }
    let deleted = client.query::<_, api::Deleted>(Method::DELETE, &path, &query).await;
    let deleted = deleted.map_err(|error| error.fault(failed()))?;
    output.data(&deleted, |deleted| format!("{} is deleted", deleted.function))?;
    Ok(DONE)
}
