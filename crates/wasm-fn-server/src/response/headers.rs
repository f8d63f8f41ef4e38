//! The headers of our own.

use http::HeaderName;

/// How all of them begin.
pub(crate) const PREFIX: &str = "wasm-fn-";

/// Names the version that answered; on a request, the version that should.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("wasm-fn-version");

/// The token that allows a request to name its version.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("wasm-fn-token");

/// The trigger of an event, on its deliveries.
pub(crate) const TRIGGER: HeaderName = HeaderName::from_static("wasm-fn-trigger");

/// Which attempt to deliver an event this is, from 1.
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("wasm-fn-attempt");

/// Asks for an answer at once, before the function has handled the request.
pub(crate) const ASYNC: HeaderName = HeaderName::from_static("wasm-fn-async");

/// The request's id, on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("wasm-fn-request-id");

/// Says that the response comes from a second run.
pub(crate) const SHIELDED: HeaderName = HeaderName::from_static("wasm-fn-shielded");
