//! The control plane itself: one writer that plans, commits and publishes.

mod approvals;
mod backup;
mod commands;
mod components;
mod deploy;
mod ended_counts;
mod error;
mod following;
mod handing_over;
mod preparing;
mod reconcile;
mod refusals;
mod secrets;
mod suspending;
mod tokens;
mod trap_memory;
mod triggers;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, watch};
use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};
use wasm_fn_rollout::Time;
use wasm_fn_router::{HeldVersion, RouteTable, Salt};
use wasm_fn_secrets::{KeyError, Keyring, NodeKey};
use wasm_fn_store::{Blobs, JournalRange, Store, StoreError};

use crate::{
    access::Access,
    analysis::{Analyses, Analysis, ClusterNode},
    clock::Clock,
    documents::{self, LoadedState, VerifyError},
    host::Host,
    journal::{Entry, GENESIS, Hash, NotedHead},
    peers::{Exchange, Peers},
    publish::{Next, Publisher, TableError},
    secrets::SecretKeys,
    state::{AccessChange, Action, Change, ChangeError, FunctionChange, StageKey, StageRules, State},
};

pub use backup::Backup;
pub use commands::ChangedValue;
pub use commands::GateStanding;
use components::ComponentUses;
pub use deploy::{Deploy, Deployed};
pub use error::ControlError;
pub use secrets::SecretId;
pub use tokens::CreateToken;
pub use triggers::OperatedEvents;

/// How many deployments may run or wait. More are refused.
const DEPLOYMENTS_MAX: usize = 32;

/// How many backups may be under way. More are refused.
const BACKUPS_MAX: usize = 2;

/// How many components may be compiled at once.
const COMPILATIONS_MAX: usize = 2;

/// The parts of a control plane.
pub struct ControlOptions<H, S> {
    /// Runs the functions.
    pub host: Arc<H>,
    /// Keeps the state.
    pub store: S,
    /// Keeps the components.
    pub blobs: Arc<Blobs>,
    /// Decides who may use the admin API.
    pub access: Access,
    /// What the keys of secrets are sealed under.
    pub secrets_key: NodeKey,
    /// Tells the time.
    pub clock: Clock,
    /// What is asked of releases to stages, by the names of the stages.
    pub stage_rules: StageRules,
    /// Gives new stages and rollouts their salt: [`salt_at_random`].
    pub salt: Box<dyn Fn() -> Salt + Send + Sync>,
    /// The other nodes of the cluster whose state the store keeps; `None` if there is no cluster.
    pub peers: Option<Arc<dyn Peers>>,
}

/// A random salt, which nobody can predict.
pub fn salt_at_random() -> Salt {
    Salt(rand::random())
}

/// The control plane of one node.
///
/// Readers use the current state and table; one writer at a time changes them.
pub struct Control<H: Host, S> {
    host: Arc<H>,
    store: Arc<S>,
    blobs: Arc<Blobs>,
    access: Access,
    secrets: Arc<SecretKeys>,
    clock: Clock,
    stage_rules: StageRules,
    salt: Box<dyn Fn() -> Salt + Send + Sync>,
    /// When this process opened the state.
    started: Time,
    /// Why the node is not ready, although its table is published; `None` if it is ready.
    unready: watch::Sender<Option<String>>,
    table: Arc<ArcSwap<RouteTable<H::Version>>>,
    state: ArcSwap<State>,
    followers: watch::Sender<Arc<State>>,
    // The end of the journal up to the current state.
    head: watch::Sender<NotedHead>,
    writer: Mutex<Writer<H>>,
    // The analyses of published rollouts.
    analyses: ArcSwap<Analyses>,
    // Wakes the task that reconciles the rollouts.
    changed: Arc<Notify>,
    deployments: Arc<Semaphore>,
    compilations: Semaphore,
    backups: Arc<Semaphore>,
    ended: ended_counts::EndedCounts,
    refusals: refusals::RefusalLog,
    token_uses: tokens::LastUses,
    suspended: suspending::SuspendedTokens,
    peers: Option<Arc<dyn Peers>>,
    /// Tells and hears of evidence, if there are other nodes.
    exchange: Option<Exchange>,
    following: following::Following,
}

struct Writer<H: Host> {
    publisher: Publisher<H>,
    /// What the versions of the current state use.
    components: ComponentUses,
    /// Whether another process has, or is about to take, the state.
    handed_over: bool,
}

