//! The request by which a function gets an event, as the inbox keeps it.

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{CONTENT_LENGTH, EXPECT, HOST, TRAILER, TRANSFER_ENCODING},
};
use serde::{Deserialize, Serialize};
use wasm_fn_core::TriggerName;
use wasm_fn_events::{ATTEMPT_HEADER, CloudEvent, EventPath, TriggerId};

/// A request that is delivered, perhaps several times.
#[derive(Clone, Debug)]
pub struct EventRequest {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: Uri,
    /// Its headers, without that of the attempt.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A stored request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored event cannot be read: {0}")]
pub struct MalformedRequest(String);

/// The head: a line of JSON, before the body.
#[derive(Serialize, Deserialize)]
struct StoredHead {
    method: String,
    target: String,
    /// Each character of a value is a byte, since a value need not be UTF-8.
    headers: Vec<(String, String)>,
}

impl EventRequest {
    /// The request that carries `event` of `trigger` to the function's `path`.
    pub fn of_event(trigger: &TriggerName, path: &EventPath, event: CloudEvent) -> Self {
        let mut headers = event.headers(trigger, 1);
        headers.remove(ATTEMPT_HEADER);
        let target = path.as_str().parse().expect("a path in its normal form is a target");
        Self { method: Method::POST, target, headers, body: event.data }
    }

    /// The request for the given `attempt`, from 1, of an event of `trigger`. With an `ordering_key`, that is
    /// also the sticky key, so that events in order stay on one version.
    pub fn attempt(
        self,
        trigger: Option<&TriggerId>,
        attempt: u32,
        ordering_key: Option<&str>,
    ) -> Request<Bytes> {
        let Self { method, target, headers, body } = self;
        let length = HeaderValue::from(body.len());
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, target, headers);
        let headers = request.headers_mut();
        headers.insert(ATTEMPT_HEADER, attempt.into());
        if let Some(trigger) = trigger {
            headers.entry(HOST).or_insert_with(|| host(trigger));
        }
        if let Some(Ok(key)) = ordering_key.map(|key| HeaderValue::from_bytes(key.as_bytes())) {
            headers.insert(KEY_HEADER, key);
        }
        // The body is whole now, however it came.
        for framing in [TRANSFER_ENCODING, TRAILER, EXPECT] {
            headers.remove(framing);
        }
        headers.insert(CONTENT_LENGTH, length);
        request
    }

    /// The text to store.
    pub fn encode(&self) -> Bytes {
        let headers = self.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), value.as_bytes().iter().map(|&byte| char::from(byte)).collect())
        });
        let head = StoredHead {
            method: self.method.to_string(),
            target: self.target.to_string(),
            headers: headers.collect(),
        };
        let head = serde_json::to_vec(&head).expect("a struct of texts is JSON");
        let mut bytes = BytesMut::with_capacity(head.len() + 1 + self.body.len());
        bytes.put_slice(&head);
        bytes.put_u8(b'\n');
        bytes.put_slice(&self.body);
        bytes.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn decode(stored: &Bytes) -> Result<Self, MalformedRequest> {
        // JSON as it is written here has no line break.
        let end = stored.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| MalformedRequest("it has no head".to_owned()))?;
        let malformed = |error: &dyn std::error::Error| MalformedRequest(error.to_string());
        let head: StoredHead = serde_json::from_slice(&stored[..end]).map_err(|error| malformed(&error))?;
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            let bytes: Option<Vec<u8>> = value.chars().map(|byte| u8::try_from(byte).ok()).collect();
            let bytes = bytes.ok_or_else(|| MalformedRequest(format!("value of {name} has no bytes")))?;
            let name: HeaderName = name.parse().map_err(|error| malformed(&error))?;
            headers.append(name, HeaderValue::from_bytes(&bytes).map_err(|error| malformed(&error))?);
        }
        Ok(Self {
            method: head.method.parse().map_err(|error| malformed(&error))?,
            target: head.target.parse().map_err(|error| malformed(&error))?,
            headers,
            body: stored.slice(end + 1..),
        })
    }
}

/// The header of the sticky key.
const KEY_HEADER: HeaderName = HeaderName::from_static("wasm-fn-key");

/// What a function sees as its host: there is no address that the event was sent to.
fn host(trigger: &TriggerId) -> HeaderValue {
    let host = format!("{}.{}.internal", trigger.function, trigger.stage);
    HeaderValue::from_str(&host).expect("names are letters, digits and dashes")
}

#[cfg(test)]
mod tests;
