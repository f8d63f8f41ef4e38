//! The secrets of functions: which values are set in each stage, and which of them each version has.
//!
//! Values are sealed, and nothing here can open them.

mod plan;

use std::collections::BTreeMap;

use wasm_fn_core::{SecretName, StageName};
use wasm_fn_secrets::{SealedValue, SecretRevision};

/// Which value of each secret a version has in a stage.
pub type SecretPins = BTreeMap<SecretName, SecretRevision>;

/// The secrets of a function in all its stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSecrets {
    /// The revision of the first value of a new secret. It is above those of all secrets that were deleted,
    /// so that no revision names two values.
    pub first: SecretRevision,
    /// The secrets that are set, by stage.
    pub stages: BTreeMap<StageName, BTreeMap<SecretName, Secret>>,
}

/// A secret of a stage: its newest value, and the earlier ones that versions have.
// Invariant: there is a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// Its values.
    pub values: BTreeMap<SecretRevision, SecretEntry>,
}

/// A value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEntry {
    /// The value.
    pub sealed: SealedValue,
    /// When it was set, Unix milliseconds.
    pub set_ms: u64,
    /// The name of the token that set it.
    pub set_by: String,
}

/// A new value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// The secret.
    pub name: SecretName,
    /// The revision of the value.
    pub revision: SecretRevision,
    /// The value.
    pub sealed: SealedValue,
    /// Earlier values that are removed, because no version has them.
    pub dropped: Vec<SecretRevision>,
}

/// A value that was sealed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealedValue {
    /// The stage.
    pub stage: StageName,
    /// The secret.
    pub name: SecretName,
    /// Which of its values.
    pub revision: SecretRevision,
    /// The value.
    pub sealed: SealedValue,
}

impl Default for FunctionSecrets {
    fn default() -> Self {
        Self { first: SecretRevision::FIRST, stages: BTreeMap::new() }
    }
}

impl Secret {
    /// The revision that deployments get.
    pub fn newest(&self) -> Option<SecretRevision> {
        self.values.keys().next_back().copied()
    }
}

impl FunctionSecrets {
    /// Every value, with its stage, name and revision.
    pub fn values(&self) -> impl Iterator<Item = (&StageName, &SecretName, SecretRevision, &SecretEntry)> {
        self.stages.iter().flat_map(|(stage, secrets)| {
            secrets.iter().flat_map(move |(name, secret)| {
                secret.values.iter().map(move |(&revision, entry)| (stage, name, revision, entry))
            })
        })
    }

    /// The secret `name` of `stage`.
    pub fn get(&self, stage: &StageName, name: &SecretName) -> Option<&Secret> {
        self.stages.get(stage)?.get(name)
    }

    fn remove(&mut self, stage: &StageName, name: &SecretName) {
        let Some(secrets) = self.stages.get_mut(stage) else { return };
        if let Some(next) = secrets.remove(name).and_then(|secret| secret.newest()?.next()) {
            self.first = self.first.max(next);
        }
        if secrets.is_empty() {
            self.stages.remove(stage);
        }
    }

    pub(super) fn remove_stage(&mut self, stage: &StageName) {
        let names: Vec<_> = self.stages.get(stage).into_iter().flat_map(|of| of.keys().cloned()).collect();
        names.iter().for_each(|name| self.remove(stage, name));
    }

    pub(super) fn clear(&mut self) {
        let stages: Vec<_> = self.stages.keys().cloned().collect();
        stages.iter().for_each(|stage| self.remove_stage(stage));
    }
}
