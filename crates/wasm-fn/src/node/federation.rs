//! The issuers whose tokens the admin API accepts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use wasm_fn_access::ClaimRules;
use wasm_fn_admin::{BrowserLogin, TokenIssuers, Untrusted, Vouching};
use wasm_fn_api::{LoginIssuer, LoginView};
use wasm_fn_control::{Actor, Proof};
use wasm_fn_oidc::{
    GrantError, IssuerClient, IssuerOptions, IssuerUrl, Issuers, LoginClient, OidcError, Proven, Redirection,
    SignatureAlgorithm, is_jwt,
};

use crate::tls::{self, ClientFiles};

/// An issuer that a node trusts, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedIssuer {
    pub(crate) issuer: IssuerUrl,
    /// For whom its tokens have to be.
    pub(crate) audience: String,
    /// How its tokens may be signed.
    pub(crate) algorithms: Vec<SignatureAlgorithm>,
    /// By how much its clock may differ.
    pub(crate) clock_skew: Duration,
    /// File with the authorities that may vouch for its server, instead of the public ones.
    pub(crate) ca: Option<PathBuf>,
    /// Who gets which rights.
    pub(crate) rules: ClaimRules,
    /// By which client people log in, if they can.
    pub(crate) login: Option<PublicClient>,
}

/// A client without a secret that an issuer knows (RFC 6749, section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicClient {
    pub(crate) client_id: String,
    /// The scopes to ask for.
    pub(crate) scopes: Vec<String>,
}

/// Issuers, as the admin API asks them.
#[derive(Debug)]
struct Federation {
    issuers: Issuers,
    logins: Vec<Login>,
}

/// An issuer at which people log in.
#[derive(Debug)]
struct Login {
    issuer: IssuerUrl,
    audience: String,
    client: PublicClient,
    http: IssuerClient,
}

/// What the admin API asks about tokens of `trusted`; `None` if there are none. Blocks.
///
/// # Errors
/// A file with authorities cannot be used.
pub(super) fn issuers(trusted: &[TrustedIssuer]) -> anyhow::Result<Option<Arc<dyn TokenIssuers>>> {
    if trusted.is_empty() {
        return Ok(None);
    }
    let (mut options, mut logins) = (Vec::new(), Vec::new());
    for trusted in trusted {
        let TrustedIssuer { issuer, audience, algorithms, clock_skew, ca, rules, login } = trusted.clone();
        let tls = tls::client_config(&ClientFiles { ca, certificate: None }, tls::system_time());
        let http = IssuerClient::new(tls.with_context(|| format!("authorities of the issuer {issuer}"))?);
        let login = login.map(|client| Login {
            issuer: issuer.clone(),
            audience: audience.clone(),
            client,
            http: http.clone(),
        });
        logins.extend(login);
        options.push(IssuerOptions { issuer, audience, algorithms, clock_skew, rules, client: http });
    }
    Ok(Some(Arc::new(Federation { issuers: Issuers::new(options), logins })))
}

/// What the node tells everybody about how people log in.
pub(super) fn login(trusted: &[TrustedIssuer]) -> LoginView {
    let offered = |trusted: &TrustedIssuer| {
        let TrustedIssuer { issuer, audience, login, .. } = trusted;
        let PublicClient { client_id, scopes } = login.clone()?;
        Some(LoginIssuer { issuer: issuer.to_string(), client_id, scopes, audience: audience.clone() })
    };
    LoginView { issuers: trusted.iter().filter_map(offered).collect() }
}

impl TokenIssuers for Federation {
    fn suits(&self, token: &str) -> bool {
        is_jwt(token)
    }

    fn actor<'a>(&'a self, token: &'a str, now_ms: u64) -> Vouching<'a> {
        Box::pin(async move {
            match self.issuers.verify(token, now_ms).await {
                Ok(Proven { name, id, rights, until_ms }) => {
                    let proof = Proof::Party { until_ms: Some(until_ms) };
                    Ok(Actor { name, token: Some(id), rights, proof })
                }
                Err(error @ OidcError::Unavailable { .. }) => Err(Untrusted::Unavailable(error.to_string())),
                Err(error) => Err(Untrusted::Refused(error.to_string())),
            }
        })
    }

    fn begin_login<'a>(&'a self, login: &'a BrowserLogin) -> Vouching<'a, String> {
        Box::pin(async move {
            let (client, at) = self.client(login).await?;
            // The node keeps no token with which a session could be renewed, so it asks for none.
            let scopes =
                at.client.scopes.iter().map(String::as_str).filter(|scope| *scope != "offline_access");
            client.authorization(&redirection(login), &scopes.collect::<Vec<_>>()).map_err(untrusted)
        })
    }

    fn finish_login<'a>(&'a self, login: &'a BrowserLogin, code: &'a str) -> Vouching<'a, String> {
        Box::pin(async move {
            let (client, at) = self.client(login).await?;
            let tokens = client.redeem(&redirection(login), code).await.map_err(untrusted)?;
            let bearer = tokens.bearer(&at.issuer, &at.audience);
            bearer.map(|bearer| bearer.token).map_err(|error| untrusted(error.into()))
        })
    }
}

impl Federation {
    /// The client by which people log in at the issuer of `login`.
    async fn client(&self, login: &BrowserLogin) -> Result<(LoginClient, &Login), Untrusted> {
        let at = self.logins.iter().find(|at| at.issuer.as_str() == login.issuer);
        let at = at.ok_or_else(|| Untrusted::Refused(format!("{} offers no login", login.issuer)))?;
        let client = LoginClient::discover(at.http.clone(), at.issuer.clone(), at.client.client_id.clone());
        Ok((client.await.map_err(untrusted)?, at))
    }
}

fn redirection(login: &BrowserLogin) -> Redirection {
    let BrowserLogin { redirect_uri, state, verifier, .. } = login.clone();
    Redirection { redirect_uri, state, verifier }
}

fn untrusted(error: GrantError) -> Untrusted {
    if error.is_passing() {
        Untrusted::Unavailable(error.to_string())
    } else {
        Untrusted::Refused(error.to_string())
    }
}
