//! The control plane itself: one writer that plans, commits and publishes.

mod commands;
mod deploy;
mod error;
mod handing_over;
mod reconcile;
mod trap_memory;

use std::{collections::HashSet, io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use wasm_fn_core::{Digest, FunctionName, Revision, VersionNo};
use wasm_fn_rollout::Time;
use wasm_fn_router::{HeldVersion, RouteTable, Salt};
use wasm_fn_store::{Blobs, JournalRange, Store, StoreError};

use crate::{
    access::Access,
    analysis::{Analyses, Analysis},
    clock::Clock,
    documents::{self, LoadedState, VerifyError},
    host::Host,
    journal::{Entry, GENESIS, Hash},
    publish::{Publisher, TableError},
    state::{Action, Change, ChangeError, StageKey, State},
};

pub use commands::GateStanding;
pub use deploy::{Deploy, Deployed};
pub use error::ControlError;

/// Deployments under way or waiting; more are refused.
const DEPLOYMENTS_MAX: usize = 32;

/// Components being compiled at once.
const COMPILATIONS_MAX: usize = 2;

/// What a control plane is made of.
pub struct ControlOptions<H, S> {
    /// What runs functions.
    pub host: Arc<H>,
    /// Where the state is kept.
    pub store: S,
    /// Where components are kept.
    pub blobs: Blobs,
    /// Who may use the admin API.
    pub access: Access,
    /// The time.
    pub clock: Clock,
    /// Where stages and rollouts that begin get their salt: [`salt_at_random`].
    pub salt: Box<dyn Fn() -> Salt + Send + Sync>,
}

/// A salt that nobody can work out.
pub fn salt_at_random() -> Salt {
    Salt(rand::random())
}

/// The control plane of one node.
///
/// Readers take the state and the table as they are; one writer at a time changes them.
pub struct Control<H: Host, S> {
    host: Arc<H>,
    store: S,
    blobs: Arc<Blobs>,
    access: Access,
    clock: Clock,
    salt: Box<dyn Fn() -> Salt + Send + Sync>,
    /// When it was opened.
    started: Time,
    /// Why the node is not ready, although its table is published; `None` when it is.
    unready: watch::Sender<Option<String>>,
    table: Arc<ArcSwap<RouteTable<H::Version>>>,
    state: ArcSwap<State>,
    writer: Mutex<Writer<H>>,
    // Of the rollouts that are published.
    analyses: ArcSwap<Analyses>,
    // Wakes whoever reconciles the rollouts.
    changed: Arc<Notify>,
    deployments: Arc<Semaphore>,
    compilations: Semaphore,
    memory: Mutex<trap_memory::Memory>,
}

struct Writer<H: Host> {
    publisher: Publisher<H>,
    head: Hash,
    /// Another process has the state, or is about to.
    handed_over: bool,
}

/// What is published at a start.
struct Published<H: Host> {
    publisher: Publisher<H>,
    table: RouteTable<H::Version>,
}

/// Who changes something, from where, why, and what they have seen.
#[derive(Clone, Debug)]
pub struct Note {
    /// The name of the token.
    pub actor: String,
    /// The address it comes from.
    pub origin: String,
    /// Why.
    pub message: Option<String>,
    /// Refuse at any other revision.
    pub expected_revision: Option<Revision>,
}

/// Why a control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state makes no table.
    #[error("stored state cannot be published: {0}")]
    Table(#[from] TableError),
    /// The components cannot be read.
    #[error("components cannot be read: {0}")]
    Blobs(#[from] io::Error),
}

impl Note {
    fn check(&self, found: Revision) -> Result<(), ControlError> {
        match self.expected_revision {
            Some(expected) if expected != found => Err(ControlError::Conflict { expected, found }),
            _ => Ok(()),
        }
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Loads the state and publishes its table.
    ///
    /// # Errors
    /// The state cannot be read or makes no table.
    pub async fn open(options: ControlOptions<H, S>) -> Result<Arc<Self>, OpenError> {
        let loaded = documents::load(&options.store).await?;
        let changed = Arc::new(Notify::new());
        let Published { publisher, table } = publish(&options.host, &changed, &loaded)?;
        let analyses = publisher.analyses();
        let memory = trap_memory::Memory::of(publisher.news(), loaded.traps);
        let used = digests(&loaded.state);
        options.blobs.sweep(|digest| used.contains(&digest))?;
        tracing::info!(revision = loaded.state.revision().0, "state loaded");
        let control = Arc::new(Self {
            host: options.host,
            store: options.store,
            blobs: Arc::new(options.blobs),
            access: options.access,
            started: options.clock.now(),
            clock: options.clock,
            salt: options.salt,
            unready: watch::Sender::new(None),
            table: Arc::new(ArcSwap::from_pointee(table)),
            state: ArcSwap::from_pointee(loaded.state),
            writer: Mutex::new(Writer { publisher, head: loaded.head, handed_over: false }),
            analyses: ArcSwap::new(analyses),
            changed,
            deployments: Arc::new(Semaphore::new(DEPLOYMENTS_MAX)),
            compilations: Semaphore::new(COMPILATIONS_MAX),
            memory: Mutex::new(memory),
        });
        control.keep_bases();
        tokio::spawn(reconcile::reconcile(Arc::downgrade(&control)));
        tokio::spawn(trap_memory::keep(Arc::downgrade(&control)));
        Ok(control)
    }

    /// Where tables are published, for the data plane.
    pub fn tables(&self) -> Arc<ArcSwap<RouteTable<H::Version>>> {
        Arc::clone(&self.table)
    }

    /// The state that is published.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Has the admin API say from now on that the node is not ready, and why, or with `None` that it is.
    pub fn set_unready(&self, why: Option<String>) {
        self.unready.send_replace(why);
    }

    /// Why the node is not ready; `None` when it is.
    pub fn unready(&self) -> watch::Receiver<Option<String>> {
        self.unready.subscribe()
    }

    /// What runs functions.
    pub fn host(&self) -> &Arc<H> {
        &self.host
    }

    /// Where components are kept.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// Who may use the admin API.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// When it was opened.
    pub fn started(&self) -> Time {
        self.started
    }

    /// Whether `token` may use the admin API.
    pub fn accepts(&self, token: &str) -> bool {
        self.access.actor(token).is_some()
    }

    /// Whether `token` is for the addresses of the versions of `function`.
    pub fn previews(&self, function: &FunctionName, token: &str) -> bool {
        self.access.may_preview(function, token)
    }

    /// Entries of the journal, newest first.
    ///
    /// # Errors
    /// The store.
    pub async fn journal(&self, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
        documents::journal(&self.store, range).await
    }

    /// Walks the journal's chain of hashes; gives the revision of its last entry.
    ///
    /// # Errors
    /// Where the chain is broken.
    pub async fn verify_journal(&self) -> Result<Revision, VerifyError> {
        documents::verify(&self.store).await
    }

    /// [`commit`](Self::commit) in a task of its own, so that a client that goes away cannot leave a
    /// change durable and unpublished.
    async fn mutate(
        self: &Arc<Self>,
        note: Note,
        plan: impl FnOnce(&State) -> Result<Option<Change>, ChangeError> + Send + 'static,
    ) -> Result<Arc<State>, ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move { control.commit(note, plan).await });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Plans, commits and publishes one change; gives the state with it. A plan of no change gives the
    /// state as it is. A plan that needs the time asks for it then: it may have waited for other changes.
    async fn commit(
        &self,
        note: Note,
        plan: impl FnOnce(&State) -> Result<Option<Change>, ChangeError>,
    ) -> Result<Arc<State>, ControlError> {
        let mut writer = self.writer.lock().await;
        if writer.handed_over {
            return Err(ControlError::HandedOver);
        }
        let before = self.state();
        note.check(before.revision())?;
        let Some(change) = plan(&before)? else { return Ok(before) };
        let name = change.function.clone();
        let entry = Entry {
            revision: before.revision().next(),
            at_ms: self.clock.now_ms(),
            actor: note.actor,
            origin: note.origin,
            message: note.message,
            change,
            previous_hash: writer.head,
            hash: GENESIS,
        }
        .sealed();
        let mut after = State::clone(&before);
        after.apply(&entry.change, &entry.meta());
        let next = writer.publisher.changed(&after, &self.table.load(), &name)?;
        let function = after.stored_function(&name).cloned().unwrap_or_default();
        self.store.commit(documents::commit(&entry, &function)).await?;

        writer.head = entry.hash;
        let (table, over) = writer.publisher.keep(next);
        let after = Arc::new(after);
        let ends_canary = matches!(
            entry.change.action,
            Action::Abort { .. } | Action::Rollback { .. } | Action::Deploy { aborted: Some(_), .. }
        );
        if ends_canary {
            // Requests that hold the table before this one are sent to the right version as well.
            over.iter().for_each(|analysis| analysis.leave());
        }
        self.table.store(Arc::new(table));
        self.state.store(Arc::clone(&after));
        log(&entry);
        self.changed.notify_one();
        self.keep_base(&entry.change, &after);
        self.collect(&before, &after, &name).await;
        Ok(after)
    }

    /// `version` in the stage at `key`, as it is published.
    fn entry(&self, (function, stage): &StageKey, version: VersionNo) -> Option<HeldVersion<H::Version>> {
        let table = self.table.load();
        table.stage(function, stage)?.version(version).map(|entry| entry.hold())
    }

    /// The analysis of the rollout at `key`.
    pub(crate) fn analysis(&self, key: &StageKey) -> Option<Arc<Analysis>> {
        self.analyses.load().get(key)
    }

    /// Removes the components that `function` had and nobody has any more. Only under the writer's
    /// lock, so that no version comes to use one meanwhile.
    async fn collect(&self, before: &State, after: &State, function: &FunctionName) {
        let had = before.stored_function(function);
        let mut candidates: HashSet<_> =
            had.iter().flat_map(|function| function.versions.values()).map(|v| v.build.digest).collect();
        let has = after.stored_function(function);
        for version in has.iter().flat_map(|function| function.versions.values()) {
            candidates.remove(&version.build.digest);
        }
        if candidates.is_empty() {
            return;
        }
        let used = digests(after);
        candidates.retain(|digest| !used.contains(digest));
        self.remove(candidates).await;
    }

    /// Removes a component that was refused, unless some version is made of it.
    async fn discard(&self, component: Digest) {
        let writer = self.writer.lock().await;
        if !writer.handed_over && !digests(&self.state()).contains(&component) {
            self.remove(HashSet::from([component])).await;
        }
    }

    async fn remove(&self, components: HashSet<Digest>) {
        if let Err(error) = self.blobs.collect_apart(components).await {
            tracing::warn!(%error, "unused components were not removed");
        }
    }
}

impl<H: Host, S> Drop for Control<H, S> {
    fn drop(&mut self) {
        // Whoever reconciles the rollouts sees that there is nothing left.
        self.changed.notify_one();
    }
}

/// Builds everything that `loaded` publishes, with analyses that tell `changed`.
fn publish<H: Host>(
    host: &Arc<H>,
    changed: &Arc<Notify>,
    loaded: &LoadedState,
) -> Result<Published<H>, TableError> {
    let state = &loaded.state;
    let mut publisher = Publisher::new(Arc::clone(host), Arc::clone(changed), loaded.traps.clone());
    let table = publisher.all(state)?;
    Ok(Published { publisher, table })
}

/// Every component that a version is made of.
fn digests(state: &State) -> HashSet<Digest> {
    let versions = state.functions().flat_map(|(_, function)| function.versions.values());
    versions.map(|version| version.build.digest).collect()
}

fn log(entry: &Entry) {
    let action = &entry.change.action;
    tracing::info!(
        revision = entry.revision.0,
        function = %entry.change.function,
        action = action.as_str(),
        stage = action.stage().map(tracing::field::display),
        version = action.version().map(tracing::field::display),
        actor = entry.actor,
        origin = entry.origin,
        "state changed"
    );
}

#[cfg(test)]
mod tests;
