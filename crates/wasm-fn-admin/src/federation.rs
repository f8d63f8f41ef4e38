//! Those whom others vouch for: by tokens of issuers that the node trusts, and by certificates.

use std::{fmt, pin::Pin};

use wasm_fn_access::Rights;
use wasm_fn_control::{Actor, Proof};

use crate::ClientIdentity;

/// The answer to the question who shows a token of an issuer.
pub type Vouching<'a> = Pin<Box<dyn Future<Output = Result<Actor, Untrusted>> + Send + 'a>>;

/// Issuers whose tokens the API accepts beside the node's own. The API does not know how they are verified.
pub trait TokenIssuers: fmt::Debug + Send + Sync {
    /// Whether `token` has the form of a token of an issuer, which no token of a node has.
    fn suits(&self, token: &str) -> bool;

    /// Who shows `token` at `now_ms`.
    fn actor<'a>(&'a self, token: &'a str, now_ms: u64) -> Vouching<'a>;
}

/// Why a token of an issuer is not accepted.
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
