//! The web page of a node: its files, embedded, and the headers that they are sent with.
//!
//! The files in `assets/` are as the browser gets them: there is nothing to build. `assets/vendor/` has what
//! others wrote, with its licence.
//!
//! Invariants: this crate knows neither the control plane nor the admin API; the page asks that by HTTP like
//! any other client. No file allows scripts or styles that are not files here.

use std::{io::Write as _, sync::LazyLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// What the browser may load, and from where (Content Security Policy Level 3): only files of this page, and
/// answers of this node.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The headers of every file.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // The files belong to the binary: the next one has others under the same names.
    (header::CACHE_CONTROL, "no-cache"),
];

/// A file of the page.
struct Asset {
    /// The path below `/ui/`.
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// A file, ready to be sent.
struct Prepared {
    asset: &'static Asset,
    gzip: Bytes,
    etag: HeaderValue,
}

macro_rules! asset {
    ($path:literal, $file:literal, $media_type:literal) => {
        Asset { path: $path, media_type: $media_type, bytes: include_bytes!(concat!("../assets/", $file)) }
    };
}

static ASSETS: [Asset; 16] = [
    asset!("", "index.html", "text/html; charset=utf-8"),
    asset!("page.css", "page.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "icon.svg", "image/svg+xml"),
    asset!("page.js", "page.js", "text/javascript; charset=utf-8"),
    asset!("node.js", "node.js", "text/javascript; charset=utf-8"),
    asset!("dom.js", "dom.js", "text/javascript; charset=utf-8"),
    asset!("charts.js", "charts.js", "text/javascript; charset=utf-8"),
    asset!("views/functions.js", "views/functions.js", "text/javascript; charset=utf-8"),
    asset!("views/function.js", "views/function.js", "text/javascript; charset=utf-8"),
    asset!("views/rollout.js", "views/rollout.js", "text/javascript; charset=utf-8"),
    asset!("views/logs.js", "views/logs.js", "text/javascript; charset=utf-8"),
    asset!("views/traces.js", "views/traces.js", "text/javascript; charset=utf-8"),
    asset!("views/triggers.js", "views/triggers.js", "text/javascript; charset=utf-8"),
    asset!("views/node.js", "views/node.js", "text/javascript; charset=utf-8"),
    asset!("vendor/uPlot.js", "vendor/uPlot.js", "text/javascript; charset=utf-8"),
    asset!("vendor/uPlot.css", "vendor/uPlot.css", "text/css; charset=utf-8"),
];

static PREPARED: LazyLock<Vec<Prepared>> = LazyLock::new(|| ASSETS.iter().map(Prepared::new).collect());

impl Prepared {
    fn new(asset: &'static Asset) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail.
        let gzip = encoder.write_all(asset.bytes).and_then(|()| encoder.finish()).unwrap_or_default();
        // The checksum is in the last eight bytes (RFC 1952, section 2.3.1), with the length.
        let sum = gzip.iter().rev().take(8).fold(String::new(), |sum, byte| sum + &format!("{byte:02x}"));
        let etag = HeaderValue::from_str(&format!("\"{sum}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { asset, gzip: gzip.into(), etag }
    }
}

/// The answer to a request for the file at `path` below `/ui/`; `None` if there is no such file.
///
/// The file is compressed if the client's `headers` accept that. A client that has it already is told so.
pub fn respond(path: &str, headers: &HeaderMap) -> Option<Response<Bytes>> {
    let prepared = PREPARED.iter().find(|prepared| prepared.asset.path == path)?;
    let mut response = Response::new(Bytes::new());
    let sent = response.headers_mut();
    for (name, value) in HEADERS {
        sent.insert(name, HeaderValue::from_static(value));
    }
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(prepared.asset.media_type));
    sent.insert(header::ETAG, prepared.etag.clone());
    sent.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|value| *value == prepared.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if accepts_gzip(headers) {
        sent.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *response.body_mut() = prepared.gzip.clone();
    } else {
        *response.body_mut() = Bytes::from_static(prepared.asset.bytes);
    }
    Some(response)
}

/// Whether a client accepts gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| matches!(part.strip_prefix("q=").map(str::parse), Some(Ok(0.0))));
        is_gzip && !refused
    })
}

#[cfg(test)]
mod tests;
