//! One visit to a repository: the authorization for it, and requests that carry it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use http_auth::{ChallengeRef, parser::ChallengeParser};
use oci_client::errors::OciDistributionError;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use wasm_fn_core::Digest;
use zeroize::Zeroizing;

use super::addresses::{AddressError, Addresses};
use crate::{
    credentials::Credentials,
    error::{self, RegistryError, innermost, shown},
    layout,
    reference::Reference,
};

/// Largest answer of a token service, bytes.
const TOKEN_BYTES_MAX: usize = 256 << 10;

/// How much of a refusal is read, bytes.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// What a session may do in its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

/// What goes into the `authorization` header.
pub(super) enum Authorization {
    None,
    Basic { username: String, password: Zeroizing<String> },
    Bearer(Zeroizing<String>),
}

/// How registries are spoken to, with or without TLS.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) client: Client,
    /// What judges addresses; none if any may be connected to.
    pub(super) addresses: Option<Arc<Addresses>>,
    pub(super) is_plain: bool,
}

/// A visit to the repository of a reference.
pub(super) struct Session<'a> {
    channel: &'a Channel,
    reference: &'a Reference,
    /// The address of the registry, with scheme.
    base: String,
    authorization: Authorization,
    had_credentials: bool,
}

/// What a registry asks for (RFC 9110, section 11.6.1).
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    /// Docker's token authentication.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// The answer of a token service: one of the two is there.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry says of a refusal (OCI Distribution Specification, "Error codes").
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalReason>,
}

#[derive(Deserialize)]
struct RefusalReason {
    code: Option<String>,
    message: Option<String>,
}

