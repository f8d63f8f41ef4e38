//! What an issuer gives to somebody who logged in, and which of it a node accepts.

use std::fmt;

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    IssuerUrl,
    check::{audiences, shown, time},
    is_jwt,
};

/// The tokens in an issuer's answer (RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3).
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct TokenSet {
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    /// With which new tokens can be had without the user.
    #[serde(default)]
    pub refresh_token: Option<String>,
}

/// A token that a node accepts, if one of its rules matches.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token.
    pub token: String,
    /// Until when it is accepted, Unix milliseconds.
    pub expires_ms: u64,
}

/// No token of an issuer's answer is one that the node accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{issuer} gave {found}, expected a JSON Web Token for the audience {expected:?}")]
pub struct UnsuitableTokens {
    issuer: String,
    found: String,
    expected: String,
}

impl TokenSet {
    /// The token for a node that accepts those of `issuer` for `audience`: the ID token, else the access
    /// token.
    ///
    /// An ID token is for the client that asked (OpenID Connect Core 1.0, section 2), so it suits a node
    /// whose audience is the client's id. An access token suits if the issuer makes it a JSON Web Token for
    /// the node (RFC 9068). The signature is not looked at: the tokens came from the issuer itself, and the
    /// node verifies them.
    ///
    /// # Errors
    /// If neither suits.
    pub fn bearer(&self, issuer: &IssuerUrl, audience: &str) -> Result<Bearer, UnsuitableTokens> {
        let mut found = Vec::new();
        for (name, token) in [("ID token", &self.id_token), ("access token", &self.access_token)] {
            match token.as_deref().map(|token| suitable(token, issuer, audience)) {
                Some(Ok(bearer)) => return Ok(bearer),
                Some(Err(reason)) => found.push(format!("an {name} {reason}")),
                None => found.push(format!("no {name}")),
            }
        }
        let (issuer, found, expected) = (issuer.to_string(), found.join(" and "), audience.to_owned());
        Err(UnsuitableTokens { issuer, found, expected })
    }
}

/// `token`, if it is for `audience`; else what it is instead.
fn suitable(token: &str, issuer: &IssuerUrl, audience: &str) -> Result<Bearer, String> {
    let claims = is_jwt(token).then(|| insecure_decode_claims::<Map<String, Value>>(token).ok()).flatten();
    let claims = claims.ok_or("that is no JSON Web Token")?;
    match claims.get("iss").and_then(Value::as_str) {
        Some(named) if named == issuer.as_str() => {}
        named => return Err(format!("of {}", named.map_or_else(|| "nobody".to_owned(), shown))),
    }
    let found = audiences(&claims).unwrap_or_default();
    if !found.contains(&audience) {
        return Err(format!("for the audience {}", shown(&found.join(", "))));
    }
    let expires_s = time(&claims, "exp").ok().flatten().ok_or("that does not say when it expires")?;
    Ok(Bearer { token: token.to_owned(), expires_ms: expires_s.saturating_mul(1000) })
}

/// Hides the tokens.
impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSet").finish_non_exhaustive()
    }
}

/// Hides the token.
impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
