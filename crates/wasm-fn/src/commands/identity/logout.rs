//! `wasm-fn logout`: forgets a login, and revokes what could renew it.

use serde::Serialize;
use wasm_fn_oidc::{IssuerClient, LoginClient};

use super::login::credentials_file;
use crate::{
    args,
    commands::DONE,
    config::{Connection, StoredLogin, issuer_tls},
    fault::Fault,
    output::Output,
};

/// What did not happen.
const FAILED: &str = "you are not logged out";

/// A login that ended.
#[derive(Serialize)]
struct LoggedOut {
    server: String,
    /// Whether there was a login.
    logged_in: bool,
    /// Whether the issuer revoked the refresh token.
    revoked: bool,
}

pub(crate) async fn run(args: args::Logout, output: Output) -> Result<u8, Fault> {
    let node = Connection::anonymous(&args.connection)?.address;
    let file = credentials_file()?;
    let login = file.lock().and_then(|lock| file.replace(&lock, &node, None));
    let login = login.map_err(|error| error.fault(FAILED))?;
    let (server, logged_in) = (node.to_string(), login.is_some());
    let revoked = match login {
        Some(login) => {
            let http = IssuerClient::new(issuer_tls(&args.connection)?);
            revoke(http, login, output).await
        }
        None => false,
    };
    output.data(&LoggedOut { server, logged_in, revoked }, |done| {
        let LoggedOut { server, logged_in, .. } = done;
        if *logged_in { format!("logged out of {server}") } else { format!("there was no login to {server}") }
    })?;
    Ok(DONE)
}

/// Revokes the refresh token of `login`, if it has one. If that fails, the login is forgotten all the same.
async fn revoke(http: IssuerClient, login: StoredLogin, output: Output) -> bool {
    let StoredLogin { issuer, client_id, refresh_token, .. } = login;
    let (Some(refresh_token), Ok(parsed)) = (refresh_token, issuer.parse()) else { return false };
    let revoked =
        async { LoginClient::discover(http, parsed, client_id).await?.revoke(&refresh_token).await };
    match revoked.await {
        Ok(true) => true,
        Ok(false) => {
            output.talk(&format!("{issuer} revokes no refresh tokens; yours is forgotten here"));
            false
        }
        Err(error) => {
            output.talk(&format!("the refresh token is forgotten here, but was not revoked: {error}"));
            false
        }
    }
}
