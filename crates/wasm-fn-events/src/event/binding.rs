//! Events as HTTP requests, in binary content mode.

use std::{borrow::Cow, str::FromStr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use wasm_fn_core::TriggerName;

use super::{
    ATTRIBUTE_BYTES_MAX, Attribute, AttributeError, CloudEvent, EXTENSIONS_MAX, Extensions,
    attribute::is_known,
};
use crate::{Timestamp, TimestampError};

/// The header that says by which trigger a request came.
pub const TRIGGER_HEADER: HeaderName = HeaderName::from_static("wasm-fn-trigger");

/// The header that says which delivery of its event a request is, from 1.
pub const ATTEMPT_HEADER: HeaderName = HeaderName::from_static("wasm-fn-attempt");

/// What names of attributes have before them as headers (section 3.1.3.1).
const PREFIX: &str = "ce-";

/// The headers of the attributes that every event has.
const SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
const ID: HeaderName = HeaderName::from_static("ce-id");
const SOURCE: HeaderName = HeaderName::from_static("ce-source");
const TYPE: HeaderName = HeaderName::from_static("ce-type");
const TIME: HeaderName = HeaderName::from_static("ce-time");

/// The header of an attribute that many have.
const SUBJECT: HeaderName = HeaderName::from_static("ce-subject");

/// What must be percent-encoded in a header (section 3.1.3.2), beside all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Why a request is not a valid event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is of another version of the spec.
    #[error("header ce-specversion is not 1.0, the only version that is known")]
    Version,
    /// A required attribute is missing.
    #[error("header {header} is missing")]
    Missing {
        /// The header.
        header: &'static str,
    },
    /// An attribute is there more than once.
    #[error("header {header} is there more than once")]
    Doubled {
        /// The header.
        header: String,
    },
    /// An attribute's value is not valid.
    #[error("header {header} is not valid: {cause}")]
    Value {
        /// The header.
        header: String,
        /// What is wrong with it.
        cause: ValueError,
    },
    /// There are too many extensions.
    #[error("there are more than {EXTENSIONS_MAX} extension attributes")]
    TooMany,
    /// It is in structured or batched content mode.
    #[error("content type {found:?} is not supported, expected binary content mode, with ce- headers")]
    Mode {
        /// The content type.
        found: String,
    },
}

/// What is wrong with the value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is not a value that attributes have.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// It is not text.
    #[error("it is not UTF-8 after percent-decoding")]
    Text,
    /// It begins a quoted text and does not end it.
    #[error("it has a double quote that is not closed")]
    Quote,
    /// It is no time.
    #[error(transparent)]
    Time(#[from] TimestampError),
}

/// Whether requests from outside may not have this header: those by which a function knows that a request is
/// a delivery, and which. Remove them before a guest sees them.
///
/// Headers that begin with `ce-` are not reserved: anybody may send a function an event, as to any web
/// server. Only these two say that it came by a trigger. Other headers that begin with `wasm-fn-` have rules
/// of their own where they are read.
pub fn is_reserved(name: &HeaderName) -> bool {
    *name == TRIGGER_HEADER || *name == ATTEMPT_HEADER
}

