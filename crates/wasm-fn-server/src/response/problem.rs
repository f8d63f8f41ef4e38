//! The only mapping from errors to responses (RFC 9457).

use std::{borrow::Cow, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{
    body::{ResponseBody, own},
    headers,
};
use crate::{
    failure::{FailureCause, InvokeFailure},
    invoke::Invoke,
    request::RequestId,
};

/// The media type of errors.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Longest text about a guest's failure that a client sees, bytes.
const DETAIL_BYTES_MAX: usize = 256;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: Cow<'static, str>,
    /// Only for codes with status 503.
    pub(crate) retry_after: Option<Duration>,
}

/// The stable codes of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BadRequest,
    MethodNotSupported,
    TransferCodingNotSupported,
    UriTooLong,
    TooManyHeaders,
    NoSuchFunction,
    OverrideMalformed,
    OverrideDenied,
    PreviewDenied,
    NoSuchVersion,
    BodyTooLarge,
    RequestTimeout,
    GuestTrap,
    GuestTimeout,
    GuestCpuExceeded,
    GuestOutOfMemory,
    GuestInvalidResponse,
    FunctionNotReady,
    FunctionOverloaded,
    NodeOverloaded,
    VersionRecalled,
    InternalError,
}

impl Code {
    /// The name, the status, and a sentence that is true whenever the code is used.
    fn describe(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST, "the request is malformed"),
            Self::MethodNotSupported => {
                ("method-not-supported", StatusCode::NOT_IMPLEMENTED, "functions cannot be tunnels")
            }
            Self::TransferCodingNotSupported => (
                "transfer-coding-not-supported",
                StatusCode::NOT_IMPLEMENTED,
                "the request body has a transfer coding other than chunked",
            ),
            Self::UriTooLong => {
                ("uri-too-long", StatusCode::URI_TOO_LONG, "the request's path and query are too long")
            }
            Self::TooManyHeaders => (
                "too-many-headers",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request has too many header fields, or they are too long",
            ),
            Self::NoSuchFunction => {
                ("no-such-function", StatusCode::NOT_FOUND, "no function answers at this address")
            }
            Self::OverrideMalformed => {
                ("override-malformed", StatusCode::BAD_REQUEST, "wasm-fn-version does not name a version")
            }
            Self::OverrideDenied => {
                ("override-denied", StatusCode::FORBIDDEN, "the version may not be chosen by this request")
            }
            Self::PreviewDenied => (
                "preview-denied",
                StatusCode::FORBIDDEN,
                "the addresses of this function's versions need a token for it",
            ),
            Self::NoSuchVersion => {
                ("no-such-version", StatusCode::NOT_FOUND, "the function has no such version")
            }
            Self::BodyTooLarge => {
                ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large")
            }
            Self::RequestTimeout => (
                "request-timeout",
                StatusCode::REQUEST_TIMEOUT,
                "the request's body did not come within the function's time",
            ),
            Self::GuestTrap => {
                ("guest-trap", StatusCode::INTERNAL_SERVER_ERROR, "the function stopped with a trap")
            }
            Self::GuestTimeout => {
                ("guest-timeout", StatusCode::GATEWAY_TIMEOUT, "the function did not answer in time")
            }
            Self::GuestCpuExceeded => {
                ("guest-cpu-exceeded", StatusCode::INTERNAL_SERVER_ERROR, "the function used up its CPU time")
            }
            Self::GuestOutOfMemory => (
                "guest-out-of-memory",
                StatusCode::INTERNAL_SERVER_ERROR,
                "the function ran out of its memory limit",
            ),
            Self::GuestInvalidResponse => (
                "guest-invalid-response",
                StatusCode::INTERNAL_SERVER_ERROR,
                "the function gave no valid response",
            ),
            Self::FunctionNotReady => (
                "function-not-ready",
                StatusCode::SERVICE_UNAVAILABLE,
                "the function's code is being compiled on this node",
            ),
            Self::FunctionOverloaded => {
                ("function-overloaded", StatusCode::SERVICE_UNAVAILABLE, "the function is at its limits")
            }
            Self::NodeOverloaded => {
                ("node-overloaded", StatusCode::SERVICE_UNAVAILABLE, "the node is at its limits")
            }
            Self::VersionRecalled => (
                "version-recalled",
                StatusCode::SERVICE_UNAVAILABLE,
                "the version was taken back while it worked on the request",
            ),
            Self::InternalError => {
                ("internal-error", StatusCode::INTERNAL_SERVER_ERROR, "the node failed to run the function")
            }
        }
    }

    /// The name that clients match on.
    pub(crate) fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        self.describe().1
    }

    /// Whether the node is at fault: it could not ask the function, or did not let it finish.
    pub(crate) fn is_of_node(self) -> bool {
        matches!(
            self,
            Self::FunctionNotReady
                | Self::FunctionOverloaded
                | Self::NodeOverloaded
                | Self::VersionRecalled
                | Self::InternalError
        )
    }
}

