//! `--everywhere`: waits until all live nodes of the cluster have what a command has changed.

use http::Method;
use wasm_fn_api as api;

use super::connect;
use crate::{
    args::{self, Command},
    client::newest_revision,
    fault::Fault,
    output::Output,
};

/// How long to wait, milliseconds.
const WAIT_MS: u64 = 10_000;

/// The connection of `command`, if it is to wait for all nodes.
pub(super) fn wanted(command: &Command) -> Option<args::Connection> {
    let connection = match command {
        Command::Deploy(args) => &args.release.connection,
        Command::PromoteStage(args) => &args.release.connection,
        Command::Traffic(args) => &args.change.connection,
        Command::Promote(args) => &args.change.connection,
        Command::Abort(args) => &args.change.connection,
        Command::Rollback(args) => &args.change.connection,
        Command::Pause(args) | Command::Resume(args) | Command::Approve(args) | Command::Reject(args) => {
            &args.connection
        }
        Command::Delete(args) => &args.connection,
        Command::Secrets(args) => match &args.command {
            args::SecretsCommand::Set(args) => &args.connection,
            args::SecretsCommand::Import(args) => &args.connection,
            args::SecretsCommand::Delete(args) => &args.connection,
            args::SecretsCommand::RotateKey(args) => &args.connection,
            args::SecretsCommand::List(_) => return None,
        },
        Command::Tokens(args) => match &args.command {
            args::TokensCommand::Create(args) => &args.connection,
            args::TokensCommand::Rotate(args) => &args.connection,
            args::TokensCommand::Revoke(args) => &args.connection,
            args::TokensCommand::List(_) | args::TokensCommand::Show(_) => return None,
        },
        Command::Triggers(args) => return args.command.everywhere().cloned(),
        _ => return None,
    };
    connection.everywhere.then(|| args::Connection::clone(connection))
}

/// Waits until every live node has published what the node has told this command of.
///
/// # Errors
/// A node has not in time. It is named; the change is made all the same.
pub(super) async fn wait(connection: &args::Connection, output: Output) -> Result<(), Fault> {
    let error = "the change was made, and it is not known whether every node has it";
    let client = connect(connection)?;
    let query =
        api::RevisionQuery { at_least: Some(newest_revision()), everywhere: true, wait_ms: Some(WAIT_MS) };
    let published = client.query::<_, api::RevisionView>(Method::GET, "/v1/revision", &query).await;
    let published = published.map_err(|cause| cause.fault(error))?;
    let without = published.nodes.iter().filter(|node| !node.published);
    let (late, away): (Vec<_>, Vec<_>) = without.partition(|node| node.live);
    let said = |node: &api::NodeRevisionView| {
        format!("node {}: {}", node.node, node.missing.as_deref().unwrap_or("it has not published it"))
    };
    for node in away {
        output.talk(&format!("not waited for: {}", said(node)));
    }
    if late.is_empty() {
        return Ok(());
    }
    let cause: Vec<_> = late.into_iter().map(said).collect();
    let fault =
        Fault::new("not-everywhere", "the change was made, but not every node has it", cause.join("; "));
    Err(fault.help("`wasm-fn cluster status` shows how far each node is"))
}