impl<'a> Session<'a> {
    /// Asks the registry how it wants to be authorized, and gets a token where that is a service.
    pub(super) async fn open(
        channel: &'a Channel,
        reference: &'a Reference,
        credentials: &'a Credentials,
        access: Access,
    ) -> Result<Self, RegistryError> {
        let scheme = if channel.is_plain { "http" } else { "https" };
        let mut session = Self {
            channel,
            reference,
            base: format!("{scheme}://{}", reference.host()),
            authorization: Authorization::None,
            had_credentials: !matches!(credentials, Credentials::Anonymous),
        };
        if let Credentials::RegistryToken(token) = credentials {
            session.authorization = Authorization::Bearer(token.clone());
            return Ok(session);
        }
        let answer = session.send(channel.client.get(format!("{}/v2/", session.base))).await?;
        let challenges: Vec<_> = answer
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        session.authorization = match (challenge(&challenges), credentials) {
            (None, _) => Authorization::None,
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                let token = session.token(&realm, service.as_deref(), credentials, access).await?;
                Authorization::Bearer(token)
            }
            (Some(Challenge::Basic), Credentials::Basic { username, password }) => {
                Authorization::Basic { username: username.clone(), password: password.clone() }
            }
            (Some(Challenge::Basic), _) => {
                return Err(session.unauthorized("it wants a user name and a password"));
            }
        };
        Ok(session)
    }

    /// How requests of this session are authorized.
    pub(super) fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// Asks the token service at `realm` for a token (Docker Registry v2, "Token Authentication").
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Zeroizing<String>, RegistryError> {
        let url: Url = realm
            .parse()
            .map_err(|_| self.malformed(format!("its token service is {}, expected a URL", shown(realm))))?;
        if url.scheme() != "https" && !self.channel.is_plain {
            return Err(self.malformed(format!("its token service is {}, expected https", shown(realm))));
        }
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        let encoded = |fields: &[(&str, &str)]| {
            serde_urlencoded::to_string(fields).expect("pairs of texts can be encoded")
        };
        let request = match credentials {
            // OAuth 2 with a refresh token, as those of `az acr login` are.
            Credentials::IdentityToken(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "wasm-fn"),
                    ("refresh_token", token.as_str()),
                ]);
                let form = "application/x-www-form-urlencoded";
                self.channel.client.post(url).header(header::CONTENT_TYPE, form).body(encoded(&fields))
            }
            _ => {
                let (mut url, fields) = (url, encoded(&fields));
                let query = match url.query() {
                    Some(query) => format!("{query}&{fields}"),
                    None => fields,
                };
                url.set_query(Some(&query));
                let request = self.channel.client.get(url);
                match credentials {
                    Credentials::Basic { username, password } => {
                        request.basic_auth(username, Some(password.as_str()))
                    }
                    _ => request,
                }
            }
        };
        let mut answer = self.send(request).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            let cause = format!("token service: {}", refusal(&mut answer).await);
            return Err(if status.is_client_error() {
                self.unauthorized(&cause)
            } else {
                RegistryError::Refused { registry: self.registry(), status: status.as_u16(), cause }
            });
        }
        let answer = Zeroizing::new(Vec::from(self.read(&mut answer, TOKEN_BYTES_MAX).await?));
        let answer: TokenAnswer = serde_json::from_slice(&answer)
            .map_err(|error| self.malformed(format!("answer of its token service: {error}")))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.malformed("its token service gives no token".to_owned()))?;
        // It becomes a header's value.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.malformed("its token service gives a token that cannot be sent".to_owned()));
        }
        Ok(Zeroizing::new(token))
    }

    /// Asks for a manifest of this repository.
    pub(super) async fn manifest(
        &self,
        method: Method,
        reference: &Reference,
    ) -> Result<Response, RegistryError> {
        let path = format!("manifests/{}", reference.manifest());
        let request = self.request(method, &path).header(header::ACCEPT, layout::ACCEPTED.join(", "));
        let mut answer = self.send(request).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::NotFound(reference.clone(), refusal(&mut answer).await));
        }
        self.check(&mut answer).await?;
        Ok(answer)
    }

    /// Asks for a blob of this repository. The answer may be a refusal.
    pub(super) async fn blob(&self, digest: Digest) -> Result<Response, RegistryError> {
        self.send(self.request(Method::GET, &format!("blobs/sha256:{digest}"))).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v2/{}/{path}", self.base, self.reference.repository());
        let request = self.channel.client.request(method, url);
        match &self.authorization {
            Authorization::None => request,
            Authorization::Basic { username, password } => {
                request.basic_auth(username, Some(password.as_str()))
            }
            Authorization::Bearer(token) => request.bearer_auth(token.as_str()),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RegistryError> {
        let request = request.build().map_err(|error| self.unreachable(&error))?;
        if let Some(addresses) = &self.channel.addresses {
            addresses.admit(request.url()).map_err(|error| self.no_address(&error))?;
        }
        self.channel.client.execute(request).await.map_err(|error| self.unreachable(&error))
    }

    /// Turns an answer that is no success into its error.
    pub(super) async fn check(&self, answer: &mut Response) -> Result<(), RegistryError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let cause = refusal(answer).await;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(&cause),
            _ => RegistryError::Refused { registry: self.registry(), status: status.as_u16(), cause },
        })
    }

    /// Reads an answer of `max` bytes at most.
    pub(super) async fn read(&self, answer: &mut Response, max: usize) -> Result<Bytes, RegistryError> {
        let too_long = || self.malformed(format!("it sends more than {max} bytes for {}", self.reference));
        if answer.content_length().is_some_and(|length| length > max as u64) {
            return Err(too_long());
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if whole.len() + piece.len() > max {
                return Err(too_long());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn registry(&self) -> String {
        self.reference.host().to_owned()
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        if let Some(error) = error::find::<AddressError>(error) {
            return self.no_address(error);
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = error::find(error) {
            return RegistryError::Untrusted { registry: self.registry(), cause: innermost(error) };
        }
        let cause = if error.is_timeout() { "it does not answer".to_owned() } else { innermost(error) };
        RegistryError::Unreachable { registry: self.registry(), cause }
    }

    fn no_address(&self, error: &AddressError) -> RegistryError {
        let (registry, cause) = (self.registry(), error.to_string());
        match error {
            AddressError::Prohibited { .. } => RegistryError::Prohibited { registry, cause },
            AddressError::TooManyHosts => RegistryError::Unreachable { registry, cause },
        }
    }

    pub(super) fn malformed(&self, cause: String) -> RegistryError {
        RegistryError::Malformed { registry: self.registry(), cause }
    }

    fn unauthorized(&self, cause: &str) -> RegistryError {
        RegistryError::Unauthorized {
            registry: self.registry(),
            repository: self.reference.repository().to_owned(),
            had: self.had_credentials,
            cause: cause.to_owned(),
        }
    }

    /// What oci-client's refusal of an upload means.
    pub(super) fn upload_refused(&self, error: OciDistributionError) -> RegistryError {
        match error {
            OciDistributionError::RequestError(error) => self.unreachable(&error),
            OciDistributionError::UnauthorizedError { .. } => {
                self.unauthorized("it refuses to be written to")
            }
            OciDistributionError::ServerError { code, message, .. } => {
                let cause = said(message.as_bytes());
                if code == StatusCode::UNAUTHORIZED || code == StatusCode::FORBIDDEN {
                    self.unauthorized(&cause)
                } else {
                    RegistryError::Refused { registry: self.registry(), status: code, cause }
                }
            }
            error => self.malformed(innermost(&error)),
        }
    }
}

/// What a refusal says, in one line.
pub(super) async fn refusal(answer: &mut Response) -> String {
    let mut body = Vec::new();
    // A refusal that breaks off is still one.
    while let Ok(Some(piece)) = answer.chunk().await {
        if body.len() + piece.len() > REFUSAL_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&piece);
    }
    let said = said(&body);
    if said.is_empty() { answer.status().to_string().to_lowercase() } else { said }
}

/// The reason in the body of a refusal.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { errors }) => {
            let first = errors.into_iter().next();
            shown(&first.and_then(|first| first.message.or(first.code)).unwrap_or_default())
        }
        Err(_) => shown(&String::from_utf8_lossy(body)),
    }
}

/// The digest that an answer claims to have, if it is one of SHA-256.
pub(super) fn digest_header(answer: &Response) -> Option<Digest> {
    let value = answer.headers().get("docker-content-digest")?;
    layout::digest(value.to_str().ok()?)
}

/// The challenge to answer: a token rather than a password.
fn challenge(headers: &[&str]) -> Option<Challenge> {
    let challenges = || headers.iter().flat_map(|header| ChallengeParser::new(header)).filter_map(Result::ok);
    let is = |challenge: &ChallengeRef<'_>, scheme: &str| challenge.scheme.eq_ignore_ascii_case(scheme);
    let bearer = challenges().filter(|challenge| is(challenge, "bearer")).find_map(|challenge| {
        let param = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Challenge::Bearer { realm: param("realm")?, service: param("service") })
    });
    bearer.or_else(|| challenges().any(|challenge| is(&challenge, "basic")).then_some(Challenge::Basic))
}

#[cfg(test)]
mod tests;
