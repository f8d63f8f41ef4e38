//! Those whom others vouch for: by tokens of issuers that the node trusts, and by certificates.

use std::{fmt, pin::Pin};

use wasm_fn_access::Rights;
use wasm_fn_control::{Actor, Proof};

use crate::ClientIdentity;

/// An answer of an issuer: for one, who shows a token of it.
pub type Vouching<'a, T = Actor> = Pin<Box<dyn Future<Output = Result<T, Untrusted>> + Send + 'a>>;

/// A login at an issuer that is under way in a browser.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserLogin {
    /// The issuer, as it is configured.
    pub issuer: String,
    /// Where the issuer sends the browser back to.
    pub redirect_uri: String,
    /// By which the browser knows its own login again.
    pub state: String,
    /// The secret of the login.
    pub verifier: String,
}

/// Issuers whose tokens the API accepts beside the node's own. The API does not know how they are verified.
pub trait TokenIssuers: fmt::Debug + Send + Sync {
    /// Whether `token` has the form of a token of an issuer, which no token of a node has.
    fn suits(&self, token: &str) -> bool;

    /// Who shows `token` at `now_ms`.
    fn actor<'a>(&'a self, token: &'a str, now_ms: u64) -> Vouching<'a>;

    /// Where the browser has to go for `login`.
    fn begin_login<'a>(&'a self, login: &'a BrowserLogin) -> Vouching<'a, String>;

    /// The token for the `code` with which the browser of `login` came back.
    fn finish_login<'a>(&'a self, login: &'a BrowserLogin, code: &'a str) -> Vouching<'a, String>;
}

/// Hides the secret.
impl fmt::Debug for BrowserLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserLogin").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why a token of an issuer, or a login there, is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It is wrong.
    #[error("{0}")]
    Refused(String),
    /// Nobody knows whether it is right, for which its holder is not to blame.
    #[error("{0}")]
    Unavailable(String),
}

/// What a client may do by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// Who it is.
    pub identity: ClientIdentity,
    /// What it may do.
    pub rights: Rights,
}

impl CertificateRule {
    /// Whom `rules` know by `identity`. Two rules of one identity have no order, so there must be none.
    pub(crate) fn actor(rules: &[Self], identity: &ClientIdentity) -> Option<Actor> {
        let rule = rules.iter().find(|rule| rule.identity == *identity)?;
        let (name, rights) = (identity.to_string(), rule.rights.clone());
        Some(Actor { name, token: None, rights, proof: Proof::Party { until_ms: None } })
    }
}
