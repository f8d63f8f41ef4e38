//! Following what other nodes of the cluster commit, and standing apart while out of touch with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_rollout::{Phase, Time};
use wasm_fn_store::{Commit, Followed, Store, StoreError};

use super::{Control, ControlError, OpenError, Writer, changed_by, preparing, suspending};
use crate::{
    documents,
    host::Host,
    journal::Entry,
    peers::{Exchange, PeerMessage, Peers, Touch},
    state::{StageKey, State},
};

/// What this node knows of the cluster's time and of its own place in it.
#[derive(Default)]
pub(super) struct Following {
    /// When this node heard of phases that other nodes began. Their clocks may differ from its own.
    heard: Mutex<BTreeMap<StageKey, (Phase, Time)>>,
    /// Whether canaries get no requests here, because the node is out of touch.
    is_apart: AtomicBool,
}

/// How long to wait before following again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Why the state cannot be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The name of the lease of the rollout at `key`: only the node that has it decides.
fn lease(key: &StageKey) -> String {
    format!("rollout.{}.{}", key.0, key.1)
}

impl<H: Host, S: Store> Control<H, S> {
    /// Starts to follow the other nodes, if there are any.
    pub(super) fn begin_following(self: &Arc<Self>) {
        let Some(peers) = &self.peers else { return };
        peers.published(self.state().revision());
        if *peers.touch().borrow() != Touch::In {
            self.stand_apart(true);
        }
        tokio::spawn(follow(Arc::downgrade(self), Arc::clone(&self.store)));
        if let Some(known) = &self.exchange {
            tokio::spawn(exchange(Arc::downgrade(self), known.clone()));
        }
        tokio::spawn(mind_touch(Arc::downgrade(self), Arc::clone(peers)));
        tokio::spawn(mind_leases(Arc::downgrade(self), Arc::clone(peers)));
        tokio::spawn(preparing::prepare(Arc::downgrade(self)));
        tokio::spawn(suspending::tell_again(Arc::downgrade(self)));
    }

