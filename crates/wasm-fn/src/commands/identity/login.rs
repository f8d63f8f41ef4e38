//! `wasm-fn login`: the user confirms a code at an issuer that the node trusts.

use std::time::{Duration, Instant};

use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_oidc::{DeviceCode, GrantError, IssuerClient, IssuerUrl, LoginClient, Polling, TokenSet};

use crate::{
    args,
    client::{Client, ClientError},
    commands::DONE,
    config::{Connection, CredentialsFile, NodeAddress, StoredLogin, issuer_tls},
    fault::Fault,
    output::{Output, access, visible},
};

/// What did not happen.
const FAILED: &str = "you are not logged in";

/// What the user is asked to do.
#[derive(Serialize)]
struct Request<'a> {
    server: String,
    issuer: &'a str,
    user_code: &'a str,
    verification_uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<&'a str>,
    expires_in_s: u64,
}

pub(crate) async fn run(args: args::Login, output: Output) -> Result<u8, Fault> {
    let args::Login { issuer: wanted, connection: args } = args;
    let anonymous = Connection::anonymous(&args)?;
    let node = anonymous.address.clone();
    let file = credentials_file()?;
    // A file that cannot be used is told before the user does anything.
    file.find(&node).map_err(|error| error.fault(FAILED))?;

    let offered: Result<api::LoginView, _> = Client::new(anonymous.clone()).get("/v1/login").await;
    let offered = offered.map_err(|error| error.fault(FAILED))?;
    let offer = choose(offered.issuers, wanted.as_deref(), &node)?;
    let issuer: IssuerUrl =
        offer.issuer.parse().map_err(|error| Fault::new("invalid-issuer", FAILED, error))?;
    let http = IssuerClient::new(issuer_tls(&args)?);
    let tokens = grant(http, issuer.clone(), &offer, &node, output).await.map_err(|error| fault(&error))?;
    let bearer = tokens.bearer(&issuer, &offer.audience);
    let bearer = bearer.map_err(|error| fault(&GrantError::Unsuitable(error)))?;

    let invalid = |cause| Fault::new("invalid-token", FAILED, cause);
    let client = Client::new(anonymous.with_token(&bearer.token).map_err(invalid)?);
    let caller: Result<api::CallerView, _> = client.get("/v1/caller").await;
    let caller = caller.map_err(|error| match error {
        ClientError::Refused(problem) => Fault::refused("the node does not accept your login", *problem)
            .help("nothing was stored; ask its admin whether a rule in `[[serve.oidc.rules]]` is for you"),
        other => other.fault(FAILED),
    })?;
    let api::LoginIssuer { issuer, client_id, audience, .. } = offer;
    let login = StoredLogin {
        issuer,
        client_id,
        audience,
        token: bearer.token,
        expires_ms: bearer.expires_ms,
        refresh_token: tokens.refresh_token,
    };
    let stored = file.lock().and_then(|lock| file.replace(&lock, &node, Some(login)));
    stored.map_err(|error| error.fault(FAILED))?;
    output.talk(&format!("you are logged in to {node}; the login is in {}", file.path().display()));
    if args.token.is_some() {
        output.talk("--token or WASM_FN_TOKEN is set, and counts before your login");
    }
    output.data(&caller, access::caller)?;
    Ok(DONE)
}

/// The user's file.
pub(super) fn credentials_file() -> Result<CredentialsFile, Fault> {
    CredentialsFile::of_user().ok_or_else(|| {
        let cause = "neither XDG_CONFIG_HOME nor HOME is set, expected a folder for the login";
        Fault::new("credentials", "there is no place for logins", cause)
    })
}

