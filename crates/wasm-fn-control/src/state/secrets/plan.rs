//! Plans changes to secrets, and carries them out. Values come and go sealed.

use std::{collections::BTreeMap, sync::Arc};

use wasm_fn_core::{FunctionConfig, FunctionName, SecretName, StageName, VersionNo};
use wasm_fn_events::TriggerKind;
use wasm_fn_secrets::{KeyId, SealedDataKey, SealedValue, SecretRevision};

use super::{FunctionSecrets, NewSecret, ResealedValue, Secret, SecretEntry, SecretPins};
use crate::state::{
    AccessChange, Action, ChangeError, Function, FunctionChange, Meta, SecretsProblem, SecretsProblemKind,
    StageState, State, VersionState, deploy::STAGES_MAX,
};

/// Most secrets of a stage.
const SECRETS_MAX: usize = 256;

/// Most bytes of the sealed values of a function: its document is written with every change of it.
const SEALED_BYTES_MAX: usize = 4 << 20;

impl Function {
    /// The secrets that version `no` has in `stage`: those that a deployment there gave it, without those
    /// that were deleted since.
    pub fn secrets_of(&self, stage: &StageName, no: VersionNo) -> SecretPins {
        let pins = self.versions.get(&no).and_then(|version| version.secrets.get(stage));
        let is_there = |&(name, revision): &(&SecretName, &SecretRevision)| {
            self.secrets.get(stage, name).is_some_and(|secret| secret.values.contains_key(revision))
        };
        let kept = pins.into_iter().flatten().filter(is_there);
        kept.map(|(name, &revision)| (name.clone(), revision)).collect()
    }

    /// The newest value of each secret that `config` names.
    ///
    /// # Errors
    /// Those that are not set in `stage`.
    pub(in crate::state) fn newest_secrets(
        &self,
        stage: &StageName,
        config: &FunctionConfig,
    ) -> Result<SecretPins, Vec<SecretName>> {
        let newest = |name: &SecretName| self.secrets.get(stage, name).and_then(Secret::newest);
        let (mut pins, mut unset) = (SecretPins::new(), Vec::new());
        for name in &config.secrets {
            match newest(name) {
                Some(revision) => drop(pins.insert(name.clone(), revision)),
                None => unset.push(name.clone()),
            }
        }
        if unset.is_empty() { Ok(pins) } else { Err(unset) }
    }

    /// The versions that have a value of the secret in `stage`, with its revision.
    pub fn secret_users<'a>(
        &'a self,
        stage: &'a StageName,
        name: &'a SecretName,
    ) -> impl Iterator<Item = (VersionNo, SecretRevision)> + 'a {
        let pin = |version: &VersionState| version.secrets.get(stage)?.get(name).copied();
        self.versions.iter().filter_map(move |(&no, version)| Some((no, pin(version)?)))
    }

    pub(in crate::state) fn apply_secrets(&mut self, action: &Action, meta: &Meta<'_>) {
        match action {
            Action::SetSecrets { stage, secrets: new } => {
                let secrets = self.secrets.stages.entry(stage.clone()).or_default();
                for NewSecret { name, revision, sealed, dropped } in new {
                    let (set_ms, set_by) = (meta.at_ms, meta.actor.to_owned());
                    let secret = secrets.entry(name.clone()).or_default();
                    secret.values.retain(|revision, _| !dropped.contains(revision));
                    secret.values.insert(*revision, SecretEntry { sealed: sealed.clone(), set_ms, set_by });
                }
            }
            Action::DeleteSecret { stage, name } => self.secrets.remove(stage, name),
            Action::ResealSecrets { values } => {
                for ResealedValue { stage, name, revision, sealed } in values {
                    let secret = self.secrets.stages.get_mut(stage).and_then(|secrets| secrets.get_mut(name));
                    if let Some(entry) = secret.and_then(|secret| secret.values.get_mut(revision)) {
                        entry.sealed = sealed.clone();
                    }
                }
            }
            _ => {}
        }
    }
}

impl State {
    /// The sealed keys of secrets, the newest last. New values are sealed under that one.
    pub fn data_keys(&self) -> &Arc<Vec<SealedDataKey>> {
        &self.data_keys
    }

