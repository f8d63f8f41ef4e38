//! The heads of responses: what a guest may say, and what we add.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{self, Entry},
};

use super::headers::{REQUEST_ID, VERSION};
use crate::request::RequestId;

/// Headers that belong to one connection (RFC 9110, section 7.6.1). A guest has no connection.
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// How much of a body may be sent after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    /// All of it, whatever its length.
    All,
    /// Exactly this many bytes, as the head declares.
    Exactly(u64),
    /// Nothing: the head is sent alone.
    Nothing,
    /// Nothing, although the head declares this length: that of the response to another request.
    NothingOf(u64),
}

/// Makes a guest's head fit to be sent. Returns how much of the body may follow.
///
/// `exact` is the length of the body if it is known.
///
/// # Errors
/// The guest's head is not that of a final HTTP response; says why.
pub(crate) fn sanitize<B>(
    response: &mut Response<B>,
    method: &Method,
    exact: Option<u64>,
) -> Result<Send, &'static str> {
    let status = response.status();
    if status.is_informational() {
        return Err("the status is below 200");
    }
    // hyper refuses to write a version that it does not know.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    let connection = |name: &HeaderName| CONNECTION_HEADERS.contains(name);
    if headers.keys().any(connection) {
        for name in CONNECTION_HEADERS {
            headers.remove(name);
        }
    }
    let declared = declared_length(headers)?;
    // These have no body, so they have no length either (RFC 9110, sections 8.6 and 15.3.6).
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        headers.remove(header::CONTENT_LENGTH);
        return Ok(Send::Nothing);
    }
    // Here the length is that of the body which GET, or the condition, would have given.
    if *method == Method::HEAD {
        // A guest that writes no body here may write one for GET.
        if let (None, Some(exact @ 1..)) = (declared, exact) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(exact));
        }
        return Ok(declared.map_or(Send::Nothing, Send::NothingOf));
    }
    if status == StatusCode::NOT_MODIFIED {
        return Ok(declared.map_or(Send::Nothing, Send::NothingOf));
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

/// The length that `content-length` declares. Repeated equal values become one.
fn declared_length(headers: &mut HeaderMap) -> Result<Option<u64>, &'static str> {
    let Entry::Occupied(mut entry) = headers.entry(header::CONTENT_LENGTH) else { return Ok(None) };
    let mut lengths = entry.iter().map(|value| {
        let digits = value.as_bytes();
        let text = std::str::from_utf8(digits).ok()?;
        digits.iter().all(u8::is_ascii_digit).then(|| text.parse::<u64>().ok())?
    });
    let first = lengths.next().flatten().ok_or("content-length is not a number")?;
    if lengths.any(|length| length != Some(first)) {
        return Err("content-length is given twice");
    }
    drop(lengths);
    entry.insert(HeaderValue::from(first));
    Ok(Some(first))
}

/// Adds the request's id and the version to a response.
pub(crate) fn sign<B>(response: &mut Response<B>, id: RequestId, label: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.header_value());
    headers.insert(VERSION, label);
}

#[cfg(test)]
mod tests;
