//! Where an issuer is, and what it says of itself: bounded in size and time.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;
use serde::Deserialize;

use crate::check::shown;

/// Largest document of an issuer, bytes.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// How long an issuer may take for a document.
const DOCUMENT_WAIT: Duration = Duration::from_secs(10);

/// Where the discovery document is, below the issuer.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The identifier of an issuer: an https URL without query and fragment. An issuer on this machine may also
/// have http.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerUrl(String);

/// A text that is no identifier of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {found}, expected https://HOST[:PORT][/PATH], or http:// on a loopback address")]
pub struct IssuerUrlError {
    /// The rejected text, in quotes.
    pub found: String,
}

/// What an issuer says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Discovery {
    issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where a browser is sent to log in (RFC 6749, section 3.1).
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where a device asks for a code for its user (RFC 8628, section 4).
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are issued.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// Where tokens are revoked (RFC 8414, section 2).
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
}

/// Why a document of an issuer could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It is not at a place that is encrypted.
    #[error("{found} is not https, expected an https URL")]
    Insecure {
        /// The place, in quotes.
        found: String,
    },
    /// No answer.
    #[error("{uri} cannot be fetched: {reason}")]
    Unreachable {
        /// The place.
        uri: String,
        /// The innermost error.
        reason: String,
    },
    /// An answer that is not a document.
    #[error("{uri} answers with status {status}, expected 200")]
    Status {
        /// The place.
        uri: String,
        /// The status.
        status: StatusCode,
    },
    /// Too large.
    #[error("{uri} has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge {
        /// The place.
        uri: String,
    },
    /// Too slow.
    #[error("{uri} did not answer within {}s", DOCUMENT_WAIT.as_secs())]
    Slow {
        /// The place.
        uri: String,
    },
    /// A document of another form.
    #[error("{uri} is not as expected: {reason}")]
    Malformed {
        /// The place.
        uri: String,
        /// What is wrong.
        reason: String,
    },
    /// The document of another issuer.
    #[error("{uri} is of the issuer {found}, expected {expected:?}")]
    OtherIssuer {
        /// The place.
        uri: String,
        /// The issuer that it names, in quotes.
        found: String,
        /// The issuer that was asked for.
        expected: String,
    },
}

impl IssuerUrl {
    /// The identifier, exactly as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks that `uri` is as secure as the issuer itself.
    ///
    /// # Errors
    /// If it is neither https nor, for an issuer on this machine, on this machine.
    pub fn endpoint(&self, uri: &str) -> Result<Uri, FetchError> {
        let insecure = || FetchError::Insecure { found: shown(uri) };
        let parsed: Uri = uri.parse().map_err(|_| insecure())?;
        let local = self.0.starts_with("http://") && is_local(&parsed);
        if is_https(&parsed) || local { Ok(parsed) } else { Err(insecure()) }
    }
}

impl FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, IssuerUrlError> {
        let error = || IssuerUrlError { found: shown(text) };
        let uri: Uri = text.parse().map_err(|_| error())?;
        let plain = uri.query().is_none()
            && !text.contains(['#', '@', '?'])
            && uri.authority().is_some_and(|authority| !authority.host().is_empty());
        if plain && (is_https(&uri) || is_local(&uri)) { Ok(Self(text.to_owned())) } else { Err(error()) }
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// Whether `uri` is plain HTTP on this machine.
fn is_local(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let loopback = address.map_or(host == "localhost", |address| address.is_loopback());
    uri.scheme_str() == Some("http") && loopback
}

/// Fetches documents of an issuer, and sends it forms.
#[derive(Clone, Debug)]
pub struct IssuerClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl IssuerClient {
    /// A client that trusts whom `tls` trusts.
    pub fn new(tls: ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(DOCUMENT_WAIT));
        connector.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let connector = builder.wrap_connector(connector);
        Self { http: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }

    /// What `issuer` says of itself.
    ///
    /// # Errors
    /// If it does not answer as it should, or is another issuer.
    pub async fn discover(&self, issuer: &IssuerUrl) -> Result<Discovery, FetchError> {
        let place = format!("{}{DISCOVERY}", issuer.as_str().trim_end_matches('/'));
        let document = self.document(issuer.endpoint(&place)?).await?;
        let found: Discovery = serde_json::from_slice(&document)
            .map_err(|error| FetchError::Malformed { uri: place.clone(), reason: error.to_string() })?;
        if found.issuer != issuer.as_str() {
            let (found, expected) = (shown(&found.issuer), issuer.to_string());
            return Err(FetchError::OtherIssuer { uri: place, found, expected });
        }
        Ok(found)
    }

    /// The document at `uri`. Redirects are not followed.
    pub(crate) async fn document(&self, uri: Uri) -> Result<Bytes, FetchError> {
        let request = Request::get(uri.clone()).body(Full::default());
        let (_, body) = self.exchange(uri, request, |status| status == StatusCode::OK).await?;
        Ok(body)
    }

    /// What `uri` answers to a form, with any status but a failure of the server. Redirects are not
    /// followed.
    pub(crate) async fn post(&self, uri: Uri, form: String) -> Result<(StatusCode, Bytes), FetchError> {
        let request = Request::post(uri.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form));
        self.exchange(uri, request, |status| status == StatusCode::OK || status.is_client_error()).await
    }

    async fn exchange(
        &self,
        uri: Uri,
        request: http::Result<Request<Full<Bytes>>>,
        accepts: fn(StatusCode) -> bool,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let place = uri.to_string();
        let unreachable = |reason: String| FetchError::Unreachable { uri: place.clone(), reason };
        let mut request = request.map_err(|error| unreachable(error.to_string()))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let exchange = async {
            let response = self.http.request(request).await;
            let response = response.map_err(|error| unreachable(innermost(&error)))?;
            let status = response.status();
            if !accepts(status) {
                return Err(FetchError::Status { uri: place.clone(), status });
            }
            let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
            let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => FetchError::TooLarge { uri: place.clone() },
                None => unreachable(innermost(&*error)),
            })?;
            Ok((status, body.to_bytes()))
        };
        let answer = tokio::time::timeout(DOCUMENT_WAIT, exchange).await;
        answer.unwrap_or_else(|_| Err(FetchError::Slow { uri: place.clone() }))
    }
}

/// The text of the error that caused all others.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests;