/// The issuer that is `wanted`, or the only one that `node` offers.
fn choose(
    offered: Vec<api::LoginIssuer>,
    wanted: Option<&str>,
    node: &NodeAddress,
) -> Result<api::LoginIssuer, Fault> {
    let names: Vec<_> = offered.iter().map(|offer| offer.issuer.clone()).collect();
    let names = names.join(" and ");
    let count = offered.len();
    let mut suitable = offered.into_iter().filter(|offer| wanted.is_none_or(|wanted| wanted == offer.issuer));
    match (suitable.next(), suitable.next()) {
        (Some(offer), None) => Ok(offer),
        _ if count == 0 => {
            let cause = format!("no issuer that {node} trusts offers login");
            Err(Fault::new("no-login", FAILED, cause).help(
                "its admin can add `login` to an issuer in `[[serve.oidc]]`; else get a token, and set WASM_FN_TOKEN",
            ))
        }
        (None, _) => {
            let wanted = wanted.unwrap_or_default();
            let cause = format!("{node} does not offer login at {wanted:?}, expected {names}");
            Err(Fault::new("no-login", FAILED, cause))
        }
        (Some(_), Some(_)) => {
            let cause = format!("{node} offers login at {names}, expected a choice");
            Err(Fault::new("no-login", FAILED, cause).help("choose one with --issuer"))
        }
    }
}

/// Has the user confirm a code, and gets their tokens.
async fn grant(
    http: IssuerClient,
    issuer: IssuerUrl,
    offer: &api::LoginIssuer,
    node: &NodeAddress,
    output: Output,
) -> Result<TokenSet, GrantError> {
    let client = LoginClient::discover(http, issuer.clone(), offer.client_id.clone()).await?;
    let code = client.request_code(&offer.scopes).await?;
    let began = now();
    let request = Request {
        server: node.to_string(),
        issuer: issuer.as_str(),
        user_code: &code.user_code,
        verification_uri: &code.verification_uri,
        verification_uri_complete: code.verification_uri_complete.as_deref(),
        expires_in_s: code.expires_in.as_secs(),
    };
    output.ask(&request, text);
    confirmed(&client, &code, Polling::new(&code, issuer, Duration::ZERO), began).await
}

/// Waits until the user has confirmed `code`, from `began` on.
async fn confirmed(
    client: &LoginClient,
    code: &DeviceCode,
    mut polling: Polling,
    began: Instant,
) -> Result<TokenSet, GrantError> {
    loop {
        let wait = polling.wait(now() - began)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            continue;
        }
        let answer = client.poll(code).await;
        if let Some(end) = polling.heard(answer, now() - began) {
            return end;
        }
    }
}

/// What the user is asked to do. The code stands beside the address that has it, so that they can compare
/// (RFC 8628, section 3.3.1).
fn text(request: &Request<'_>) -> String {
    let Request { server, issuer, user_code, verification_uri, .. } = request;
    let minutes = request.expires_in_s.div_ceil(60);
    let mut text = format!(
        "To log in to {server} at {issuer}, open\n    {verification_uri}\nand enter the code\n    {user_code}\n"
    );
    if let Some(complete) = request.verification_uri_complete {
        text += &format!("or open this address, and compare the code:\n    {complete}\n");
    }
    text += &format!("Waiting for up to {minutes} min until you have confirmed it.");
    visible(&text)
}

fn fault(error: &GrantError) -> Fault {
    let code = match error {
        GrantError::Fetch(_) => "issuer-unavailable",
        GrantError::NoEndpoint { .. } => "no-login",
        GrantError::Refused { .. } => "issuer-refused",
        GrantError::Denied { .. } => "login-denied",
        GrantError::Expired { .. } => "login-expired",
        GrantError::Unsuitable(_) => "unsuitable-token",
    };
    let fault = Fault::new(code, FAILED, error);
    match error {
        GrantError::Expired { .. } => fault.help("run `wasm-fn login` again"),
        GrantError::Refused { .. } => fault.help(
            "check `login` of the issuer in the node's `[[serve.oidc]]`: a public client, and its scopes",
        ),
        GrantError::Unsuitable(_) => fault
            .help("check `audience` in the node's `[[serve.oidc]]`: for ID tokens it is `login.client_id`"),
        _ => fault,
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is an edge: it waits for people")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
