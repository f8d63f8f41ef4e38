//! What a verified body says of its event, for providers that say it there.

use serde::Deserialize;

use super::FACT_BYTES_MAX;

/// Members of a JSON body; a body that is not JSON, or has other values there, has none of them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    pub(super) id: Fact,
    #[serde(rename = "type")]
    pub(super) event_type: Fact,
    pub(super) event_id: Fact,
    pub(super) event: Inner,
    pub(super) challenge: Fact,
}

/// The event in an envelope.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) event_type: Fact,
}

/// A text of bounded length without control characters, if there is one.
#[derive(Default)]
pub(super) struct Fact(pub(super) Option<String>);

impl Facts {
    pub(super) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

impl Fact {
    fn of(value: &serde_json::Value) -> Self {
        let fits =
            |text: &&str| (1..=FACT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        Self(value.as_str().filter(fits).map(str::to_owned))
    }
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self::of(&value))
    }
}

impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self { event_type: value.get("type").map(Fact::of).unwrap_or_default() })
    }
}
