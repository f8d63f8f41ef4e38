//! All issuers that a node trusts, and the check of a token.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, dangerous::insecure_decode_claims};
use serde::Deserialize;
use serde_json::{Map, Value};
use wasm_fn_access::Rights;

use crate::{
    IssuerOptions, SignatureAlgorithm, algorithm,
    check::{self, ClaimError, shown},
    issuer::Issuer,
};

/// Longest token, bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Digits of the id of a token.
const ID_DIGITS: usize = 8;

/// The issuers that a node trusts.
#[derive(Debug)]
pub struct Issuers(Box<[Arc<Issuer>]>);

/// Somebody whom an issuer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The name: the rule's, and the subject's.
    pub name: String,
    /// The public name of the token: the first digits of its hash.
    pub id: String,
    /// What the rule gives.
    pub rights: Rights,
    /// Until when the token is accepted, Unix milliseconds.
    pub until_ms: u64,
}

/// Why a token is not accepted. No text has more of the token than single claims, shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// It is no token at all.
    #[error("the token is no JSON Web Token: {0}")]
    Malformed(&'static str),
    /// Nobody trusts its issuer.
    #[error("the token is of the issuer {found}, expected {expected}")]
    UnknownIssuer {
        /// The issuer that it names.
        found: String,
        /// Those that the node trusts.
        expected: String,
    },
    /// Its algorithm is not allowed.
    #[error("the token is signed by the algorithm {found}, expected {expected}")]
    Algorithm {
        /// The algorithm that it names.
        found: String,
        /// Those that are allowed.
        expected: String,
    },
    /// The issuer does not have its key.
    #[error("the token names {found}, expected a key for {algorithm} that {issuer} publishes")]
    UnknownKey {
        /// `the key "…"` or `no key`.
        found: String,
        /// The algorithm of the token.
        algorithm: SignatureAlgorithm,
        /// The issuer.
        issuer: String,
    },
    /// Its signature is not the issuer's.
    #[error("the token's signature is wrong, expected one of {issuer}")]
    Signature {
        /// The issuer.
        issuer: String,
    },
    /// It is not for this node, or not for now.
    #[error(transparent)]
    Claims(#[from] ClaimError),
    /// No rule matches.
    #[error("no rule for {issuer} matches the claims of {subject}, expected one that gives rights")]
    NoRule {
        /// The issuer.
        issuer: String,
        /// The subject, in quotes.
        subject: String,
    },
    /// Nobody knows whether it is right: the issuer's keys cannot be had. It is not the client's fault.
    #[error("the keys of {issuer} cannot be had: {reason}")]
    Unavailable {
        /// The issuer.
        issuer: String,
        /// Why.
        reason: String,
    },
}

/// What of a token's header has to be known before it is verified.
#[derive(Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

/// Whether `token` has the form of a JSON Web Token, which no token of a node has.
pub fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|&byte| byte == b'.').count() == 2
}

impl Issuers {
    /// Trusts these issuers.
    pub fn new(options: impl IntoIterator<Item = IssuerOptions>) -> Self {
        algorithm::install();
        Self(options.into_iter().map(|options| Arc::new(Issuer::new(options))).collect())
    }

    /// Who shows `token` at `now_ms`.
    ///
    /// # Errors
    /// Why it is not accepted. Only [`OidcError::Unavailable`] is not the client's fault.
    pub async fn verify(&self, token: &str, now_ms: u64) -> Result<Proven, OidcError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(OidcError::Malformed("it has more than 16 KiB"));
        }
        let head = head(token)?;
        let claims: Map<String, Value> =
            insecure_decode_claims(token).map_err(|_| OidcError::Malformed("its claims cannot be read"))?;
        let issuer = self.issuer(&claims)?;
        let options = &issuer.options;
        let allowed = options.algorithms.iter().find(|allowed| allowed.as_str() == head.alg);
        let algorithm = *allowed.ok_or_else(|| OidcError::Algorithm {
            found: shown(&head.alg),
            expected: listed(options.algorithms.iter()),
        })?;
        let key = issuer.key(head.kid.as_deref(), algorithm, now_ms).await?;
        let mut validation = Validation::new(algorithm.jwa());
        // Claims are checked below, by a time that is an argument.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        let verified = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        let verified = verified.map_err(|_| OidcError::Signature { issuer: options.issuer.to_string() })?;
        let claims = verified.claims;
        let checked = check::check(&claims, &options.audience, options.clock_skew.as_secs(), now_ms / 1000)?;
        let rule = options.rules.find(&check::for_rules(&claims)).ok_or_else(|| OidcError::NoRule {
            issuer: options.issuer.to_string(),
            subject: shown(&checked.subject),
        })?;
        let id = blake3::hash(token.as_bytes()).to_hex()[..ID_DIGITS].to_owned();
        let name = rule.actor_name(&checked.subject);
        Ok(Proven { name, id, rights: rule.rights.clone(), until_ms: checked.until_ms })
    }

    /// The issuer that `claims` name.
    fn issuer(&self, claims: &Map<String, Value>) -> Result<&Arc<Issuer>, OidcError> {
        let named = claims.get("iss").and_then(Value::as_str);
        let known = self.0.iter().find(|issuer| Some(issuer.options.issuer.as_str()) == named);
        known.ok_or_else(|| OidcError::UnknownIssuer {
            found: named.map_or_else(|| "nobody".to_owned(), shown),
            expected: listed(self.0.iter().map(|issuer| &issuer.options.issuer)),
        })
    }
}

/// Reads the header without believing it.
fn head(token: &str) -> Result<Head, OidcError> {
    let head = token.split('.').next().unwrap_or_default();
    let head = URL_SAFE_NO_PAD.decode(head).ok().and_then(|head| serde_json::from_slice(&head).ok());
    head.ok_or(OidcError::Malformed("its header cannot be read"))
}

fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(" or ") }
}