    /// The revisions of the next values of the secrets `names`, each of which is there once. A function
    /// without versions may have secrets: its first deployment needs them.
    ///
    /// # Errors
    /// If there would be too many stages or secrets, or if revisions are used up.
    pub fn next_secret_revisions<'a>(
        &self,
        function: &FunctionName,
        stage: &StageName,
        names: impl IntoIterator<Item = &'a SecretName>,
    ) -> Result<BTreeMap<SecretName, SecretRevision>, ChangeError> {
        let problem = |problem| {
            let (function, stage) = (function.clone(), stage.clone());
            ChangeError::Secrets(Box::new(SecretsProblem { function, stage, problem }))
        };
        let empty = FunctionSecrets::default();
        let found = self.functions.get(function).map_or(&empty, |function| &function.secrets);
        let stages = found.stages.len();
        if stages >= STAGES_MAX && !found.stages.contains_key(stage) {
            return Err(problem(SecretsProblemKind::Stages { found: stages }));
        }
        let mut revisions = BTreeMap::new();
        let mut count = found.stages.get(stage).map_or(0, BTreeMap::len);
        for name in names {
            let revision = match found.get(stage, name).and_then(Secret::newest) {
                Some(newest) => newest.next(),
                None => {
                    count += 1;
                    Some(found.first)
                }
            };
            let used_up = || problem(SecretsProblemKind::RevisionsUsedUp { name: name.clone() });
            revisions.insert(name.clone(), revision.ok_or_else(used_up)?);
        }
        if count > SECRETS_MAX {
            return Err(problem(SecretsProblemKind::Secrets { found: count, max: SECRETS_MAX }));
        }
        Ok(revisions)
    }

    /// Plans new values of secrets, of which there is at least one, each `sealed` for its
    /// [next revision](Self::next_secret_revisions). Earlier values that no version has are dropped.
    ///
    /// # Errors
    /// The errors of [`next_secret_revisions`](Self::next_secret_revisions), or too many bytes.
    pub fn plan_set_secrets(
        &self,
        function: &FunctionName,
        stage: &StageName,
        sealed: BTreeMap<SecretName, SealedValue>,
    ) -> Result<FunctionChange, ChangeError> {
        let revisions = self.next_secret_revisions(function, stage, sealed.keys())?;
        let empty = Function::default();
        let found = self.functions.get(function).map_or(&empty, |function| &**function);
        let new = sealed.into_iter().zip(revisions.into_values()).map(|((name, sealed), revision)| {
            let pinned: Vec<_> = found.secret_users(stage, &name).map(|(_, revision)| revision).collect();
            let earlier =
                found.secrets.get(stage, &name).into_iter().flat_map(|secret| secret.values.keys().copied());
            let dropped = earlier.filter(|revision| !pinned.contains(revision)).collect();
            NewSecret { name, revision, sealed, dropped }
        });
        let secrets: Vec<NewSecret> = new.collect();
        let is_dropped = |of: &StageName, name: &SecretName, revision: SecretRevision| {
            let new = secrets.binary_search_by(|new| new.name.cmp(name)).ok().filter(|_| of == stage);
            new.is_some_and(|at| secrets[at].dropped.contains(&revision))
        };
        let kept = found.secrets.values().filter(|&(stage, name, no, _)| !is_dropped(stage, name, no));
        let bytes = |sealed: &SealedValue| sealed.to_string().len();
        let bytes: usize = kept
            .map(|(.., entry)| bytes(&entry.sealed))
            .chain(secrets.iter().map(|new| bytes(&new.sealed)))
            .sum();
        if bytes > SEALED_BYTES_MAX {
            let (function, stage) = (function.clone(), stage.clone());
            let problem = SecretsProblemKind::Bytes { found: bytes };
            return Err(ChangeError::Secrets(Box::new(SecretsProblem { function, stage, problem })));
        }
        let action = Action::SetSecrets { stage: stage.clone(), secrets };
        Ok(FunctionChange { function: function.clone(), action })
    }

    /// Plans to delete a secret, with all its values.
    ///
    /// # Errors
    /// There is no such secret, or a version has it that has traffic, waits for approval, or may get traffic
    /// again by an abort or a rollback.
    pub fn plan_delete_secret(
        &self,
        function: &FunctionName,
        stage: &StageName,
        name: &SecretName,
    ) -> Result<FunctionChange, ChangeError> {
        let problem = |problem| {
            let (function, stage) = (function.clone(), stage.clone());
            ChangeError::Secrets(Box::new(SecretsProblem { function, stage, problem }))
        };
        let found = self.functions.get(function).filter(|found| found.secrets.get(stage, name).is_some());
        let found = found.ok_or_else(|| problem(SecretsProblemKind::NoSuch { name: name.clone() }))?;
        let mut in_use: Vec<_> = found.stages.get(stage).map(StageState::in_use).unwrap_or_default();
        in_use.extend(found.proposals.get(stage).map(|proposal| proposal.version));
        let users = found.secret_users(stage, name).map(|(no, _)| no).filter(|no| in_use.contains(no));
        let users: Vec<_> = users.collect();
        if !users.is_empty() {
            return Err(problem(SecretsProblemKind::InUse { name: name.clone(), users }));
        }
        let triggers = found.triggers.iter().filter(|((of, _), _)| of == stage);
        for ((_, trigger), state) in triggers {
            if let TriggerKind::Webhook(source) = &state.trigger.kind
                && source.secrets().contains(name)
            {
                let (name, trigger) = (name.clone(), trigger.clone());
                return Err(problem(SecretsProblemKind::OfWebhook { name, trigger }));
            }
            if let TriggerKind::Queue(source) = &state.trigger.kind
                && source.credentials() == Some(name)
            {
                let (name, trigger) = (name.clone(), trigger.clone());
                return Err(problem(SecretsProblemKind::OfQueue { name, trigger }));
            }
            if state.trigger.credentials() == Some(name) {
                let (name, trigger) = (name.clone(), trigger.clone());
                return Err(problem(SecretsProblemKind::OfDeployments { name, trigger }));
            }
        }
        let action = Action::DeleteSecret { stage: stage.clone(), name: name.clone() };
        Ok(FunctionChange { function: function.clone(), action })
    }

    /// The functions with values that are sealed under another key than `key`.
    pub fn sealed_under_others(&self, key: KeyId) -> impl Iterator<Item = &FunctionName> {
        let others =
            move |function: &Function| function.secrets.values().any(|(.., entry)| entry.sealed.key() != key);
        self.functions.iter().filter(move |(_, function)| others(function)).map(|(name, _)| name)
    }

    /// Plans to drop the keys that seal no value any more; `None` if there are none besides the newest.
    pub fn plan_drop_data_keys(&self) -> Option<AccessChange> {
        let newest = self.data_keys.last()?.id();
        let used = |key: KeyId| {
            let mut values = self.functions.iter().flat_map(|(_, function)| function.secrets.values());
            values.any(|(.., entry)| entry.sealed.key() == key)
        };
        let ids = self.data_keys.iter().map(SealedDataKey::id);
        let keys: Vec<_> = ids.filter(|&key| key != newest && !used(key)).collect();
        (!keys.is_empty()).then_some(AccessChange::DropDataKeys { keys })
    }

    /// Checks that version `no` has, in `stage`, every secret that its configuration names.
    pub(in crate::state) fn check_secrets(
        &self,
        name: &FunctionName,
        stage: &StageName,
        no: VersionNo,
    ) -> Result<(), ChangeError> {
        let function = self.function(name)?;
        let Some(version) = function.versions.get(&no) else { return Ok(()) };
        if version.build.config.secrets.is_empty() {
            return Ok(());
        }
        let has = function.secrets_of(stage, no);
        let names: Vec<_> =
            version.build.config.secrets.iter().filter(|name| !has.contains_key(*name)).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let (function, stage) = (name.clone(), stage.clone());
        let problem = SecretsProblemKind::Missing { version: no, names };
        Err(ChangeError::Secrets(Box::new(SecretsProblem { function, stage, problem })))
    }
}

impl StageState {
    /// The versions that have traffic, or may get it back by an abort or the next rollback.
    fn in_use(&self) -> Vec<VersionNo> {
        let shares = self.split.shares().iter().map(|&(version, _)| version);
        let rollout = self.rollout.iter().flat_map(|rollout| {
            let before = rollout.from_split.shares().iter().map(|&(version, _)| version);
            before.chain([rollout.canary, rollout.base])
        });
        shares.chain(rollout).chain([self.stable]).chain(self.newest_previous()).collect()
    }
}

#[cfg(test)]
mod tests;