impl From<Code> for Problem {
    /// A problem with the sentence of its code.
    fn from(code: Code) -> Self {
        Self { code, detail: Cow::Borrowed(code.describe().2), retry_after: None }
    }
}

impl FailureCause {
    /// The status that a client sees.
    pub fn status(self) -> StatusCode {
        self.code().status()
    }

    /// The code that a client sees.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Trap => Code::GuestTrap,
            Self::Timeout | Self::BeganLate => Code::GuestTimeout,
            Self::CpuExceeded => Code::GuestCpuExceeded,
            Self::OutOfMemory => Code::GuestOutOfMemory,
            Self::InvalidResponse => Code::GuestInvalidResponse,
            Self::ClientTooSlow => Code::RequestTimeout,
            Self::BodyTooLarge => Code::BodyTooLarge,
            Self::UriTooLong => Code::UriTooLong,
            Self::HeaderTooLong => Code::TooManyHeaders,
            Self::Malformed => Code::BadRequest,
            Self::NotReady => Code::FunctionNotReady,
            Self::FunctionOverloaded => Code::FunctionOverloaded,
            Self::NodeOverloaded => Code::NodeOverloaded,
            Self::Recalled => Code::VersionRecalled,
            Self::Internal => Code::InternalError,
        }
    }

    /// Whether the client sees the details, because the guest or its own request is at fault.
    fn is_shown(self) -> bool {
        let of_request = matches!(self, Self::UriTooLong | Self::HeaderTooLong | Self::Malformed);
        self.outcome().is_failure() || of_request || self == Self::BeganLate
    }
}

impl From<InvokeFailure> for Problem {
    fn from(failure: InvokeFailure) -> Self {
        let mut problem = Self::from(failure.cause.code());
        if failure.cause.is_shown() && !failure.detail.is_empty() {
            let mut detail = failure.detail;
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
            problem.detail = Cow::Owned(detail);
        }
        if problem.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            problem.retry_after = Some(failure.retry_after.unwrap_or(Duration::from_secs(1)));
        }
        problem
    }
}

/// The JSON form.
#[derive(Serialize)]
struct Wire<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
}

impl Problem {
    /// A request body longer than `limit` bytes.
    pub(crate) fn body_too_large(limit: u64) -> Self {
        let detail = format!("the request body is longer than the limit of {limit} bytes");
        Self { detail: Cow::Owned(detail), ..Code::BodyTooLarge.into() }
    }

    /// A request that waited too long for a thread.
    pub(crate) fn waited_too_long() -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Code::NodeOverloaded.into() }
    }

    /// The body.
    pub(crate) fn json(&self, id: RequestId) -> Vec<u8> {
        let (code, status, _) = self.code.describe();
        let wire = Wire {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            detail: &self.detail,
            code,
            request_id: &id.to_string(),
        };
        serde_json::to_vec(&wire).expect("a struct of texts and numbers is JSON")
    }

    /// The whole response with `fields` to an HTTP/1 request that has no valid head, and gets the `id`.
    pub(crate) fn into_http1(self, id: RequestId, fields: &[&str]) -> Vec<u8> {
        let (status, json, name) = (self.code.status(), self.json(id), headers::REQUEST_ID);
        let mut response = format!("HTTP/1.1 {status}\r\n");
        for field in fields {
            response.extend([field, "\r\n"]);
        }
        let length = json.len();
        response +=
            &format!("content-type: {MEDIA_TYPE}\r\ncontent-length: {length}\r\n{name}: {id}\r\n\r\n");
        [response.as_bytes(), &json].concat()
    }

    /// The response to the request with `id`.
    pub(crate) fn into_response<V: Invoke>(self, id: RequestId) -> Response<ResponseBody<V>> {
        let mut response = Response::new(own(self.json(id)));
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(self.code);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        fields.insert(headers::REQUEST_ID, id.header_value());
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).clamp(1, 3600);
            fields.insert(header::RETRY_AFTER, HeaderValue::from(u16::try_from(seconds).unwrap_or(3600)));
        }
        response
    }
}

#[cfg(test)]
mod tests;
