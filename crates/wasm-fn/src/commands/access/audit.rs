//! `wasm-fn audit`.

use http::Method;
use wasm_fn_api as api;

use crate::{
    args::{self, AuditCommand},
    commands::{DONE, connect},
    fault::Fault,
    output::{Look, Output, access, time},
};

pub(crate) async fn run(args: args::Audit, output: Output) -> Result<u8, Fault> {
    match args.command {
        Some(AuditCommand::Verify(args)) => verify(args, output).await,
        Some(AuditCommand::Head(args)) => head(args, output).await,
        None => list(args, output).await,
    }
}

/// Prints entries page by page, newest first.
async fn list(args: args::Audit, output: Output) -> Result<u8, Fault> {
    let args::Audit { since, function, actor, node, limit, connection, command: _ } = args;
    let client = connect(&connection)?;
    let mut query = api::AuditQuery {
        function: function.map(|function| function.to_string()),
        actor,
        since_ms: since.map(time::unix_ms),
        before: None,
        limit: None,
    };
    let mut left = limit.map_or(u64::MAX, |limit| limit.get());
    let mut entries = Vec::new();
    let is_wanted = |entry: &api::AuditEntry| {
        node.as_ref().is_none_or(|node| entry.node.as_deref() == Some(node.as_str()))
    };
    loop {
        let page: Result<api::AuditPage, _> = client.query(Method::GET, "/v1/audit", &query).await;
        let page = page.map_err(|error| error.fault("the audit log cannot be read"))?;
        for entry in page.entries.into_iter().filter(|entry| is_wanted(entry)) {
            if left == 0 {
                break;
            }
            left -= 1;
            if output.is_json() {
                output.record(&entry, |_| String::new())?;
            } else {
                entries.push(entry);
            }
        }
        query.before = page.before.filter(|_| left > 0);
        if query.before.is_none() {
            break;
        }
    }
    if !output.is_json() {
        output.data(&entries, |entries| access::audit(entries, Look::of_stdout()))?;
    }
    Ok(DONE)
}

async fn verify(args: args::AuditVerify, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    let (revision, hash) = args.head.unzip();
    let query = api::AuditHeadQuery { verify: true, revision, hash };
    let head: Result<api::AuditHead, _> = client.query(Method::GET, "/v1/audit/head", &query).await;
    let head = head.map_err(|error| error.fault("the audit log is not proven"))?;
    output.data(&head, |head| {
        format!("{} entries, each as it was written\nhead {}:{}", head.revision, head.revision, head.hash)
    })?;
    Ok(DONE)
}

async fn head(args: args::AuditHead, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    let head: Result<api::AuditHead, _> =
        client.query(Method::GET, "/v1/audit/head", &api::AuditHeadQuery::default()).await;
    let head = head.map_err(|error| error.fault("the end of the audit log cannot be read"))?;
    output.data(&head, |head| format!("{}:{}", head.revision, head.hash))?;
    Ok(DONE)
}