    /// What was `committed`; `None` if another node was first, after everything that it committed was
    /// published here.
    pub(super) async fn unless_behind(
        &self,
        writer: &mut Writer<H>,
        committed: Result<Arc<State>, ControlError>,
    ) -> Result<Option<Arc<State>>, ControlError> {
        match committed {
            Ok(after) => Ok(Some(after)),
            Err(ControlError::Store(StoreError::Conflict { found, .. })) if self.peers.is_some() => {
                self.catch_up(writer, found).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Publishes what other nodes committed, up to the revision `until`.
    async fn catch_up(&self, writer: &mut Writer<H>, until: Revision) -> Result<(), ControlError> {
        while self.state().revision() < until {
            let followed = self.store.follow(self.state().revision()).await?;
            self.take_in(writer, followed).await.map_err(|error| match error {
                FollowError::Store(error) | FollowError::Open(OpenError::Store(error)) => error.into(),
                FollowError::Control(error) => error,
                FollowError::Open(OpenError::Table(error)) => error.into(),
                FollowError::Open(OpenError::Key(error)) => error.into(),
                FollowError::Open(OpenError::Blobs(error)) => error.into(),
            })?;
        }
        Ok(())
    }

    /// Publishes what the store has and other nodes committed, without waiting for more.
    async fn take_in_all(&self) -> Result<(), FollowError> {
        let mut writer = self.writer.lock().await;
        while let Some(followed) = self.store.follow(self.state().revision()).now_or_never() {
            self.take_in(&mut writer, followed?).await?;
        }
        Ok(())
    }

    /// Publishes what follows the state.
    async fn take_in(&self, writer: &mut Writer<H>, followed: Followed) -> Result<(), FollowError> {
        let before = self.state();
        match followed {
            Followed::Commit(commit) if commit.revision == before.revision().next() => {
                if let Some(entry) = self.entry_of(&commit) {
                    let built = self.build(writer, &before, entry)?;
                    // A node of another release may write its documents otherwise.
                    if documents::commit(&built.entry, &built.after) == commit {
                        self.hear_of_phases(
                            &before,
                            &built.after,
                            changed_by(&built.entry).map(|change| &change.function),
                        );
                        self.publish(writer, &before, built).await;
                        self.stand_as_before();
                        return Ok(());
                    }
                }
                self.reload(writer).await
            }
            // This process has made it.
            Followed::Commit(commit) if commit.revision <= before.revision() => Ok(()),
            Followed::Commit(_) | Followed::Reload => self.reload(writer).await,
        }
    }

    /// The entry of `commit`; `None` if it is not one that this program can read.
    fn entry_of(&self, commit: &Commit) -> Option<Entry> {
        match Entry::parse(&commit.record) {
            Ok(entry) => Some(entry),
            Err(error) => {
                let revision = commit.revision.0;
                tracing::warn!(revision, error = error.0, "a change of another node cannot be read");
                None
            }
        }
    }

    /// Publishes the whole state of the store.
    async fn reload(&self, writer: &mut Writer<H>) -> Result<(), FollowError> {
        let loaded = documents::load(&*self.store).await?;
        let before = self.state();
        if loaded.state.revision() > before.revision() {
            tracing::info!(revision = loaded.state.revision().0, "state loaded anew");
            self.hear_of_phases(&before, &loaded.state, None);
            self.publish_anew(writer, loaded).await?;
            self.stand_as_before();
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Notes when this node hears of phases that another node began: of the function `changed`, or of all if
    /// there may be several.
    fn hear_of_phases(&self, before: &State, after: &State, changed: Option<&FunctionName>) {
        let mut heard = self.following.heard();
        heard.retain(|key, (phase, _)| after.rollout(key).is_some_and(|rollout| rollout.phase == *phase));
        let one = changed.and_then(|name| Some((name, after.stored_function(name)?)));
        let all = after.functions().filter(|_| changed.is_none());
        for (name, function) in one.into_iter().chain(all) {
            for (stage, stands) in &function.stages {
                let Some(rollout) = &stands.rollout else { continue };
                let key = (name.clone(), stage.clone());
                if before.rollout(&key).is_none_or(|known| known.phase != rollout.phase) {
                    heard.insert(key, (rollout.phase.clone(), self.clock.now()));
                }
            }
        }
    }

    /// From when on this node can tell how long the rollout at `key` has been in `phase`.
    pub(super) fn observed_since(&self, key: &StageKey, phase: &Phase) -> Time {
        match self.following.heard().get(key) {
            Some((heard, at)) if heard == phase => self.started.max(*at),
            _ => self.started,
        }
    }

    /// Whether this node decides about the rollout at `key`.
    pub(super) fn decides(&self, key: &StageKey) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.has(&lease(key)))
    }

    /// Has all nodes send no more requests to a canary that `entry` takes back, before that is committed: a
    /// broker that has lost its leader takes seconds for it.
    pub(super) fn announce(&self, entry: &Entry) {
        let Some(change) = changed_by(entry).filter(|change| change.action.ends_canary()) else { return };
        // A node that is out of touch is refused the change.
        if self.peers.as_ref().is_some_and(|peers| peers.is_in_touch())
            && let Some(stage) = change.action.stage()
            && let Some(analysis) = self.analysis(&(change.function.clone(), stage.clone()))
        {
            analysis.withhold();
        }
    }

    /// Asks for the leases of the rollouts under way.
    pub(super) fn contend(&self) {
        if let Some(peers) = &self.peers {
            let leases: BTreeSet<_> = self.rollouts().iter().map(lease).collect();
            peers.contend(leases);
        }
    }

    /// Sets whether the canaries of all rollouts get no requests on this node.
    fn stand_apart(&self, apart: bool) {
        self.following.is_apart.store(apart, SeqCst);
        for (_, analysis) in self.analyses.load().all() {
            analysis.stand_apart(apart);
        }
    }

    /// The same for analyses that are new.
    fn stand_as_before(&self) {
        if self.following.is_apart.load(SeqCst) {
            self.stand_apart(true);
        }
    }
}

impl Following {
    fn heard(&self) -> MutexGuard<'_, BTreeMap<StageKey, (Phase, Time)>> {
        // Nothing panics while holding the lock.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what other nodes commit, until the control plane is gone.
async fn follow<H: Host, S: Store>(control: Weak<Control<H, S>>, store: Arc<S>) {
    loop {
        let Some(revision) = control.upgrade().map(|control| control.state().revision()) else { return };
        // The store is waited for without the writer's lock. What it tells is asked for again under it.
        let waited = store.follow(revision).await;
        let Some(control) = control.upgrade() else { return };
        let taken = match waited {
            Ok(_) => control.take_in_all().await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = taken {
            tracing::error!(%error, "the state of the cluster cannot be followed");
            drop(control);
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Tells and hears what nodes saw of rollouts, and hears of tokens, until the control plane is gone.
async fn exchange<H: Host, S: Store>(control: Weak<Control<H, S>>, exchange: Exchange) {
    let analyses = || control.upgrade().map(|control| control.analyses.load_full());
    // Nodes of a newer release may have more to say.
    let other = |message: PeerMessage| {
        if let Some(control) = control.upgrade() {
            control.hear_of_token(&message);
        }
    };
    exchange.run(analyses, other).await;
}

/// Stands apart while the node is out of touch.
async fn mind_touch<H: Host, S: Store>(control: Weak<Control<H, S>>, peers: Arc<dyn Peers>) {
    let mut touch = peers.touch();
    loop {
        let now = touch.borrow_and_update().clone();
        let Some(control) = control.upgrade() else { return };
        match now {
            Touch::In if control.following.is_apart.load(SeqCst) => {
                // The canary may have been withdrawn meanwhile.
                match control.take_in_all().await {
                    Ok(()) => {
                        tracing::info!("in touch with the cluster again");
                        control.stand_apart(false);
                    }
                    Err(error) => tracing::error!(%error, "the state of the cluster cannot be followed"),
                }
            }
            Touch::In => {}
            Touch::Out { reason, .. } => {
                tracing::warn!(reason, "out of touch with the cluster: canaries get no requests here");
                control.stand_apart(true);
            }
        }
        control.changed.notify_one();
        drop(control);
        if touch.changed().await.is_err() {
            return;
        }
    }
}

/// Has the rollouts looked at again whenever the node gets or loses a lease.
async fn mind_leases<H: Host, S: Store>(control: Weak<Control<H, S>>, peers: Arc<dyn Peers>) {
    let mut leases = peers.leases();
    while leases.changed().await.is_ok() {
        let Some(control) = control.upgrade() else { return };
        control.changed.notify_one();
    }
}
