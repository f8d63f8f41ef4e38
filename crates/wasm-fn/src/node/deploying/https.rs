//! Artifacts at https URLs.
//!
//! The name of a host is looked up once, and only an address that was judged is connected to, also where a
//! redirection leads.

use std::{path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::TlsConnector;
use wasm_fn_runtime::{Listeners, TrustedRoots, check_fetchable};
use wasm_fn_secrets::SecretValue;

use super::fetch::{FetchError, host_and_port, lookup};

/// Redirections that are followed.
const REDIRECTS_MAX: usize = 5;

/// Time to connect to one address, and for each answer and each piece of a body.
const STEP_WAIT: Duration = Duration::from_secs(30);

/// What there is of the network.
#[derive(Clone, Copy)]
pub(super) struct Network<'a> {
    /// The node's own sockets.
    pub(super) listeners: &'a Listeners,
    /// Whom servers are trusted by.
    pub(super) roots: &'a TrustedRoots,
}

/// Writes what is at `url` to a new file at `path`, at most `bytes_max` of it. If the server says its digest
/// (RFC 9530), it is checked.
pub(super) async fn download(
    url: &str,
    secret: Option<&SecretValue>,
    network: Network<'_>,
    bytes_max: u64,
    path: &Path,
) -> Result<(), FetchError> {
    let answer = answer(url, secret, network).await?;
    let too_large =
        || FetchError::Refused(format!("{url} has more than {bytes_max} bytes, expected at most those"));
    let announced = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > bytes_max) {
        return Err(too_large());
    }
    let claimed = claimed_digest(answer.headers());
    let mut file = tokio::fs::File::create_new(path).await.map_err(FetchError::of_node)?;
    let (mut body, mut bytes, mut hash) = (answer.into_body(), 0, Sha256::new());
    while let Some(frame) = step(url, body.frame()).await? {
        let frame = frame.map_err(|error| broken(url, &error))?;
        let Ok(piece) = frame.into_data() else { continue };
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            return Err(too_large());
        }
        hash.update(&piece);
        file.write_all(&piece).await.map_err(FetchError::of_node)?;
    }
    file.flush().await.map_err(FetchError::of_node)?;
    let found: [u8; 32] = hash.finalize().into();
    match claimed {
        Some(claimed) if claimed != found => Err(FetchError::Refused(format!(
            "{url} has the digest sha256:{}, expected sha256:{} as its server says",
            hex::encode(found),
            hex::encode(claimed)
        ))),
        _ => Ok(()),
    }
}

/// The answer to a GET of `url`, or of where it redirects to.
async fn answer(
    url: &str,
    secret: Option<&SecretValue>,
    network: Network<'_>,
) -> Result<Response<Incoming>, FetchError> {
    let refused = |why: &str| FetchError::Refused(format!("{url} {why}"));
    let mut place: Uri = url.parse().map_err(|_| refused("is no URL"))?;
    let first = place.authority().cloned();
    for _ in 0..=REDIRECTS_MAX {
        // What is for one server is for no other.
        let own = secret.filter(|_| place.authority() == first.as_ref());
        let answer = get(&place, own, network).await?;
        match answer.status() {
            StatusCode::OK => return Ok(answer),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                place =
                    target(&place, answer.headers()).ok_or_else(|| refused("redirects to no https URL"))?;
            }
            status if is_final(status) => {
                return Err(refused(&format!("answers with status {}, expected 200", status.as_u16())));
            }
            status => {
                let status = status.as_u16();
                return Err(FetchError::NotYet(format!("{url} answers with status {status}, expected 200")));
            }
        }
    }
    Err(refused(&format!("redirects more than {REDIRECTS_MAX} times")))
}

/// Whether a status says that there will never be another. What is not there, or is refused, may be there
/// later.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 409 | 410 | 423 | 425 | 429)
}