impl CloudEvent {
    /// The headers of the request that delivers this event for the time `attempt`, from 1. Its method is
    /// `POST`, and its body [`data`](Self::data).
    pub fn headers(&self, trigger: &TriggerName, attempt: u32) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8 + self.extensions.iter().count());
        headers.insert(SPECVERSION, HeaderValue::from_static("1.0"));
        headers.insert(ID, encode(self.id.as_str()));
        headers.insert(SOURCE, encode(self.source.as_str()));
        headers.insert(TYPE, encode(self.event_type.as_str()));
        headers.insert(TIME, encode(&self.time.to_string()));
        if let Some(subject) = &self.subject {
            headers.insert(SUBJECT, encode(subject.as_str()));
        }
        for (name, value) in self.extensions.iter() {
            let name = HeaderName::from_bytes(format!("{PREFIX}{}", name.as_str()).as_bytes());
            headers.insert(name.expect("names of attributes are letters and digits"), encode(value.as_str()));
        }
        if let Some(content_type) = &self.content_type {
            let value = HeaderValue::from_str(content_type.as_str());
            headers.insert(CONTENT_TYPE, value.expect("it is visible ASCII"));
        }
        headers.insert(TRIGGER_HEADER, encode(trigger.as_str()));
        headers.insert(ATTEMPT_HEADER, attempt.into());
        headers
    }

    /// The event that a request in binary content mode is; `None` if it is no CloudEvent. An event that says
    /// no time happened at `now`.
    ///
    /// # Errors
    ///
    /// [`EventError`] if it claims to be an event and is not a valid one.
    pub fn from_request(
        headers: &HeaderMap,
        data: Bytes,
        now: Timestamp,
    ) -> Result<Option<Self>, EventError> {
        let content_type = headers.get(CONTENT_TYPE);
        if let Some(found) =
            content_type.and_then(|value| value.to_str().ok()).filter(|text| is_other_mode(text))
        {
            return Err(EventError::Mode { found: found.chars().take(128).collect() });
        }
        match attribute::<Attribute>(headers, "ce-specversion")? {
            None => return Ok(None),
            Some(version) if version.as_str() == "1.0" => {}
            Some(_) => return Err(EventError::Version),
        }
        let content_type = one(headers, CONTENT_TYPE.as_str())?.map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ValueError::Text);
            let parsed = text.and_then(|text| Ok(text.parse()?));
            parsed.map_err(|cause| invalid(CONTENT_TYPE.as_str(), cause))
        });
        Ok(Some(Self {
            id: required(headers, "ce-id")?,
            source: required(headers, "ce-source")?,
            event_type: required(headers, "ce-type")?,
            time: attribute(headers, "ce-time")?.unwrap_or(now),
            subject: attribute(headers, "ce-subject")?,
            content_type: content_type.transpose()?,
            extensions: extensions(headers)?,
            data,
        }))
    }
}

fn extensions(headers: &HeaderMap) -> Result<Extensions, EventError> {
    let mut extensions = Extensions::default();
    for header in headers.keys().map(HeaderName::as_str) {
        let Some(name) = header.strip_prefix(PREFIX).filter(|name| !is_known(name)) else { continue };
        let name = name.parse().map_err(|cause: AttributeError| invalid(header, cause.into()))?;
        if let Some(value) = attribute(headers, header)? {
            extensions.add(name, value)?;
        }
    }
    Ok(extensions)
}

/// The error that `header` has a value or a name that is not valid.
fn invalid(header: &str, cause: ValueError) -> EventError {
    EventError::Value { header: header.chars().take(128).collect(), cause }
}

/// Whether the event is in the body, with its attributes.
fn is_other_mode(content_type: &str) -> bool {
    content_type
        .get(.."application/cloudevents".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents"))
}

fn required<T: FromStr<Err: Into<ValueError>>>(
    headers: &HeaderMap,
    header: &'static str,
) -> Result<T, EventError> {
    attribute(headers, header)?.ok_or(EventError::Missing { header })
}

/// The value of an attribute, if it is there.
fn attribute<T: FromStr<Err: Into<ValueError>>>(
    headers: &HeaderMap,
    header: &str,
) -> Result<Option<T>, EventError> {
    let Some(value) = one(headers, header)? else { return Ok(None) };
    let parsed = decode(value.as_bytes()).and_then(|text| text.parse().map_err(Into::into));
    parsed.map(Some).map_err(|cause| invalid(header, cause))
}

/// The value of a header that may not be there twice.
fn one<'a>(headers: &'a HeaderMap, header: &str) -> Result<Option<&'a HeaderValue>, EventError> {
    let mut values = headers.get_all(header).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(EventError::Doubled { header: header.to_owned() }),
        (value, None) => Ok(value),
    }
}

/// A value as a header has it (section 3.1.3.2).
fn encode(value: &str) -> HeaderValue {
    let text: Cow<'_, str> = utf8_percent_encode(value, ENCODED).into();
    HeaderValue::from_str(&text).expect("what is left is visible ASCII")
}

/// The value that a header has (section 3.1.3.2): quotes are resolved, then percent-encodings.
fn decode(value: &[u8]) -> Result<String, ValueError> {
    // Each byte may be encoded as three, and escaped in quotes.
    if value.len() > 6 * ATTRIBUTE_BYTES_MAX {
        return Err(AttributeError::TooLong { bytes: value.len() }.into());
    }
    let text = std::str::from_utf8(value).map_err(|_| ValueError::Text)?;
    let mut plain = String::with_capacity(text.len());
    let (mut chars, mut is_quoted) = (text.chars(), false);
    while let Some(c) = chars.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => plain.push(chars.next().ok_or(ValueError::Quote)?),
            c => plain.push(c),
        }
    }
    if is_quoted {
        return Err(ValueError::Quote);
    }
    let decoded = percent_decode_str(&plain).decode_utf8().map_err(|_| ValueError::Text)?;
    Ok(decoded.into_owned())
}
