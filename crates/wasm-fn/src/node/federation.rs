//! The issuers whose tokens the admin API accepts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use wasm_fn_access::ClaimRules;
use wasm_fn_admin::{TokenIssuers, Untrusted, Vouching};
use wasm_fn_api::{LoginIssuer, LoginView};
use wasm_fn_control::{Actor, Proof};
use wasm_fn_oidc::{
    IssuerClient, IssuerOptions, IssuerUrl, Issuers, OidcError, Proven, SignatureAlgorithm, is_jwt,
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
struct Federation(Issuers);

/// What the admin API asks about tokens of `trusted`; `None` if there are none. Blocks.
///
/// # Errors
/// A file with authorities cannot be used.
pub(super) fn issuers(trusted: &[TrustedIssuer]) -> anyhow::Result<Option<Arc<dyn TokenIssuers>>> {
    if trusted.is_empty() {
        return Ok(None);
    }
    let options = |trusted: &TrustedIssuer| {
        let TrustedIssuer { issuer, audience, algorithms, clock_skew, ca, rules, .. } = trusted.clone();
        let tls = tls::client_config(&ClientFiles { ca, certificate: None }, tls::system_time());
        let client = IssuerClient::new(tls.with_context(|| format!("authorities of the issuer {issuer}"))?);
        Ok(IssuerOptions { issuer, audience, algorithms, clock_skew, rules, client })
    };
    let options: anyhow::Result<Vec<_>> = trusted.iter().map(options).collect();
    Ok(Some(Arc::new(Federation(Issuers::new(options?)))))
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
            match self.0.verify(token, now_ms).await {
                Ok(Proven { name, id, rights, until_ms }) => {
                    let proof = Proof::Party { until_ms: Some(until_ms) };
                    Ok(Actor { name, token: Some(id), rights, proof })
                }
                Err(error @ OidcError::Unavailable { .. }) => Err(Untrusted::Unavailable(error.to_string())),
                Err(error) => Err(Untrusted::Refused(error.to_string())),
            }
        })
    }
}
