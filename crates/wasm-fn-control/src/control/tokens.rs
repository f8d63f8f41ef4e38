//! Tokens: who is known by one, who gets one, and when each was used last.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wasm_fn_access::{Rights, Token};
use wasm_fn_core::TokenName;
use wasm_fn_rollout::Time;
use wasm_fn_store::{Store, TokenUses};

use super::{Control, ControlError, Note, suspending::unless_suspended};
use crate::{
    access::{Actor, Proof, TokenError, Unproven, new_token},
    host::Host,
    state::{AccessChange, ChangeError, NewToken, State},
};

/// A token to create.
#[derive(Clone, Debug)]
pub struct CreateToken {
    /// Its name.
    pub name: TokenName,
    /// What its holder may do.
    pub rights: Rights,
    /// For how long it is accepted; `None` if it does not expire.
    pub ttl: Option<Duration>,
}

/// When tokens were used last, to the minute. Using a token writes nothing to the disk.
pub(super) struct LastUses(Mutex<Seen>);

struct Seen {
    uses: TokenUses,
    /// Whether they are newer than what the store has.
    new: bool,
}

impl LastUses {
    pub(super) fn new(uses: TokenUses) -> Self {
        Self(Mutex::new(Seen { uses, new: false }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: &str, minute: u64) {
        let mut seen = self.seen();
        if seen.uses.get(id).is_none_or(|last| *last < minute) {
            seen.uses.insert(id.to_owned(), minute);
            seen.new = true;
        }
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Who shows the token `text`. Notes that the token was used.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn authenticate(&self, text: &str) -> Result<Actor, Unproven> {
        let (now_ms, state) = (self.clock.now_ms(), self.state());
        let actor = self.access.actor(text, state.tokens(), now_ms)?;
        if token_of(&state, &actor).is_some_and(|token| self.is_suspended(token.hash)) {
            return Err(Unproven::Suspended { name: actor.name });
        }
        if let Some(id) = &actor.token {
            self.token_uses.note(id, now_ms / 60_000);
        }
        Ok(actor)
    }

    /// Whether `actor` would still be known by what they have shown.
    pub fn still_knows(&self, actor: &Actor) -> bool {
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        match actor.proof {
            Proof::Party { until_ms } => until_ms.is_none_or(|until_ms| now_ms < until_ms),
            Proof::DataDir { rotations } => rotations == self.access.rotations(),
            Proof::Token => token_of(&state, actor)
                .is_some_and(|token| token.is_valid(now_ms) && !self.is_suspended(token.hash)),
        }
    }

    /// Ends once `actor` is no longer known by what they have shown: it has expired, or was revoked or
    /// replaced.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn until_unknown(&self, actor: &Actor) {
        let mut states = self.follow();
        loop {
            // Each revocation shows a state, also that of the token in the data directory.
            states.mark_unchanged();
            if !self.still_knows(actor) {
                return;
            }
            let expires_ms = match actor.proof {
                Proof::Party { until_ms } => until_ms,
                Proof::DataDir { .. } => None,
                Proof::Token => token_of(&self.state(), actor).and_then(|token| token.expires_ms),
            };
            let expires = async {
                match expires_ms {
                    // After at most an hour, it is looked at again.
                    Some(at_ms) => tokio::time::sleep_until(self.clock.instant(Time(at_ms))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = expires => {}
            }
        }
    }

    /// When the token with this id was used last, in minutes since 1970.
    pub fn last_use(&self, id: &str) -> Option<u64> {
        self.token_uses.seen().uses.get(id).copied()
    }

    /// Creates a token. Returns the state that has it, and what its holder shows, which is kept nowhere.
    ///
    /// # Errors
    /// The errors of [`State::plan_create_token`]; a failure of the store.
    pub async fn create_token(
        self: &Arc<Self>,
        create: CreateToken,
        note: Note,
    ) -> Result<(Arc<State>, String), ControlError> {
        let secret = new_token();
        let CreateToken { name, rights, ttl } = create;
        let (hash, now_ms) = (self.access.token_key().hash(&secret), self.clock.now_ms());
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let expires_ms = ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
        let actor = note.actor.clone();
        let plan = move |state: &State| {
            let (name, rights) = (name.clone(), rights.clone());
            state.plan_create_token(NewToken { name, hash, rights, expires_ms }, &actor, now_ms)
        };
        Ok((self.mutate_access(note, plan).await?, secret.reveal()))
    }

    /// Gives the token called `name` a new secret, which is returned. The old one is refused from now on.
    ///
    /// # Errors
    /// An unknown token; a failure of the store, after which the old one is refused as after
    /// [`revoke_token`](Self::revoke_token).
    pub async fn rotate_token(
        self: &Arc<Self>,
        name: TokenName,
        note: Note,
    ) -> Result<(Arc<State>, String), ControlError> {
        let secret = new_token();
        let hash = self.access.token_key().hash(&secret);
        let state =
            self.mutate_access(note, move |state| state.plan_rotate_token(name.clone(), hash)).await?;
        Ok((state, secret.reveal()))
    }

    /// Revokes the token called `name`. It is refused from now on, in a cluster on all nodes that can be
    /// told, before that is committed.
    ///
    /// # Errors
    /// An unknown token; a failure of the store. In a cluster, the token is then refused for ten minutes all
    /// the same.
    pub async fn revoke_token(
        self: &Arc<Self>,
        name: TokenName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate_access(note, move |state| state.plan_revoke_token(name.clone())).await
    }

    /// Replaces the token in the data directory. The old one is refused from now on.
    ///
    /// # Errors
    /// If the file cannot be replaced; a failure of the store, after which the new token is valid.
    pub async fn rotate_admin_token(
        self: &Arc<Self>,
        note: Note,
    ) -> Result<(Arc<State>, String), ControlError> {
        let rotate = |control: &Self| control.access.rotate_token();
        self.replace_secret(note, AccessChange::RotateAdminToken, rotate).await
    }

    /// Replaces the key of preview tokens, which makes every preview token so far invalid.
    ///
    /// # Errors
    /// If the node shares it with others; if the file cannot be replaced; a failure of the store, after which
    /// the new key is valid.
    pub async fn rotate_preview_key(self: &Arc<Self>, note: Note) -> Result<Arc<State>, ControlError> {
        if self.peers.is_some() {
            return Err(ControlError::OfCluster("the key of preview tokens"));
        }
        let rotate = |control: &Self| control.access.rotate_preview_key();
        Ok(self.replace_secret(note, AccessChange::RotatePreviewKey, rotate).await?.0)
    }

    /// Replaces a file in the data directory and records that, while nobody else has the state.
    async fn replace_secret<T: Send + 'static>(
        self: &Arc<Self>,
        note: Note,
        change: AccessChange,
        replace: impl FnOnce(&Self) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<(Arc<State>, T), ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut writer = control.write().await?;
            let files = Arc::clone(&control);
            let replaced = tokio::task::spawn_blocking(move || replace(&files)).await;
            let replaced = replaced.map_err(|_| ControlError::Interrupted)??;
            loop {
                let before = control.state();
                let committed =
                    control.commit(&mut writer, before, note.clone(), change.clone().into()).await;
                if let Some(after) = control.unless_behind(&mut writer, committed).await? {
                    return Ok((after, replaced));
                }
            }
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Changes who may do what, in a task of its own.
    pub(super) async fn mutate_access(
        self: &Arc<Self>,
        note: Note,
        mut plan: impl FnMut(&State) -> Result<AccessChange, ChangeError> + Send + 'static,
    ) -> Result<Arc<State>, ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            let seen = control.state();
            // The writer may be waiting for the broker.
            if let Ok(change) = plan(&seen) {
                control.suspend(&seen, &change);
            }
            let mut writer = control.write().await?;
            loop {
                let before = control.state();
                let change = plan(&before)?;
                let taken = control.suspend(&before, &change);
                let committed = control.commit(&mut writer, before, note.clone(), change.into()).await;
                let done = control.unless_behind(&mut writer, committed).await;
                if let Some(after) = unless_suspended(taken, done)? {
                    return Ok(after);
                }
            }
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Makes durable when tokens were used last, if that is news. If it fails, the next call tries again.
    pub(super) async fn keep_token_uses(&self) {
        let uses = {
            let mut seen = self.token_uses.seen();
            if !seen.new {
                return;
            }
            let state = self.state();
            let ids: Vec<_> = state.tokens().iter().map(|(_, token)| token.hash.id()).collect();
            seen.uses.retain(|id, _| ids.contains(id));
            seen.uses.clone()
        };
        match self.store.keep_token_uses(uses.clone()).await {
            Ok(()) => {
                let mut seen = self.token_uses.seen();
                seen.new = seen.uses != uses;
            }
            Err(error) => tracing::warn!(%error, "last uses of tokens were not stored"),
        }
    }
}

/// The token that `actor` has shown, if it is still there.
fn token_of<'a>(state: &'a State, actor: &Actor) -> Option<&'a Token> {
    let name: TokenName = actor.name.parse().ok()?;
    state.tokens().get(&name).filter(|token| Some(token.hash.id()) == actor.token)
}

#[cfg(test)]
mod tests;
