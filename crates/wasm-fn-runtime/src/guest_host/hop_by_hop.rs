//! Fields that are for one connection only (RFC 9110, section 7.6.1).
//!
//! A guest never sees `Connection`, so it cannot leave out what that names when it passes a message on.

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, CONTENT_LENGTH, HOST},
};
use http_body::Frame;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::WasiBody;

/// A field for the connection that old clients send with the option of this name.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Removes `Connection` and the fields that it names from a head. Returns the names, for
/// [`without_trailers`].
pub(crate) fn remove(fields: &mut HeaderMap) -> Vec<HeaderName> {
    if !fields.contains_key(CONNECTION) {
        return Vec::new();
    }
    let names = named(fields);
    fields.remove(CONNECTION);
    fields.remove(KEEP_ALIVE);
    for name in &names {
        fields.remove(name);
    }
    names
}

/// The fields that `Connection` names, without its usual options. Some fields stay though they are named: the
/// message would be another one without them.
fn named(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(CONNECTION).iter();
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok());
    names.filter(|name| ![CONTENT_LENGTH, HOST, KEEP_ALIVE].contains(name) && *name != "close").collect()
}

/// `body` without trailer fields of these names.
pub(crate) fn without_trailers(body: WasiBody, names: Vec<HeaderName>) -> WasiBody {
    if names.is_empty() {
        return body;
    }
    let change = move |frame: Frame<_>| match frame.into_trailers() {
        Ok(mut trailers) => {
            for name in &names {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    };
    body.map_frame(change).boxed_unsync()
}

#[cfg(test)]
mod tests;
