//! Events, as CloudEvents 1.0.2: what happened, and the request by which a function gets it.
//!
//! Spec: cloudevents/spec, `spec.md` (attributes) and `bindings/http-protocol-binding.md`, section 3.1
//! (binary content mode). Structured and batched mode are not read.

mod attribute;
mod binding;
mod order;

use bytes::Bytes;

use crate::{Provider, Tick, Timestamp, TriggerId, Verified};

pub use attribute::{
    ATTRIBUTE_BYTES_MAX, Attribute, AttributeError, ContentType, EXTENSION_NAME_BYTES_MAX, ExtensionName,
    UriReference,
};
pub use binding::{ATTEMPT_HEADER, EventError, TRIGGER_HEADER, ValueError, is_reserved};
pub use order::{ORDERING_KEY_BYTES_MAX, ordering_key};

/// Most extension attributes of an event.
pub const EXTENSIONS_MAX: usize = 32;

/// The type of the event that is a tick of a schedule.
pub const TICK_TYPE: &str = "wasm-fn.schedule.tick";

/// The type of the event that a watched tag has another digest.
pub const ARTIFACT_TYPE: &str = "wasm-fn.artifact.changed";

/// One thing that happened. Holding one proves that it has a valid form on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// `id`: what tells it from others of its source. The same event that comes twice has the same.
    pub id: Attribute,
    /// `source`: where it happened.
    pub source: UriReference,
    /// `type`: what kind of thing happened.
    pub event_type: Attribute,
    /// `time`: when.
    pub time: Timestamp,
    /// `subject`: to what.
    pub subject: Option<Attribute>,
    /// `datacontenttype`, which is the `content-type` of requests.
    pub content_type: Option<ContentType>,
    /// All other attributes.
    pub extensions: Extensions,
    /// `data`: the body of requests.
    pub data: Bytes,
}

/// Extension attributes, at most [`EXTENSIONS_MAX`], of which no two have the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(ExtensionName, Attribute)>);

impl Extensions {
    /// Adds an attribute.
    ///
    /// # Errors
    ///
    /// [`EventError`] if there is one of this name, or there are too many.
    pub fn add(&mut self, name: ExtensionName, value: Attribute) -> Result<(), EventError> {
        if self.0.iter().any(|(other, _)| *other == name) {
            return Err(EventError::Doubled { header: format!("ce-{name}") });
        }
        if self.0.len() == EXTENSIONS_MAX {
            return Err(EventError::TooMany);
        }
        self.0.push((name, value));
        Ok(())
    }

    /// The attributes, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&ExtensionName, &Attribute)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl CloudEvent {
    /// The event that is a tick of a schedule. It has the tick's time as its id, so that a tick that is put
    /// into the inbox twice, around a crash, is known to be the same.
    pub fn tick(trigger: &TriggerId, tick: Tick) -> Self {
        let at = tick.at.to_string();
        Self {
            id: known(&at),
            source: source(trigger),
            event_type: known(TICK_TYPE),
            time: tick.at,
            subject: None,
            content_type: None,
            extensions: Extensions::default(),
            data: Bytes::new(),
        }
    }

    /// The event that the watched tag `artifact` has another `digest`, as seen at `now`. A tag may get a
    /// digest back that it had before, so the id has the time, too.
    pub fn artifact_changed(trigger: &TriggerId, artifact: &str, digest: &str, now: Timestamp) -> Self {
        let data = serde_json::json!({ "artifact": artifact, "digest": digest });
        Self {
            id: known(&format!("{digest}@{}", now.unix_ms())),
            source: source(trigger),
            event_type: known(ARTIFACT_TYPE),
            time: now,
            subject: artifact.parse().ok(),
            content_type: "application/json".parse().ok(),
            extensions: Extensions::default(),
            data: data.to_string().into(),
        }
    }

    /// The event that a provider's request is. `id` is its id if the provider gave none. Its type is the
    /// provider's with a prefix, such as `com.github.push`.
    pub fn webhook(
        trigger: &TriggerId,
        provider: Provider,
        verified: &Verified,
        id: &Attribute,
        content_type: Option<ContentType>,
        body: Bytes,
    ) -> Self {
        // What was verified is text of bounded length without control characters.
        let delivered = verified.delivery_id.as_deref().and_then(|id| id.parse().ok());
        let event_type = provider.type_of(verified.event_type.as_deref());
        Self {
            id: delivered.unwrap_or_else(|| id.clone()),
            source: source(trigger),
            event_type: event_type.parse().unwrap_or_else(|_| known(provider.prefix())),
            time: verified.time,
            subject: None,
            content_type,
            extensions: Extensions::default(),
            data: body,
        }
    }
}

/// The source of events that a trigger of this node makes: `/functions/hello/stages/live/triggers/nightly`.
fn source(trigger: &TriggerId) -> UriReference {
    let TriggerId { function, stage, name } = trigger;
    let text = format!("/functions/{function}/stages/{stage}/triggers/{name}");
    text.parse().expect("names are short and have no characters that paths have not")
}

/// A text that this crate has, or made of a time.
fn known(text: &str) -> Attribute {
    text.parse().expect("it is short and has no control characters")
}

#[cfg(test)]
mod tests;
