//! `wasm-fn tokens`.

use http::Method;
use wasm_fn_access::FunctionPattern;
use wasm_fn_api as api;
use wasm_fn_core::StageName;

use crate::{
    args::{self, TokensCommand},
    client::Client,
    commands::{DONE, connect, functions},
    fault::Fault,
    output::{Output, access},
};

/// The name of the token in the data directory.
const ADMIN: &str = "admin";

pub(crate) async fn run(args: args::Tokens, output: Output) -> Result<u8, Fault> {
    match args.command {
        TokensCommand::Create(args) => create(args, output).await,
        TokensCommand::List(args) => list(args, output).await,
        TokensCommand::Show(args) => show(&args.connection, output).await,
        TokensCommand::Rotate(args) => rotate(args, output).await,
        TokensCommand::Revoke(args) => revoke(args, output).await,
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

async fn create(args: args::TokensCreate, output: Output) -> Result<u8, Fault> {
    let args::TokensCreate { name, roles, functions, stages, ttl, message, connection } = args;
    let request = api::TokenRequest {
        name: name.to_string(),
        rights: api::RightsSpec {
            roles: texts(&roles),
            functions: texts(&functions),
            stages: texts(&stages),
        },
        ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        message,
    };
    let client = connect(&connection)?;
    let created: Result<api::TokenCreated, _> = client.call(Method::POST, "/v1/tokens", Some(&request)).await;
    let created = created.map_err(|error| error.fault(format!("the token `{name}` was not created")))?;
    output.talk(&format!("token {}", access::rights(&created.token)));
    for note in unmatched(&client, &functions, &stages).await {
        output.talk(&note);
    }
    output.talk("it is not shown again; pass it as WASM_FN_TOKEN or with --token:");
    output.data(&created, |created| created.secret.clone())?;
    Ok(DONE)
}

/// Which of the patterns and stages have nothing on the node so far. That is no error, but perhaps a mistake.
async fn unmatched(client: &Client, patterns: &[FunctionPattern], stages: &[StageName]) -> Vec<String> {
    if patterns.is_empty() && stages.is_empty() {
        return Vec::new();
    }
    // The token exists: that the list cannot be had is no reason to fail.
    let Ok(list) = functions::all(client, None).await else { return Vec::new() };
    access::unmatched(&list, patterns, stages)
}

async fn list(args: args::TokensList, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    let list: Result<api::TokenList, _> = client.get("/v1/tokens").await;
    let list = list.map_err(|error| error.fault("the tokens cannot be listed"))?;
    if list.tokens.is_empty() && !output.is_json() {
        output.talk("there is no token but the one in the node's data directory");
        return Ok(DONE);
    }
    output.data(&list, access::tokens)?;
    Ok(DONE)
}

/// Shows who the client is to the node.
pub(crate) async fn show(connection: &args::Connection, output: Output) -> Result<u8, Fault> {
    let client = connect(connection)?;
    let caller: Result<api::CallerView, _> = client.get("/v1/caller").await;
    let caller = caller.map_err(|error| error.fault("the token cannot be shown"))?;
    output.data(&caller, access::caller)?;
    Ok(DONE)
}

async fn rotate(args: args::TokensRotate, output: Output) -> Result<u8, Fault> {
    let args::TokensRotate { name, message, connection } = args;
    let name = name.map_or_else(|| ADMIN.to_owned(), |name| name.to_string());
    let client = connect(&connection)?;
    let path = format!("/v1/tokens/{name}/rotate");
    let rotated: Result<api::TokenCreated, _> =
        client.call(Method::POST, &path, Some(&api::TokenChange { message })).await;
    let rotated = rotated.map_err(|error| error.fault(format!("the token `{name}` was not rotated")))?;
    output.talk(&format!("the old secret of {name} is refused from now on"));
    if name == ADMIN {
        output.talk("the new one is in the node's data directory");
    }
    output.data(&rotated, |rotated| rotated.secret.clone())?;
    Ok(DONE)
}

async fn revoke(args: args::TokensRevoke, output: Output) -> Result<u8, Fault> {
    let args::TokensRevoke { name, message, connection } = args;
    let client = connect(&connection)?;
    let path = format!("/v1/tokens/{name}");
    let revoked: Result<api::TokenRevoked, _> =
        client.query(Method::DELETE, &path, &api::TokenChange { message }).await;
    let revoked = revoked.map_err(|error| error.fault(format!("the token `{name}` was not revoked")))?;
    output.data(&revoked, |revoked| format!("token {} is revoked", revoked.name))?;
    Ok(DONE)
}