/// Where an answer to `place` redirects to.
fn target(place: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let target = if location.starts_with('/') && !location.starts_with("//") {
        format!("https://{}{location}", place.authority()?).parse().ok()?
    } else {
        location.split('#').next()?.parse::<Uri>().ok()?
    };
    let has_user = target.authority()?.as_str().contains('@');
    (target.scheme_str() == Some("https") && !has_user).then_some(target)
}

async fn get(
    place: &Uri,
    secret: Option<&SecretValue>,
    network: Network<'_>,
) -> Result<Response<Incoming>, FetchError> {
    let url = place.to_string();
    let refused = |why: &str| FetchError::Refused(format!("{url} {why}"));
    let authority = place.authority().ok_or_else(|| refused("has no host"))?;
    let (host, port) = host_and_port(authority.as_str(), 443).ok_or_else(|| refused("has no valid port"))?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|_| refused("has no valid host"))?;
    let mut failure = None;
    for address in lookup(&host, port).await? {
        if let Err(error) = check_fetchable(address, network.listeners) {
            return Err(FetchError::Refused(format!("{host} cannot be asked: {error}")));
        }
        match tokio::time::timeout(STEP_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                return exchange(place, authority.as_str(), name, stream, secret, network).await;
            }
            Ok(Err(error)) => failure = Some(error.to_string()),
            Err(_) => failure = Some(format!("{address} does not answer")),
        }
    }
    Err(FetchError::NotYet(format!("{host} cannot be reached: {}", failure.unwrap_or_default())))
}

async fn exchange(
    place: &Uri,
    authority: &str,
    name: ServerName<'static>,
    stream: TcpStream,
    secret: Option<&SecretValue>,
    network: Network<'_>,
) -> Result<Response<Incoming>, FetchError> {
    let url = place.to_string();
    let tls = TlsConnector::from(Arc::clone(&network.roots.config()));
    let stream = step(&url, tls.connect(name, stream)).await?.map_err(|error| broken(&url, &error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = step(&url, handshake).await?.map_err(|error| broken(&url, &error))?;
    // It ends with the body of the answer.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection for an artifact broke");
        }
    });
    let path = place.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("wasm-fn/", env!("CARGO_PKG_VERSION")))
        // The digest is of the artifact as it is stored.
        .header(ACCEPT_ENCODING, "identity");
    let mut request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| FetchError::Refused(format!("{url} cannot be asked for: {error}")))?;
    if let Some(secret) = secret {
        request.headers_mut().insert(AUTHORIZATION, authorization(secret)?);
    }
    step(&url, sender.send_request(request)).await?.map_err(|error| broken(&url, &error))
}

/// What is shown to the server: a pair (RFC 7617), or else a token (RFC 6750).
fn authorization(secret: &SecretValue) -> Result<HeaderValue, FetchError> {
    let text = secret.expose().trim_end_matches(['\r', '\n']);
    let value = match text.contains(':') {
        true => format!("Basic {}", STANDARD.encode(text)),
        false => format!("Bearer {text}"),
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| FetchError::Refused("the credentials have characters that no header has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The SHA-256 that a server says of what it sends, or of what that represents, which is the same without an
/// encoding: `sha-256=:BASE64:` (RFC 9530, sections 2 and 3).
fn claimed_digest(headers: &HeaderMap) -> Option<[u8; 32]> {
    let fields = headers.get_all("repr-digest").iter().chain(headers.get_all("content-digest"));
    let members = fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut digests = members.filter_map(|member| {
        let value = member.trim().strip_prefix("sha-256=:")?.split(':').next()?;
        STANDARD.decode(value).ok()?.try_into().ok()
    });
    digests.next()
}

async fn step<T>(url: &str, future: impl Future<Output = T>) -> Result<T, FetchError> {
    let slow = |_| FetchError::NotYet(format!("{url} says nothing for {} s", STEP_WAIT.as_secs()));
    tokio::time::timeout(STEP_WAIT, future).await.map_err(slow)
}

fn broken(url: &str, error: &(dyn std::error::Error + 'static)) -> FetchError {
    FetchError::NotYet(format!("{url} cannot be fetched: {}", crate::client::innermost(error)))
}

#[cfg(test)]
mod tests;
