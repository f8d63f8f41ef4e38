//! The heads of requests and answers: what is taken off, what is put on, and what no guest may say.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, Entry},
};

use crate::{
    RequestId,
    problem::{Code, Problem},
};

/// Names the version that answered; on a request, the one that shall.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("wasm-fn-version");
/// The token that allows a request to name its version.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("wasm-fn-token");
/// The request's id, on every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("wasm-fn-request-id");

/// Tells that the answer is of a second run.
pub(crate) const SHIELDED: HeaderName = HeaderName::from_static("wasm-fn-shielded");

/// Headers that belong to one connection (RFC 9110, section 7.6.1), which a guest has none of.
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The host a request is for, perhaps with a port.
///
/// # Errors
/// When an HTTP/1.1 request has not exactly one, as RFC 9112, section 3.2 demands.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<&str>, Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let header = hosts.next();
    let missing = header.is_none() && request.version() == Version::HTTP_11;
    if missing || hosts.next().is_some() {
        return Err(Problem {
            detail: "the request has not exactly one host header".into(),
            ..Code::BadRequest.into()
        });
    }
    if let Some(host) = request.uri().host() {
        return Ok(Some(host));
    }
    Ok(header.and_then(|host| host.to_str().ok()))
}

/// Refuses what no function can answer, before anything is looked up.
pub(crate) fn check<B>(request: &Request<B>, headers_max: usize) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Code::MethodNotSupported.into());
    }
    if request.headers().len() > headers_max {
        return Err(Code::TooManyHeaders.into());
    }
    Ok(())
}

/// Takes off a request what is meant for the node and not for the guest.
pub(crate) fn strip(headers: &mut HeaderMap) {
    headers.remove(VERSION);
    headers.remove(TOKEN);
}

/// What to send of the body that came with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    /// All of it, as long as it is.
    All,
    /// Exactly so many bytes, as the head declares.
    Exactly(u64),
    /// Nothing: a head that goes without its body.
    Nothing,
}

/// Makes a guest's head one that may be sent, and says what of the body may follow.
///
/// `exact` is the body's length when it is known.
///
/// # Errors
/// With the fault, when the guest's head is no final HTTP response.
pub(crate) fn sanitize<B>(
    response: &mut Response<B>,
    method: &Method,
    exact: Option<u64>,
) -> Result<Send, &'static str> {
    let status = response.status();
    if status.is_informational() {
        return Err("the status is below 200");
    }
    // hyper refuses to write versions that it does not know.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    let connection = |name: &HeaderName| CONNECTION_HEADERS.contains(name);
    if headers.keys().any(connection) {
        for name in CONNECTION_HEADERS {
            headers.remove(name);
        }
    }
    let declared = declared_length(headers)?;
    if *method == Method::HEAD {
        if let (None, Some(exact)) = (declared, exact) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(exact));
        }
        return Ok(Send::Nothing);
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.remove(header::CONTENT_LENGTH);
        return Ok(Send::Nothing);
    }
    match (declared, exact) {
        (Some(declared), Some(exact)) if declared != exact => {
            Err("content-length differs from the length of the body")
        }
        (Some(0), _) | (None, Some(0)) => Ok(Send::Nothing),
        (Some(declared), _) => Ok(Send::Exactly(declared)),
        (None, _) => Ok(Send::All),
    }
}

/// The one length that `content-length` declares; repeated equal values become one.
fn declared_length(headers: &mut HeaderMap) -> Result<Option<u64>, &'static str> {
    let Entry::Occupied(mut entry) = headers.entry(header::CONTENT_LENGTH) else { return Ok(None) };
    let mut lengths = entry.iter().map(|value| {
        let digits = value.as_bytes();
        let text = std::str::from_utf8(digits).ok()?;
        digits.iter().all(u8::is_ascii_digit).then(|| text.parse::<u64>().ok())?
    });
    let first = lengths.next().flatten().ok_or("content-length is no number")?;
    if lengths.any(|length| length != Some(first)) {
        return Err("content-length is given twice");
    }
    drop(lengths);
    entry.insert(HeaderValue::from(first));
    Ok(Some(first))
}

/// Puts the names of the request and of the version on an answer.
pub(crate) fn sign<B>(response: &mut Response<B>, id: RequestId, label: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.header_value());
    headers.insert(VERSION, label);
}

#[cfg(test)]
mod tests;
