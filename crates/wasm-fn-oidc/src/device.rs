//! Logging in at an issuer: what both ways have in common, and the OAuth 2.0 Device Authorization Grant (RFC
//! 8628), where the user confirms a code in any browser, and the program asks the issuer until that is done.

mod answer;
mod polling;

use http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::{Discovery, FetchError, IssuerClient, IssuerUrl, TokenSet, UnsuitableTokens};

pub use answer::DeviceCode;
pub use polling::{PollAnswer, Polling};

/// The grant, as requests to the token endpoint name it (RFC 8628, section 3.4).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The name of the grant.
const GRANT: &str = "device authorization grant (RFC 8628)";

/// Most characters of what is said of an answer that cannot be read.
const REASON_CHARS_MAX: usize = 200;

/// Why nobody is logged in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The issuer does not answer as it should.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The issuer has no such grant.
    #[error("{issuer} has no {endpoint}, expected an issuer with the {grant}")]
    NoEndpoint {
        /// The issuer.
        issuer: String,
        /// The name of the endpoint that it lacks.
        endpoint: &'static str,
        /// What it would be for.
        grant: &'static str,
    },
    /// The issuer refuses.
    #[error("{issuer} refuses with {code}{description}")]
    Refused {
        /// The issuer.
        issuer: String,
        /// Its code (RFC 6749, section 5.2), in quotes.
        code: String,
        /// `: ` and its explanation in quotes, if it gives one.
        description: String,
    },
    /// The user refused.
    #[error("the login was denied at {issuer}")]
    Denied {
        /// The issuer.
        issuer: String,
    },
    /// Nobody confirmed the code in time.
    #[error("the code was not confirmed at {issuer} before it expired{failure}")]
    Expired {
        /// The issuer.
        issuer: String,
        /// `; ` and why the issuer could not be asked at last, if so.
        failure: String,
    },
    /// The tokens are not for the node.
    #[error(transparent)]
    Unsuitable(#[from] UnsuitableTokens),
}

impl GrantError {
    /// Whether the issuer could not be asked, so that the same may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Fetch(FetchError::Unreachable { .. } | FetchError::Slow { .. } | FetchError::Status { .. })
        )
    }
}

/// A public client of an issuer, which has no secret: a program that people log in with.
#[derive(Clone, Debug)]
pub struct LoginClient {
    http: IssuerClient,
    issuer: IssuerUrl,
    pub(crate) client_id: String,
    pub(crate) discovery: Discovery,
}

impl LoginClient {
    /// Asks `issuer` where a client with this id logs in.
    ///
    /// # Errors
    /// If the issuer does not answer as it should.
    pub async fn discover(
        http: IssuerClient,
        issuer: IssuerUrl,
        client_id: String,
    ) -> Result<Self, GrantError> {
        let discovery = http.discover(&issuer).await?;
        Ok(Self { http, issuer, client_id, discovery })
    }

    /// The issuer.
    pub fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    /// Asks for a code for the user (RFC 8628, section 3.1).
    ///
    /// # Errors
    /// If the issuer does not offer that, refuses, or does not answer as it should.
    pub async fn request_code(&self, scopes: &[String]) -> Result<DeviceCode, GrantError> {
        let endpoint = self.discovery.device_authorization_endpoint.as_deref();
        let place = self.endpoint(endpoint, "device authorization endpoint")?;
        // A login whose tokens cannot be fetched is not begun.
        self.token_endpoint()?;
        let scope = scopes.join(" ");
        let mut form = vec![("client_id", self.client_id.as_str())];
        if !scope.is_empty() {
            form.push(("scope", &scope));
        }
        let answer = self.ask(&place, &form).await?;
        let code = answer.map_err(|refusal| refusal.into_error(&self.issuer))?;
        DeviceCode::new(code, &self.issuer).map_err(|reason| {
            GrantError::Fetch(FetchError::Malformed { uri: place.to_string(), reason: reason.to_string() })
        })
    }

