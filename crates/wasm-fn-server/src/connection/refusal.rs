//! The responses that hyper gives by itself to heads that it cannot parse, in the form of the node's own.

use crate::{
    connection::state::PartialHead,
    request::RequestId,
    response::problem::{Code, Problem},
};

/// What hyper's own response to `head` becomes; `None` if `bytes` are no such response.
pub(super) fn explained(bytes: &[u8], head: &PartialHead) -> Option<Vec<u8>> {
    let text = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (line, fields) = text.split_once("\r\n")?;
    let (version, status) = line.split_once(' ')?;
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !fields.split("\r\n").any(is_empty) {
        return None;
    }
    let told = |code: Code, detail: &'static str| Problem { detail: detail.into(), ..code.into() };
    let problem = match status.get(..3)? {
        "400" | "431" if head.has_huge_length() => {
            told(Code::BodyTooLarge, "the content-length of the request is over every limit")
        }
        "400" => told(Code::BadRequest, "the head of the request is not valid HTTP/1.1"),
        "414" => Code::UriTooLong.into(),
        "431" if !head.has_line() => Code::UriTooLong.into(),
        "431" => Code::TooManyHeaders.into(),
        _ => return None,
    };
    let id = RequestId::random();
    tracing::debug!(request_id = %id, code = problem.code.as_str(), "request refused");
    let fields: Vec<_> = fields.split("\r\n").filter(|field| !is_empty(field)).collect();
    Some(problem.into_http1(id, &fields))
}

/// Whether `field` says that there is no body.
fn is_empty(field: &str) -> bool {
    field.eq_ignore_ascii_case("content-length: 0")
}
