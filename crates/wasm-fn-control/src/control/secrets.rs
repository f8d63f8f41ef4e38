//! Secrets: setting and deleting them, and replacing the key that they are sealed under.

use std::{collections::BTreeMap, sync::Arc};

use wasm_fn_core::{FunctionName, SecretName, StageName};
use wasm_fn_secrets::{SecretPlace, SecretRevision, SecretValue};
use wasm_fn_store::Store;

use super::{Control, ControlError, Note};
use crate::{
    host::Host,
    secrets::SecretsError,
    state::{AccessChange, Action, FunctionChange, Secret, StageKey, State},
};

/// Which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId {
    /// The function. It need not have versions yet.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// The name.
    pub name: SecretName,
}

impl<H: Host, S: Store> Control<H, S> {
    /// Gives a secret a new value, which the next deployment gets. Versions keep the value that they have.
    ///
    /// # Errors
    /// The errors of [`State::plan_set_secrets`]; another revision than expected; a failure of the store.
    pub async fn set_secret(
        self: &Arc<Self>,
        secret: SecretId,
        value: SecretValue,
        note: Note,
    ) -> Result<(Arc<State>, SecretRevision), ControlError> {
        let SecretId { function, stage, name } = secret;
        let (after, revisions) = self.set_secrets((function, stage), [(name, value)].into(), note).await?;
        Ok((after, *revisions.values().next().expect("one was set")))
    }

    /// Gives secrets of a stage new values, of which there is at least one: all of them, or none. The next
    /// deployment gets them.
    ///
    /// # Errors
    /// The errors of [`State::plan_set_secrets`]; another revision than expected; a failure of the store.
    pub async fn set_secrets(
        self: &Arc<Self>,
        (function, stage): StageKey,
        values: BTreeMap<SecretName, SecretValue>,
        note: Note,
    ) -> Result<(Arc<State>, BTreeMap<SecretName, SecretRevision>), ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            let (function, stage) = (&function, &stage);
            let mut writer = control.write().await?;
            loop {
                let before = control.state();
                note.check(&before, function)?;
                let revisions = before.next_secret_revisions(function, stage, values.keys())?;
                if control.secrets.current().is_none() {
                    let change = AccessChange::AddDataKey { key: control.secrets.make() };
                    let added = control.commit(&mut writer, before, note.clone(), change.into()).await;
                    // Either there is a data key now, or other changes that are to be planned for.
                    control.unless_behind(&mut writer, added).await?;
                    continue;
                }
                let seal = |(name, value): (&SecretName, &SecretValue)| {
                    let place = SecretPlace { function, stage, name, revision: revisions[name] };
                    let sealed = control.secrets.seal(value, place).expect("there is a data key now");
                    (name.clone(), sealed)
                };
                let change = before.plan_set_secrets(function, stage, values.iter().map(seal).collect())?;
                let committed = control.commit(&mut writer, before, note.clone(), change.into()).await;
                if let Some(after) = control.unless_behind(&mut writer, committed).await? {
                    return Ok((after, revisions));
                }
            }
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Deletes a secret, with all its values.
    ///
    /// # Errors
    /// The errors of [`State::plan_delete_secret`]; another revision than expected; a failure of the store.
    pub async fn delete_secret(
        self: &Arc<Self>,
        secret: SecretId,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let SecretId { function, stage, name } = secret;
        self.mutate(function.clone(), note, move |state| {
            state.plan_delete_secret(&function, &stage, &name).map(Some)
        })
        .await
    }

    /// The newest value of a secret; `None` if it is not set.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn newest_secret(&self, secret: &SecretId) -> Result<Option<SecretValue>, SecretsError> {
        let SecretId { function: name, stage, name: secret } = secret;
        let state = self.state();
        let Some(function) = state.stored_function(name) else { return Ok(None) };
        let Some(revision) = function.secrets.get(stage, secret).and_then(Secret::newest) else {
            return Ok(None);
        };
        let place = SecretPlace { function: name, stage, name: secret, revision };
        Ok(self.secrets.value(function, place)?)
    }

    /// Seals every secret under a new key, one function after the other, and drops the keys so far. Whatever
    /// of it is done, every value can be opened. Returns how many functions were resealed.
    ///
    /// # Errors
    /// A value cannot be opened; a failure of the store.
    pub async fn rotate_data_key(self: &Arc<Self>, note: Note) -> Result<(Arc<State>, usize), ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            {
                let mut writer = control.write().await?;
                loop {
                    let change = AccessChange::AddDataKey { key: control.secrets.make() };
                    let added =
                        control.commit(&mut writer, control.state(), note.clone(), change.into()).await;
                    if control.unless_behind(&mut writer, added).await?.is_some() {
                        break;
                    }
                }
            }
            control.finish_rotation(&note).await
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Seals again what is sealed under another key than the newest, and drops the other keys.
    pub(super) async fn finish_rotation(&self, note: &Note) -> Result<(Arc<State>, usize), ControlError> {
        let mut resealed = 0;
        loop {
            // Others may change the state between two functions.
            let mut writer = self.write().await?;
            let before = self.state();
            let Some(key) = self.secrets.current() else { return Ok((before, resealed)) };
            let Some(name) = before.sealed_under_others(key).next().cloned() else {
                let Some(change) = before.plan_drop_data_keys() else { return Ok((before, resealed)) };
                let dropped = self.commit(&mut writer, before, note.clone(), change.into()).await;
                match self.unless_behind(&mut writer, dropped).await? {
                    Some(after) => return Ok((after, resealed)),
                    None => continue,
                }
            };
            let function = before.stored_function(&name).cloned().unwrap_or_default();
            let values = self.secrets.reseal(&name, &function).map_err(SecretsError::from)?;
            let change = FunctionChange { function: name, action: Action::ResealSecrets { values } };
            let committed = self.commit(&mut writer, before, note.clone(), change.into()).await;
            resealed += usize::from(self.unless_behind(&mut writer, committed).await?.is_some());
        }
    }

    /// Finishes a rotation that an earlier process began.
    pub(super) async fn resume_rotation(self: Arc<Self>) {
        if self.state().data_keys().len() < 2 {
            return;
        }
        let note = Note {
            actor: "node".to_owned(),
            token: None,
            origin: String::new(),
            message: Some("finishes a rotation of the data key".to_owned()),
            expected_revision: None,
        };
        if let Err(error) = self.finish_rotation(&note).await {
            tracing::warn!(%error, "secrets were not all sealed under the newest key: rotate it again");
        }
    }
}

#[cfg(test)]
mod tests;
