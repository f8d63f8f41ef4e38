//! The opened keys of secrets: seals values that are set, and opens those that versions have.
//!
//! This part knows the node's key. It neither stores anything, nor decides which version has which value.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;
use wasm_fn_core::{FunctionName, SecretName, StageName, VersionNo};
use wasm_fn_secrets::{
    DataKey, KeyError, KeyId, Keyring, NodeKey, SealedDataKey, SealedValue, SecretPlace, SecretRevision,
    SecretSet, SecretSetError, SecretValue, UnsealError,
};
use zeroize::Zeroizing;

use crate::state::{Function, ResealedValue, SecretPins};

/// The keys of a node. Values can be sealed once there is a data key.
pub(crate) struct SecretKeys {
    node: NodeKey,
    ring: ArcSwapOption<Keyring>,
}

/// Why a version cannot have its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// A stored value cannot be opened.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// The values are too long.
    #[error(transparent)]
    Set(#[from] SecretSetError),
}

impl SecretKeys {
    /// Opens `sealed`, the newest last, with the key of the node.
    ///
    /// # Errors
    /// The node has another key, or one of them was changed.
    pub(crate) fn open(node: NodeKey, sealed: &[SealedDataKey]) -> Result<Self, KeyError> {
        let keys = Self { node, ring: ArcSwapOption::empty() };
        keys.put(keys.ring(sealed)?);
        Ok(keys)
    }

    /// The keys `sealed`, opened; `None` if there are none.
    ///
    /// # Errors
    /// The node has another key, or one of them was changed.
    pub(crate) fn ring(&self, sealed: &[SealedDataKey]) -> Result<Option<Arc<Keyring>>, KeyError> {
        let Some((newest, older)) = sealed.split_last() else { return Ok(None) };
        let older: Vec<_> = older.iter().map(|key| self.node.open(key)).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Keyring::new(self.node.open(newest)?, older))))
    }

    /// Uses `ring` from now on.
    pub(crate) fn put(&self, ring: Option<Arc<Keyring>>) {
        self.ring.store(ring);
    }

    /// A new data key, sealed.
    pub(crate) fn make(&self) -> SealedDataKey {
        self.node.seal(&DataKey::new(Zeroizing::new(rand::random())), rand::random())
    }

    /// The key that values are sealed under; `None` before the first.
    pub(crate) fn current(&self) -> Option<KeyId> {
        self.ring.load().as_ref().map(|ring| ring.current())
    }

    /// Seals `value` for `place`; `None` as long as there is no data key.
    pub(crate) fn seal(&self, value: &SecretValue, place: SecretPlace<'_>) -> Option<SealedValue> {
        self.ring.load().as_ref().map(|ring| ring.seal(value, place, rand::random()))
    }

    /// The values of `function` that are sealed under an older key, sealed again.
    ///
    /// # Errors
    /// A value cannot be opened.
    pub(crate) fn reseal(
        &self,
        name: &FunctionName,
        function: &Function,
    ) -> Result<Vec<ResealedValue>, UnsealError> {
        let ring = self.ring.load();
        let Some(ring) = ring.as_ref() else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        for (stage, secret, revision, entry) in function.secrets.values() {
            let place = SecretPlace { function: name, stage, name: secret, revision };
            if let Some(sealed) = ring.reseal(&entry.sealed, place, rand::random())? {
                values.push(ResealedValue { stage: stage.clone(), name: secret.clone(), revision, sealed });
            }
        }
        Ok(values)
    }

    /// The secrets that `pins` name in `stage` of `function`, opened. They are environment variables too if
    /// `are_variables`.
    ///
    /// # Errors
    /// A value cannot be opened, or they are too long.
    pub(crate) fn set(
        &self,
        (name, function): (&FunctionName, &Function),
        stage: &StageName,
        pins: &SecretPins,
        are_variables: bool,
    ) -> Result<Arc<SecretSet>, SecretsError> {
        if pins.is_empty() {
            return Ok(SecretSet::none());
        }
        let mut values = BTreeMap::new();
        for (secret, &revision) in pins {
            let place = SecretPlace { function: name, stage, name: secret, revision };
            if let Some(value) = self.value(function, place)? {
                values.insert(secret.clone(), value);
            }
        }
        Ok(Arc::new(SecretSet::new(values, are_variables)?))
    }

    /// The value at `place` of `function`, opened; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn value(
        &self,
        function: &Function,
        place: SecretPlace<'_>,
    ) -> Result<Option<SecretValue>, UnsealError> {
        let SecretPlace { stage, name, revision, .. } = place;
        let Some(entry) = entry(function, stage, name, revision) else { return Ok(None) };
        match self.ring.load().as_ref() {
            Some(ring) => ring.open(entry, place).map(Some),
            None => Err(UnsealError::Key {
                place: place.to_string(),
                found: entry.key(),
                expected: "none, because this node has no data key".to_owned(),
            }),
        }
    }

    /// The secrets that version `no` has in `stage` of `function`, and which ones these are.
    ///
    /// # Errors
    /// The errors of [`set`](Self::set).
    pub(crate) fn of_version(
        &self,
        (name, function): (&FunctionName, &Function),
        stage: &StageName,
        no: VersionNo,
    ) -> Result<Arc<SecretSet>, SecretsError> {
        let are_variables =
            function.versions.get(&no).is_some_and(|version| version.build.config.secrets_env);
        self.set((name, function), stage, &function.secrets_of(stage, no), are_variables)
    }
}

fn entry<'a>(
    function: &'a Function,
    stage: &StageName,
    name: &SecretName,
    revision: SecretRevision,
) -> Option<&'a SealedValue> {
    Some(&function.secrets.get(stage, name)?.values.get(&revision)?.sealed)
}
