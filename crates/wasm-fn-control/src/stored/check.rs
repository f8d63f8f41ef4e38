//! The stored form of a check of a blue-green rollout.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Malformed;
use crate::state::{Check, CheckText};

/// The stored form of [`Check`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredCheck {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default)]
    expect: StoredExpectation,
}

/// The expected answer.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredExpectation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    json: BTreeMap<String, Value>,
}

impl From<&Check> for StoredCheck {
    fn from(check: &Check) -> Self {
        let headers = |headers: &[(HeaderName, HeaderValue)]| {
            let text = |(name, value): &(HeaderName, HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            headers.iter().map(text).collect()
        };
        Self {
            method: Some(check.method.to_string()),
            path: check.path.to_string(),
            headers: headers(&check.headers),
            body: Some(check.body.clone()).filter(|body| !body.is_empty()),
            expect: StoredExpectation {
                status: Some(check.status.as_u16()),
                headers: headers(&check.expected_headers),
                body: check.pattern.as_ref().map(ToString::to_string),
                json: check.json.clone(),
            },
        }
    }
}

impl TryFrom<&StoredCheck> for Check {
    type Error = Malformed;

    fn try_from(stored: &StoredCheck) -> Result<Self, Malformed> {
        let StoredCheck { method, path, headers, body, expect } = stored;
        let check = Self::parse(CheckText {
            method: method.as_deref(),
            path,
            headers,
            body: body.as_deref(),
            status: expect.status,
            expected_headers: &expect.headers,
            pattern: expect.body.as_deref(),
            json: &expect.json,
        });
        check.map_err(Malformed::new)
    }
}

#[cfg(test)]
mod tests;
