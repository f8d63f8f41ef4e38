//! The heads of requests: checked, and stripped of what is not meant for the guest.

use http::{HeaderMap, HeaderValue, Method, Request, Version, header};

use super::{authority, framing};
use crate::{
    options::ServerOptions,
    response::{
        headers::{ASYNC, ATTEMPT, PREFIX, TOKEN, TRIGGER, VERSION},
        problem::{Code, Problem},
    },
};

/// Refuses requests that no function can answer, before anything is looked up. Gives those of HTTP/2 the form
/// that other requests have.
///
/// # Errors
/// The head is malformed, too large, or asks for what functions cannot do.
pub(super) fn check<B>(request: &mut Request<B>, options: &ServerOptions) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Code::MethodNotSupported.into());
    }
    check_target(request)?;
    check_fields(request, options.head_bytes_max)?;
    if request.version() == Version::HTTP_2 {
        framing::join_cookies(request.headers_mut());
    }
    if request.headers().len() > options.headers_max {
        return Err(Code::TooManyHeaders.into());
    }
    settle_host(request)
}

/// Refuses a request with a body whose transfer coding is unknown (RFC 9112, section 6.1).
///
/// # Errors
/// The body is coded by something else than chunks.
pub(super) fn check_coding<B>(request: &Request<B>) -> Result<(), Problem> {
    match framing::unknown_coding(request.headers()) {
        Some(found) => Err(Problem {
            detail: format!("transfer-encoding is {}, expected chunked", authority::shown(found)).into(),
            ..Code::TransferCodingNotSupported.into()
        }),
        None => Ok(()),
    }
}

/// Checks the fields: their size (RFC 9113, section 6.5.2), and what HTTP/2 forbids and h2 lets pass (section
/// 8.2.1). hyper's own limit is not exact.
fn check_fields<B>(request: &Request<B>, bytes_max: u32) -> Result<(), Problem> {
    let http2 = request.version() == Version::HTTP_2;
    // For HTTP/1 these are the colon, a blank and the end of the line.
    let overhead = if http2 { 32 } else { 4 };
    let mut fields = 0;
    for (name, value) in request.headers() {
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let value = value.as_bytes();
        if http2 && (is_blank(value.first()) || is_blank(value.last())) {
            return Err(malformed(format!("the value of {name} begins or ends with a blank")));
        }
        fields += name.as_str().len() + value.len() + overhead;
    }
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if fields.saturating_add(target) <= bytes_max {
        return Ok(());
    }
    let (code, what, bytes) = if target > fields {
        (Code::UriTooLong, "path and query take", target)
    } else {
        (Code::TooManyHeaders, "header fields take", fields)
    };
    let detail = format!("the {what} {bytes} bytes, expected at most {bytes_max} in the whole head");
    Err(Problem { detail: detail.into(), ..code.into() })
}

/// Checks the form of the request's target (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
fn check_target<B>(request: &Request<B>) -> Result<(), Problem> {
    let uri = request.uri();
    let asks_server = uri.path() == "*" && request.method() == Method::OPTIONS;
    let is_only_authority = uri.authority().is_some() && uri.scheme().is_none();
    if !is_only_authority && (uri.path().starts_with('/') || asks_server) {
        return Ok(());
    }
    let found = authority::shown(uri.to_string().as_bytes());
    Err(malformed(format!("the request's target is {found}, expected a path that begins with `/`, or a URI")))
}

/// Makes the one valid authority of the request that of its target and of its `host` header.
fn settle_host<B>(request: &mut Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    let missing = host.is_none() && request.version() == Version::HTTP_11;
    if missing || hosts.next().is_some() {
        return Err(malformed("the request has not exactly one host header"));
    }
    // A target without authority comes with an empty host (RFC 9112, section 3.2).
    let is_valid =
        |host: &HeaderValue| host.to_str().is_ok_and(|text| text.is_empty() || authority::is_valid(text));
    if let Some(host) = host.filter(|host| !is_valid(host)) {
        return Err(invalid("host header", host.as_bytes()));
    }
    let Some(target) = request.uri().authority() else { return Ok(()) };
    if !authority::is_valid(target.as_str()) {
        return Err(invalid("authority", target.as_str().as_bytes()));
    }
    let Some(host) = host.filter(|host| *host != target.as_str()) else { return Ok(()) };
    if request.version() == Version::HTTP_2 {
        let scheme = request.uri().scheme();
        if !host.to_str().is_ok_and(|host| authority::is_same(host, target.as_str(), scheme)) {
            let found = authority::shown(host.as_bytes());
            return Err(malformed(format!("the host header is {found}, expected the :authority {target}")));
        }
        return Ok(());
    }
    // The target wins, and the header is ignored (RFC 9112, section 3.2.2).
    let host = HeaderValue::try_from(target.as_str()).map_err(|_| Code::BadRequest)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// The host that a checked request is for, perhaps with a port.
pub(super) fn host<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    }
}

/// Whether a request has headers of ours. Few have any, and looking at the names costs less than looking for
/// each.
pub(super) fn has_own(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

/// Removes headers that are meant for the node and not for the guest, and those that only an event has.
#[cold]
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [VERSION, TOKEN, ATTEMPT, TRIGGER, ASYNC] {
        headers.remove(name);
    }
}

/// Whether a request is to be answered at once, before the function has handled it.
///
/// # Errors
/// It has the header, with another value than `1`.
pub(super) fn is_asynchronous(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(ASYNC).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"1") => Ok(true),
        Some(other) => {
            let found = authority::shown(other);
            Err(malformed(format!("the {ASYNC} header is {found}, expected 1")))
        }
    }
}

#[cold]
fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem { detail: detail.into(), ..Code::BadRequest.into() }
}

#[cold]
fn invalid(what: &str, found: &[u8]) -> Problem {
    let found = authority::shown(found);
    malformed(format!("the {what} is {found}, expected a host name or address, perhaps with a port"))
}
