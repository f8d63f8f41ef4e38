//! The headers of our own.

use http::HeaderName;

/// Names the version that answered; on a request, the version that should.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("wasm-fn-version");

/// The token that allows a request to name its version.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("wasm-fn-token");

/// The request's id, on every response.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("wasm-fn-request-id");

/// Says that the response comes from a second run.
pub(crate) const SHIELDED: HeaderName = HeaderName::from_static("wasm-fn-shielded");