/// What one entry makes of a state.
struct Built<H: Host> {
    entry: Entry,
    after: State,
    /// `None` if the table does not depend on the change.
    next: Option<Next<H::Version>>,
    /// `None` if the change leaves the keys of secrets as they are.
    ring: Option<Option<Arc<Keyring>>>,
}

/// The first table, and its publisher.
struct Published<H: Host> {
    publisher: Publisher<H>,
    table: RouteTable<H::Version>,
}

/// Who makes a change, from where, why, and the revision that they expect.
#[derive(Clone, Debug)]
pub struct Note {
    /// The name of the token.
    pub actor: String,
    /// The id of the token; `None` for the node itself and the token in the data directory.
    pub token: Option<String>,
    /// The address that the change comes from.
    pub origin: String,
    /// Why the change is made.
    pub message: Option<String>,
    /// The change is refused if its function has changed after this revision.
    pub expected_revision: Option<Revision>,
}

/// Why a control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No table can be built from the state.
    #[error("stored state cannot be published: {0}")]
    Table(#[from] TableError),
    /// The secrets cannot be opened.
    #[error("secrets cannot be opened: {0}")]
    Key(#[from] KeyError),
    /// The components cannot be read.
    #[error("components cannot be read: {0}")]
    Blobs(#[from] io::Error),
}

impl Note {
    /// Checks that `function` has not changed since the revision that its author has seen.
    fn check(&self, state: &State, function: &FunctionName) -> Result<(), ControlError> {
        let Some(expected) = self.expected_revision else { return Ok(()) };
        let found = state.stored_function(function).map_or(Revision::default(), |function| function.revision);
        // A state that is older than what was seen comes from a backup.
        if found > expected || expected > state.revision() {
            return Err(ControlError::Conflict { function: function.clone(), expected, found });
        }
        Ok(())
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// Loads the state and publishes its table.
    ///
    /// # Errors
    /// If the state cannot be read, or no table can be built from it.
    pub async fn open(options: ControlOptions<H, S>) -> Result<Arc<Self>, OpenError> {
        let loaded = documents::load(&options.store).await?;
        let changed = Arc::new(Notify::new());
        let secrets = Arc::new(SecretKeys::open(options.secrets_key, loaded.state.data_keys())?);
        let exchange = options.peers.clone().map(Exchange::new);
        let node = exchange.as_ref().map(Exchange::node);
        let published = publish_all(&options.host, &secrets, &changed, node, &loaded)?;
        let Published { publisher, table } = published;
        let analyses = publisher.analyses();
        let components = ComponentUses::of(&loaded.state);
        let state = Arc::new(loaded.state);
        options.blobs.sweep(|digest| components.contains(digest))?;
        tracing::info!(revision = state.revision().0, "state loaded");
        let control = Arc::new(Self {
            host: options.host,
            store: Arc::new(options.store),
            blobs: options.blobs,
            access: options.access,
            secrets,
            started: options.clock.now(),
            clock: options.clock,
            stage_rules: options.stage_rules,
            salt: options.salt,
            unready: watch::Sender::new(None),
            table: Arc::new(ArcSwap::from_pointee(table)),
            followers: watch::Sender::new(Arc::clone(&state)),
            head: watch::Sender::new(NotedHead { revision: state.revision(), hash: loaded.head }),
            state: ArcSwap::new(state),
            writer: Mutex::new(Writer { publisher, components, handed_over: false }),
            analyses: ArcSwap::new(analyses),
            changed,
            deployments: Arc::new(Semaphore::new(DEPLOYMENTS_MAX)),
            compilations: Semaphore::new(COMPILATIONS_MAX),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            ended: ended_counts::EndedCounts::default(),
            refusals: refusals::RefusalLog::default(),
            token_uses: tokens::LastUses::new(loaded.token_uses),
            suspended: suspending::SuspendedTokens::default(),
            peers: options.peers,
            exchange,
            following: following::Following::default(),
        });
        control.keep_bases();
        tokio::spawn(reconcile::reconcile(Arc::downgrade(&control)));
        tokio::spawn(trap_memory::keep(Arc::downgrade(&control)));
        tokio::spawn(refusals::keep(Arc::downgrade(&control)));
        tokio::spawn(Arc::clone(&control).resume_rotation());
        control.begin_following();
        Ok(control)
    }

    /// The published table, for the data plane.
    pub fn tables(&self) -> Arc<ArcSwap<RouteTable<H::Version>>> {
        Arc::clone(&self.table)
    }

    /// The published state.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Makes `state` the published one. Its table has been.
    fn show(&self, state: Arc<State>, hash: Hash) {
        if let Some(peers) = &self.peers {
            peers.published(state.revision());
        }
        self.head.send_replace(NotedHead { revision: state.revision(), hash });
        self.state.store(Arc::clone(&state));
        self.followers.send_replace(state);
    }

    /// Sets why the admin API reports the node as not ready; `None` if it is ready.
    pub fn set_unready(&self, why: Option<String>) {
        self.unready.send_replace(why);
    }

    /// Why the node is not ready; `None` if it is ready.
    pub fn unready(&self) -> watch::Receiver<Option<String>> {
        self.unready.subscribe()
    }

    /// The host that runs functions.
    pub fn host(&self) -> &Arc<H> {
        &self.host
    }

    /// The stored components.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// The tokens that may use the admin API.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The current time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// When this process opened the state.
    pub fn started(&self) -> Time {
        self.started
    }

    /// Whether `token` may use the addresses of the versions of `function` in `stage`.
    pub fn previews(&self, function: &FunctionName, stage: &StageName, token: &str) -> bool {
        self.access.may_preview(function, stage, token)
    }

    /// Entries of the journal, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn journal(&self, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
        documents::journal(&*self.store, range).await
    }

    /// Verifies the journal's chain of hashes, and that it contains the head that was `noted`. Returns its
    /// own head.
    ///
    /// # Errors
    /// The place where the chain is broken, or differs from the noted head.
    pub async fn verify_journal(&self, noted: Option<NotedHead>) -> Result<NotedHead, VerifyError> {
        documents::verify_journal(&*self.store, noted).await
    }

    /// The end of the journal up to the current state. It waits for no change that is being made.
    pub fn journal_head(&self) -> NotedHead {
        *self.head.borrow()
    }

    /// Changes `function` in a task of its own, so that a change cannot stay committed but unpublished if the
    /// client leaves.
    async fn mutate(
        self: &Arc<Self>,
        function: FunctionName,
        note: Note,
        plan: impl FnMut(&State) -> Result<Option<FunctionChange>, ChangeError> + Send + 'static,
    ) -> Result<Arc<State>, ControlError> {
        let control = Arc::clone(self);
        let task = tokio::spawn(async move { control.commit_function(&function, note, plan).await });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    /// Plans, commits and publishes one change of `function`. Returns the state that includes it, or the
    /// current state if the plan has no change. A plan reads the time only when it runs, because it may have
    /// waited for other changes. It runs again if another node has changed the state meanwhile.
    async fn commit_function<E: Into<ControlError>>(
        &self,
        function: &FunctionName,
        note: Note,
        mut plan: impl FnMut(&State) -> Result<Option<FunctionChange>, E>,
    ) -> Result<Arc<State>, ControlError> {
        let mut writer = self.write().await?;
        loop {
            let before = self.state();
            note.check(&before, function)?;
            let Some(change) = plan(&before).map_err(Into::into)? else { return Ok(before) };
            let committed = self.commit(&mut writer, before, note.clone(), change.into()).await;
            if let Some(done) = self.unless_behind(&mut writer, committed).await? {
                return Ok(done);
            }
        }
    }

    /// The right to change the state.
    async fn write(&self) -> Result<MutexGuard<'_, Writer<H>>, ControlError> {
        let writer = self.writer.lock().await;
        if writer.handed_over { Err(ControlError::HandedOver) } else { Ok(writer) }
    }

    /// Commits and publishes `change` of the state `before`. Returns the state that includes it.
    async fn commit(
        &self,
        writer: &mut Writer<H>,
        before: Arc<State>,
        note: Note,
        change: Change,
    ) -> Result<Arc<State>, ControlError> {
        let entry = Entry {
            revision: before.revision().next(),
            at_ms: self.clock.now_ms(),
            actor: note.actor,
            token: note.token,
            origin: note.origin,
            node: self.peers.as_ref().map(|peers| peers.name().to_string()),
            message: note.message,
            change,
            previous_hash: self.journal_head().hash,
            hash: GENESIS,
        }
        .sealed();
        let built = self.build(writer, &before, entry)?;
        self.announce(&built.entry);
        self.store.commit(documents::commit(&built.entry, &built.after)).await?;
        Ok(self.publish(writer, &before, built).await)
    }

    /// Builds what `entry` makes of the state `before`, and publishes nothing of it.
    fn build(&self, writer: &Writer<H>, before: &State, entry: Entry) -> Result<Built<H>, ControlError> {
        let mut after = State::clone(before);
        after.apply(&entry.change, &entry.meta());
        let next = match changed_by(&entry) {
            Some(change) => Some(writer.publisher.changed(&after, &self.table.load(), &change.function)?),
            // The table does not depend on it.
            None => None,
        };
        let ring = match &entry.change {
            Change::Access(AccessChange::AddDataKey { .. } | AccessChange::DropDataKeys { .. }) => {
                Some(self.secrets.ring(after.data_keys())?)
            }
            _ => None,
        };
        Ok(Built { entry, after, next, ring })
    }

    /// Publishes what was built of the state `before` and is committed now. Returns the state that includes
    /// it.
    async fn publish(&self, writer: &mut Writer<H>, before: &State, built: Built<H>) -> Arc<State> {
        let Built { entry, after, next, ring } = built;
        if let Some(ring) = ring {
            self.secrets.put(ring);
        }

        let changed = changed_by(&entry);
        let unused = changed.map(|change| writer.components.replace(before, &after, &change.function));
        let after = Arc::new(after);
        if let (Some(next), Some(change)) = (next, changed) {
            let (table, over) = writer.publisher.keep(next);
            if change.action.ends_canary() {
                // Also redirects requests that still hold an earlier table.
                over.iter().for_each(|analysis| analysis.leave());
            }
            self.table.store(Arc::new(table));
        }
        self.show(Arc::clone(&after), entry.hash);
        log(&entry);
        if let Some(change) = changed {
            self.ended.count(change, before, &after);
            self.changed.notify_one();
            match &change.action {
                Action::Delete => self.host.forget(&change.function, None, after.revision()).await,
                Action::DeleteStage { stage } => {
                    self.host.forget(&change.function, Some(stage), after.revision()).await;
                }
                _ => {}
            }
            self.keep_base(change, &after);
            self.remove_components(unused.unwrap_or_default()).await;
        }
        after
    }

    /// `version` in the stage at `key`, as published.
    fn entry(&self, (function, stage): &StageKey, version: VersionNo) -> Option<HeldVersion<H::Version>> {
        let table = self.table.load();
        table.stage(function, stage)?.version(version).map(|entry| entry.hold())
    }

    /// The analysis of the rollout at `key`.
    pub(crate) fn analysis(&self, key: &StageKey) -> Option<Arc<Analysis>> {
        self.analyses.load().get(key)
    }
}

impl<H: Host, S> Drop for Control<H, S> {
    fn drop(&mut self) {
        // The tasks then see that the control plane is gone.
        self.changed.notify_one();
        self.refusals.wake();
    }
}

/// Builds everything to publish from `loaded`, with analyses that notify `changed` and are on `node`, if
/// there are others.
fn publish_all<H: Host>(
    host: &Arc<H>,
    secrets: &Arc<SecretKeys>,
    changed: &Arc<Notify>,
    node: Option<&ClusterNode>,
    loaded: &LoadedState,
) -> Result<Published<H>, TableError> {
    let state = &loaded.state;
    let (host, secrets, changed) = (Arc::clone(host), Arc::clone(secrets), Arc::clone(changed));
    let publisher = Publisher::new(host, secrets, changed, loaded.traps.clone());
    let mut publisher = match node {
        Some(node) => publisher.in_cluster(node.clone()),
        None => publisher,
    };
    let table = publisher.all(state)?;
    Ok(Published { publisher, table })
}

/// The change of `entry`, if the table may depend on it.
fn changed_by(entry: &Entry) -> Option<&FunctionChange> {
    match &entry.change {
        Change::Function(change) if !change.action.is_record() => Some(change),
        Change::Function(_) | Change::Access(_) => None,
    }
}

fn log(entry: &Entry) {
    let action = entry.change.action();
    tracing::info!(
        revision = entry.revision.0,
        function = entry.change.function().map(tracing::field::display),
        action = entry.change.as_str(),
        stage = action.and_then(Action::stage).map(tracing::field::display),
        version = action.and_then(Action::version).map(tracing::field::display),
        actor = entry.actor,
        origin = entry.origin,
        "state changed"
    );
}

#[cfg(test)]
mod tests;
