//! The control plane itself: one writer that plans, commits and publishes.

mod deploy;
mod error;

use std::{collections::HashSet, io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Semaphore, watch};
use wasm_fn_core::{Digest, FunctionName, Revision, StageName, VersionRef, Weight};
use wasm_fn_router::RouteTable;

use crate::{
    access::Access,
    blobs::Blobs,
    clock::now_ms,
    host::Host,
    journal::{Draft, Entry, Hash},
    publish::{Publisher, TableError},
    state::{Change, PlanError, State},
    store::{Commit, JournalRange, Store, StoreError, VerifyError},
};

pub use deploy::{Deploy, Deployed};
pub use error::ControlError;

/// Deployments under way or waiting; more are refused.
const DEPLOYMENTS_MAX: usize = 32;

/// Components being compiled at once.
const COMPILATIONS_MAX: usize = 2;

/// Uploads at once; more are refused.
const UPLOADS_MAX: usize = 16;

/// What a control plane is made of.
pub struct Options<H, S> {
    /// What runs functions.
    pub host: Arc<H>,
    /// Where the state is kept.
    pub store: S,
    /// Where components are kept.
    pub blobs: Blobs,
    /// Who may use the admin API.
    pub access: Access,
    /// Where functions are called, for clients to be told: `127.0.0.1:8080`.
    pub data_listen: String,
    /// Version of the program.
    pub program_version: String,
}

/// The control plane of one node.
///
/// Readers take the state and the table as they are; one writer at a time changes them.
pub struct Control<H: Host, S> {
    pub(crate) host: Arc<H>,
    pub(crate) store: S,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) access: Access,
    pub(crate) data_listen: String,
    pub(crate) program_version: String,
    pub(crate) started_ms: u64,
    pub(crate) uploads: Semaphore,
    /// Whether the admin API is ending, for answers that would go on for ever.
    pub(crate) stopping: watch::Sender<bool>,
    table: Arc<ArcSwap<RouteTable<H::Version>>>,
    state: ArcSwap<State>,
    writer: Mutex<Writer<H>>,
    deployments: Arc<Semaphore>,
    compilations: Semaphore,
}

struct Writer<H: Host> {
    publisher: Publisher<H>,
    head: Hash,
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
    pub async fn open(options: Options<H, S>) -> Result<Arc<Self>, OpenError> {
        let loaded = options.store.load().await?;
        let mut publisher = Publisher::new(Arc::clone(&options.host));
        let table = publisher.all(&loaded.state)?;
        let used = digests(&loaded.state);
        options.blobs.sweep(|digest| used.contains(&digest))?;
        tracing::info!(revision = loaded.state.revision().0, "state loaded");
        Ok(Arc::new(Self {
            host: options.host,
            store: options.store,
            blobs: Arc::new(options.blobs),
            access: options.access,
            data_listen: options.data_listen,
            program_version: options.program_version,
            started_ms: now_ms(),
            uploads: Semaphore::new(UPLOADS_MAX),
            stopping: watch::Sender::new(false),
            table: Arc::new(ArcSwap::from_pointee(table)),
            state: ArcSwap::from_pointee(loaded.state),
            writer: Mutex::new(Writer { publisher, head: loaded.head }),
            deployments: Arc::new(Semaphore::new(DEPLOYMENTS_MAX)),
            compilations: Semaphore::new(COMPILATIONS_MAX),
        }))
    }

    /// Where tables are published, for the data plane.
    pub fn tables(&self) -> Arc<ArcSwap<RouteTable<H::Version>>> {
        Arc::clone(&self.table)
    }

    /// The state that is published.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Whether `token` may use the admin API.
    pub fn accepts(&self, token: &str) -> bool {
        self.access.actor(token).is_some()
    }

    /// Sets the weights of a stage.
    ///
    /// # Errors
    /// See [`State::plan_traffic`]; a revision other than expected; the store.
    pub async fn set_traffic(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        shares: Vec<(VersionRef, Weight)>,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(note, move |state| state.plan_traffic(&function, &stage, &shares)).await
    }

    /// Makes the canary stable.
    ///
    /// # Errors
    /// See [`State::plan_promote`]; a revision other than expected; the store.
    pub async fn promote(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(note, move |state| state.plan_promote(&function, &stage).map(Some)).await
    }

    /// Ends a rollout with all traffic to stable.
    ///
    /// # Errors
    /// See [`State::plan_abort`]; a revision other than expected; the store.
    pub async fn abort(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(note, move |state| state.plan_abort(&function, &stage).map(Some)).await
    }

    /// Sends all traffic to an earlier version.
    ///
    /// # Errors
    /// See [`State::plan_rollback`]; a revision other than expected; the store.
    pub async fn rollback(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        to: Option<VersionRef>,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(note, move |state| state.plan_rollback(&function, &stage, to)).await
    }

    /// Deletes a function.
    ///
    /// # Errors
    /// An unknown function; a revision other than expected; the store.
    pub async fn delete(
        self: &Arc<Self>,
        function: FunctionName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(note, move |state| state.plan_delete(&function).map(Some)).await
    }

    /// Entries of the journal, newest first.
    ///
    /// # Errors
    /// The store.
    pub async fn journal(&self, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
        self.store.journal(range).await
    }

    /// Walks the journal's chain of hashes; gives the revision of its last entry.
    ///
    /// # Errors
    /// Where the chain is broken.
    pub async fn verify_journal(&self) -> Result<Revision, VerifyError> {
        self.store.verify().await
    }

    /// [`commit`](Self::commit) in a task of its own, so that a client that goes away cannot leave a
    /// change durable and unpublished.
    async fn mutate(
        self: &Arc<Self>,
        note: Note,
        plan: impl FnOnce(&State) -> Result<Option<Change>, PlanError> + Send + 'static,
    ) -> Result<Arc<State>, ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move { control.commit(note, now_ms(), plan).await });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Plans, commits and publishes one change; gives the state with it. A plan of no change gives the
    /// state as it is.
    async fn commit(
        &self,
        note: Note,
        now_ms: u64,
        plan: impl FnOnce(&State) -> Result<Option<Change>, PlanError>,
    ) -> Result<Arc<State>, ControlError> {
        let mut writer = self.writer.lock().await;
        let before = self.state();
        note.check(before.revision())?;
        let Some(change) = plan(&before)? else { return Ok(before) };
        let name = change.function.clone();
        let entry = Draft {
            revision: before.revision().next(),
            at_ms: now_ms,
            actor: note.actor,
            origin: note.origin,
            message: note.message,
            change,
            previous_hash: writer.head,
        }
        .seal();
        let mut after = State::clone(&before);
        after.apply(&entry.change, &entry.meta());
        let next = writer.publisher.changed(&after, &name)?;
        let function = after.stored_function(&name).cloned().unwrap_or_default();
        self.store.commit(Commit { entry: entry.clone(), function }).await?;

        writer.head = entry.hash;
        let table = writer.publisher.keep(next);
        let after = Arc::new(after);
        self.table.store(Arc::new(table));
        self.state.store(Arc::clone(&after));
        log(&entry);
        self.collect(&before, &after, &name).await;
        Ok(after)
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
        let _writer = self.writer.lock().await;
        if !digests(&self.state()).contains(&component) {
            self.remove(HashSet::from([component])).await;
        }
    }

    async fn remove(&self, components: HashSet<Digest>) {
        let blobs = Arc::clone(&self.blobs);
        let removed = tokio::task::spawn_blocking(move || blobs.collect(components)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "unused components were not removed");
        }
    }
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
