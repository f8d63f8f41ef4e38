//! Messages of a stream, as events.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::StreamName;
use crate::{ATTRIBUTE_BYTES_MAX, Attribute, CloudEvent, Extensions, Timestamp, UriReference};

/// The type of the event that is a message which is not a CloudEvent itself.
pub const MESSAGE_TYPE: &str = "nats.message";

/// Most headers of a message that a function sees.
pub const MESSAGE_HEADERS_MAX: usize = 64;

/// Most bytes of names and values of a message's headers that a function sees.
pub const MESSAGE_HEADER_BYTES_MAX: usize = 16 << 10;

/// The header by which publishers name their messages (NATS, "Headers").
const MESSAGE_ID: &str = "nats-msg-id";

/// What the name of each header of a message begins with when a function sees it.
const PREFIX: &str = "nats-";

/// What is percent-encoded in a source, beside letters and digits.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its subject.
    pub subject: String,
    /// Its number in the stream, from 1.
    pub sequence: u64,
    /// When the stream got it.
    pub published: Timestamp,
    /// Its headers, as far as their names and values are such that HTTP has them.
    pub headers: HeaderMap,
    /// What it carries.
    pub data: Bytes,
}

impl QueueMessage {
    /// What tells the message from all others of `stream` and of streams that had its name before:
    /// `ORDERS:42:1796040000000`. A stream that is made anew counts from 1 again.
    pub fn position(&self, stream: &StreamName) -> String {
        format!("{stream}:{}:{}", self.sequence, self.published.unix_ms())
    }

    /// The event that the message is, of `stream`: as its publisher says, if it has the headers of a valid
    /// CloudEvent (CloudEvents 1.0.2, "NATS Protocol Binding", section 3.1); else one of the type
    /// [`MESSAGE_TYPE`], whose id is that which the publisher gave the message, or its
    /// [`position`](Self::position).
    pub fn event(&self, stream: &StreamName) -> CloudEvent {
        let said = CloudEvent::from_request(&self.headers, self.data.clone(), self.published);
        if let Ok(Some(event)) = said {
            return event;
        }
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let id: Option<Attribute> = text(MESSAGE_ID).and_then(|id| id.parse().ok());
        let position = || self.position(stream).parse().expect("names of streams are short and visible");
        CloudEvent {
            id: id.unwrap_or_else(position),
            source: source(stream),
            event_type: MESSAGE_TYPE.parse().expect("it is short text"),
            time: self.published,
            subject: self.subject.parse().ok(),
            content_type: text(CONTENT_TYPE.as_str()).and_then(|found| found.parse().ok()),
            extensions: Extensions::default(),
            data: self.data.clone(),
        }
    }

    /// The headers that a function sees beside those of the event: where in `stream` the message is, and the
    /// message's own, with `nats-` before their names unless they begin so. Headers of CloudEvents and the
    /// content type are not among them, nor what is beyond the bounds.
    pub fn headers(&self, stream: &StreamName) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut bytes = 0;
        for (name, value) in &self.headers {
            if *name == CONTENT_TYPE || name.as_str().starts_with("ce-") {
                continue;
            }
            let prefix = if name.as_str().starts_with(PREFIX) { "" } else { PREFIX };
            let Ok(name) = HeaderName::try_from(format!("{prefix}{name}")) else { continue };
            bytes += name.as_str().len() + value.len();
            if headers.len() == MESSAGE_HEADERS_MAX || bytes > MESSAGE_HEADER_BYTES_MAX {
                break;
            }
            headers.append(name, value.clone());
        }
        let stream = HeaderValue::from_str(stream.as_str()).expect("names of streams are visible ASCII");
        headers.insert(HeaderName::from_static("nats-stream"), stream);
        headers.insert(HeaderName::from_static("nats-sequence"), self.sequence.into());
        headers
    }
}

/// `nats:ORDERS`, for the stream `ORDERS`.
fn source(stream: &StreamName) -> UriReference {
    let name = utf8_percent_encode(stream.as_str(), ENCODED).to_string();
    // Each byte may be encoded as three.
    debug_assert!(name.len() <= ATTRIBUTE_BYTES_MAX, "names of streams are at most 255 bytes long");
    format!("nats:{name}").parse().expect("what is encoded has only characters of URIs")
}