    /// Asks whether the user has confirmed `code` (RFC 8628, sections 3.4 and 3.5).
    pub async fn poll(&self, code: &DeviceCode) -> PollAnswer {
        let form = [
            ("grant_type", DEVICE_CODE),
            ("device_code", code.device_code()),
            ("client_id", self.client_id.as_str()),
        ];
        let answer = match self.token_endpoint() {
            Ok(place) => self.ask(&place, &form).await,
            Err(error) => return PollAnswer::Ended(Err(error)),
        };
        match answer {
            Ok(Ok(tokens)) => PollAnswer::Ended(Ok(tokens)),
            Ok(Err(refusal)) => refusal.into_poll_answer(&self.issuer),
            Err(error) if error.is_passing() => PollAnswer::Failed(error.to_string()),
            Err(error) => PollAnswer::Ended(Err(error)),
        }
    }

    /// New tokens for those that came with `refresh_token` (RFC 6749, section 6).
    ///
    /// # Errors
    /// If the issuer refuses or does not answer as it should.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenSet, GrantError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", self.client_id.as_str()),
        ];
        self.tokens(&self.token_endpoint()?, &form).await
    }

    /// Revokes `refresh_token` (RFC 7009, section 2.1). Returns `false` if the issuer has no place for that.
    ///
    /// # Errors
    /// If the issuer refuses or does not answer as it should.
    pub async fn revoke(&self, refresh_token: &str) -> Result<bool, GrantError> {
        let Some(endpoint) = &self.discovery.revocation_endpoint else { return Ok(false) };
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
            ("client_id", self.client_id.as_str()),
        ];
        let place = self.issuer.endpoint(endpoint)?;
        // The answer to a revocation has no body that matters.
        match self.http.post(place, encoded(&form)).await? {
            (StatusCode::OK, _) => Ok(true),
            (status, body) => Err(answer::Refusal::of(status, &body).into_error(&self.issuer)),
        }
    }

    /// The answer of the token endpoint at `place` to `form`.
    pub(crate) async fn tokens(&self, place: &Uri, form: &[(&str, &str)]) -> Result<TokenSet, GrantError> {
        self.ask(place, form).await?.map_err(|refusal| refusal.into_error(&self.issuer))
    }

    fn token_endpoint(&self) -> Result<Uri, GrantError> {
        self.endpoint(self.discovery.token_endpoint.as_deref(), "token endpoint")
    }

    fn endpoint(&self, place: Option<&str>, endpoint: &'static str) -> Result<Uri, GrantError> {
        self.endpoint_for(place, endpoint, GRANT)
    }

    /// The `endpoint` at `place`, which `grant` needs.
    pub(crate) fn endpoint_for(
        &self,
        place: Option<&str>,
        endpoint: &'static str,
        grant: &'static str,
    ) -> Result<Uri, GrantError> {
        let absent = || GrantError::NoEndpoint { issuer: self.issuer.to_string(), endpoint, grant };
        Ok(self.issuer.endpoint(place.ok_or_else(absent)?)?)
    }

    /// Sends `form` to `place`. The inner error is a refusal of the issuer.
    async fn ask<T: DeserializeOwned>(
        &self,
        place: &Uri,
        form: &[(&str, &str)],
    ) -> Result<Result<T, answer::Refusal>, GrantError> {
        let (status, body) = self.http.post(place.clone(), encoded(form)).await?;
        if status != StatusCode::OK {
            return Ok(Err(answer::Refusal::of(status, &body)));
        }
        let malformed = |error: serde_json::Error| FetchError::Malformed {
            uri: place.to_string(),
            reason: error.to_string().chars().take(REASON_CHARS_MAX).collect(),
        };
        Ok(Ok(serde_json::from_slice(&body).map_err(malformed)?))
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(form).expect("pairs of texts can be written as a form")
}

#[cfg(test)]
mod tests;
