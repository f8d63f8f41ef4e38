//! Logging in at an issuer in a browser: the issuer sends it back with a code (RFC 6749, section 4.1), which
//! only somebody can use who knows what the login began with (PKCE, RFC 7636).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

use crate::{GrantError, LoginClient, TokenSet};

/// The name of the grant.
const GRANT: &str = "authorization code grant (RFC 6749)";

/// Most bytes of a code that an issuer is asked about.
const CODE_BYTES_MAX: usize = 4 << 10;

/// A login that is under way in a browser.
#[derive(Clone, PartialEq, Eq)]
pub struct Redirection {
    /// Where the issuer sends the browser back to.
    pub redirect_uri: String,
    /// What the issuer sends along, so that the browser knows its own login again.
    pub state: String,
    /// The secret of the login: 43 to 128 letters and digits.
    pub verifier: String,
}

impl LoginClient {
    /// Where the browser has to go for `login`. The issuer is asked for `scopes`.
    ///
    /// # Errors
    /// If the issuer has no such grant.
    pub fn authorization(&self, login: &Redirection, scopes: &[&str]) -> Result<String, GrantError> {
        let Redirection { redirect_uri, state, verifier } = login;
        let endpoint = self.discovery.authorization_endpoint.as_deref();
        let place = self.endpoint_for(endpoint, "authorization endpoint", GRANT)?;
        // A login whose tokens cannot be fetched is not begun.
        self.endpoint_for(self.discovery.token_endpoint.as_deref(), "token endpoint", GRANT)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let scope = scopes.join(" ");
        let query = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scope),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let query = serde_urlencoded::to_string(query).expect("pairs of texts can be written as a query");
        let joint = if place.query().is_some() { '&' } else { '?' };
        Ok(format!("{place}{joint}{query}"))
    }

    /// The tokens for the `code` with which the issuer sent the browser of `login` back.
    ///
    /// # Errors
    /// If the issuer refuses or does not answer as it should.
    pub async fn redeem(&self, login: &Redirection, code: &str) -> Result<TokenSet, GrantError> {
        let Redirection { redirect_uri, verifier, .. } = login;
        let place = self.endpoint_for(self.discovery.token_endpoint.as_deref(), "token endpoint", GRANT)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code[..code.floor_char_boundary(CODE_BYTES_MAX)]),
            ("redirect_uri", redirect_uri),
            ("client_id", &self.client_id),
            ("code_verifier", verifier),
        ];
        self.tokens(&place, &form).await
    }
}

/// Hides the secret.
impl fmt::Debug for Redirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirection").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
