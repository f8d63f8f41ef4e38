//! The stored form of secrets, which are sealed wherever they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_fn_secrets::SecretRevision;

use super::{Malformed, parse};
use crate::state;

/// The stored form of [`state::SecretPins`].
pub(crate) type StoredPins = BTreeMap<String, u32>;

/// The stored form of [`state::FunctionSecrets`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSecrets {
    first: u32,
    stages: BTreeMap<String, BTreeMap<String, Vec<StoredEntry>>>,
}

/// The stored form of [`state::SecretEntry`], with its revision.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredEntry {
    revision: u32,
    sealed: String,
    set_ms: u64,
    set_by: String,
}

/// The stored form of [`state::NewSecret`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredNewSecret {
    name: String,
    revision: u32,
    sealed: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<u32>,
}

/// The stored form of [`state::ResealedValue`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredResealed {
    stage: String,
    name: String,
    revision: u32,
    sealed: String,
}

/// Reads the number of a revision.
pub(super) fn revision(number: u32) -> Result<SecretRevision, Malformed> {
    SecretRevision::new(number).ok_or_else(|| Malformed("revision 0 of a secret, expected 1 or more".into()))
}

pub(super) fn revisions(numbers: &[u32]) -> Result<Vec<SecretRevision>, Malformed> {
    numbers.iter().map(|&number| revision(number)).collect()
}

pub(super) fn stored_pins(pins: &state::SecretPins) -> StoredPins {
    pins.iter().map(|(name, revision)| (name.to_string(), revision.number())).collect()
}

pub(super) fn pins(stored: &StoredPins) -> Result<state::SecretPins, Malformed> {
    stored.iter().map(|(name, &number)| Ok((parse(name)?, revision(number)?))).collect()
}

impl Default for StoredSecrets {
    fn default() -> Self {
        Self { first: SecretRevision::FIRST.number(), stages: BTreeMap::new() }
    }
}

impl StoredSecrets {
    /// Whether to leave it out.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&state::FunctionSecrets> for StoredSecrets {
    fn from(secrets: &state::FunctionSecrets) -> Self {
        let mut stages: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
        for (stage, name, revision, entry) in secrets.values() {
            let (set_ms, set_by) = (entry.set_ms, entry.set_by.clone());
            let (revision, sealed) = (revision.number(), entry.sealed.to_string());
            let entry = StoredEntry { revision, sealed, set_ms, set_by };
            stages.entry(stage.to_string()).or_default().entry(name.to_string()).or_default().push(entry);
        }
        Self { first: secrets.first.number(), stages }
    }
}

impl TryFrom<StoredSecrets> for state::FunctionSecrets {
    type Error = Malformed;

    fn try_from(stored: StoredSecrets) -> Result<Self, Malformed> {
        let mut stages: BTreeMap<_, BTreeMap<_, state::Secret>> = BTreeMap::new();
        for (stage, secrets) in stored.stages {
            let of_stage = stages.entry(parse(&stage)?).or_default();
            for (name, entries) in secrets {
                if entries.is_empty() {
                    return Err(Malformed(format!("secret {name} without a value, expected one or more")));
                }
                let secret = of_stage.entry(parse(&name)?).or_default();
                for StoredEntry { revision: number, sealed, set_ms, set_by } in entries {
                    let sealed = parse(&sealed)?;
                    secret.values.insert(revision(number)?, state::SecretEntry { sealed, set_ms, set_by });
                }
            }
        }
        Ok(Self { first: revision(stored.first)?, stages })
    }
}

impl From<&state::NewSecret> for StoredNewSecret {
    fn from(secret: &state::NewSecret) -> Self {
        Self {
            name: secret.name.to_string(),
            revision: secret.revision.number(),
            sealed: secret.sealed.to_string(),
            dropped: secret.dropped.iter().map(|revision| revision.number()).collect(),
        }
    }
}

impl TryFrom<StoredNewSecret> for state::NewSecret {
    type Error = Malformed;

    fn try_from(stored: StoredNewSecret) -> Result<Self, Malformed> {
        Ok(Self {
            name: parse(&stored.name)?,
            revision: revision(stored.revision)?,
            sealed: parse(&stored.sealed)?,
            dropped: revisions(&stored.dropped)?,
        })
    }
}

impl From<&state::ResealedValue> for StoredResealed {
    fn from(value: &state::ResealedValue) -> Self {
        Self {
            stage: value.stage.to_string(),
            name: value.name.to_string(),
            revision: value.revision.number(),
            sealed: value.sealed.to_string(),
        }
    }
}

impl TryFrom<StoredResealed> for state::ResealedValue {
    type Error = Malformed;

    fn try_from(stored: StoredResealed) -> Result<Self, Malformed> {
        Ok(Self {
            stage: parse(&stored.stage)?,
            name: parse(&stored.name)?,
            revision: revision(stored.revision)?,
            sealed: parse(&stored.sealed)?,
        })
    }
}
