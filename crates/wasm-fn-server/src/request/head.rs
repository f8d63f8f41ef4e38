//! The heads of requests: checked, and stripped of what is not meant for the guest.

use http::{HeaderMap, Method, Request, Version, header};

use crate::response::{
    headers::{TOKEN, VERSION},
    problem::{Code, Problem},
};

/// The host that a request is for, possibly with a port.
///
/// # Errors
/// An HTTP/1.1 request does not have exactly one host, as RFC 9112, section 3.2 demands.
pub(super) fn host<B>(request: &Request<B>) -> Result<Option<&str>, Problem> {
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

/// Refuses requests that no function can answer, before anything is looked up.
pub(super) fn check<B>(request: &Request<B>, headers_max: usize) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Code::MethodNotSupported.into());
    }
    if request.headers().len() > headers_max {
        return Err(Code::TooManyHeaders.into());
    }
    Ok(())
}

/// Removes headers that are meant for the node and not for the guest.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(VERSION);
    headers.remove(TOKEN);
}
