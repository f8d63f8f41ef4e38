//! A store whose commits are the messages of the cluster's log. A replica on the node's own disk has them
//! all.

mod commit;
mod fault;
mod follower;
mod reading;
mod trimming;
mod window;

use std::{
    fmt,
    path::Path,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::Revision;
use wasm_fn_store::{
    Commit, EmbeddedStore, Followed, JournalRange, KnownTraps, Loaded, Record, Store, StoreError, TokenUses,
};

use self::{fault::Fault, window::Window};
use crate::{
    Contact, Leases, Messages,
    link::Link,
    names::Names,
    snapshots::{Received, Snapshots},
};

/// Decides whether a record follows another.
pub trait Chain: Send + Sync + 'static {
    /// Checks that `next` follows `previous`, the record of the revision before; `None` at the first
    /// revision.
    ///
    /// # Errors
    /// Why it does not.
    fn verify(&self, previous: Option<&Record>, next: &Record) -> Result<(), String>;
}

/// A node's own copy of the state, which can go on from a snapshot.
pub trait Replica: Store {
    /// The directory for a snapshot that is written or received.
    fn folder(&self) -> &Path;

    /// Takes what `ahead` has, which goes on from what this copy has, as a whole or not at all.
    ///
    /// # Errors
    /// As of [`commit`](Store::commit).
    fn advance_to(&self, ahead: &EmbeddedStore) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Replica for EmbeddedStore {
    fn folder(&self) -> &Path {
        self.data_dir()
    }

    fn advance_to(&self, ahead: &EmbeddedStore) -> impl Future<Output = Result<(), StoreError>> + Send {
        EmbeddedStore::advance_to(self, ahead)
    }
}

/// A store whose commits are the messages of the cluster's log.
///
/// Its replica is in a store of the type `R`. It is released when its last clone is dropped, and by
/// [`release`](Store::release).
pub struct ReplicatedStore<R = EmbeddedStore> {
    inner: Arc<Inner<R>>,
    // The follower has the inner store, too, and ends with this.
    _end: Arc<tokio_util::sync::DropGuard>,
}

pub(crate) struct StoreOptions<R> {
    pub(crate) replica: R,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) link: Link,
    pub(crate) contact: Contact,
    pub(crate) messages: Messages,
    pub(crate) leases: Leases,
    pub(crate) snapshots: Snapshots,
    pub(crate) names: Names,
    pub(crate) lease: Duration,
    /// How many changes the log keeps behind the last snapshot.
    pub(crate) log_keep: u64,
    pub(crate) stop: CancellationToken,
}

struct Inner<R> {
    options: StoreOptions<R>,
    /// What the replica ends with. Whoever holds it applies commits.
    end: tokio::sync::Mutex<Option<Record>>,
    head: watch::Sender<Head>,
    /// The number of the connection over which the log was found to go on from the replica's end; 0 if none.
    checked: watch::Sender<u64>,
    window: Mutex<Window>,
    /// Rings when the log should be looked at.
    nudge: Notify,
    follower: Mutex<Option<Follower>>,
}

/// How far the replica is.
#[derive(Clone, Debug)]
struct Head {
    revision: Revision,
    /// Why it does not go on.
    fault: Option<Fault>,
    is_released: bool,
}

struct Follower {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl<R> Clone for ReplicatedStore<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), _end: Arc::clone(&self._end) }
    }
}

impl<R> fmt::Debug for ReplicatedStore<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicatedStore").field("head", &*self.inner.head.borrow()).finish_non_exhaustive()
    }
}

impl<R: Replica> ReplicatedStore<R> {
    /// Follows the log, on the current tokio runtime, from where the replica ends.
    pub(crate) async fn start(options: StoreOptions<R>) -> Result<Self, StoreError> {
        let loaded = options.replica.load().await?;
        let head = Head { revision: loaded.revision, fault: None, is_released: false };
        let stop = options.stop.clone();
        let inner = Arc::new(Inner {
            options,
            end: tokio::sync::Mutex::new(loaded.last),
            head: watch::channel(head).0,
            checked: watch::channel(0).0,
            window: Mutex::new(Window::default()),
            nudge: Notify::new(),
            follower: Mutex::new(None),
        });
        inner.options.messages.set_head(loaded.revision);
        inner.follow_log();
        let (leases, snapshots) = (inner.options.leases.clone(), inner.options.snapshots.clone());
        let trimming =
            trimming::run(Arc::clone(&inner), leases, snapshots, inner.options.log_keep, stop.clone());
        tokio::spawn(trimming);
        Ok(Self { inner, _end: Arc::new(stop.drop_guard()) })
    }

    /// The revision that the replica has.
    pub fn revision(&self) -> Revision {
        self.inner.head.borrow().revision
    }

    /// Why the replica does not go on, if that is so.
    pub fn fault(&self) -> Option<StoreError> {
        self.inner.head.borrow().fault.as_ref().map(Fault::to_error)
    }
}

impl<R: Replica> Inner<R> {
    /// Starts the follower.
    fn follow_log(self: &Arc<Self>) {
        let stop = self.options.stop.child_token();
        let task = tokio::spawn(follower::run(Arc::clone(self), stop.clone()));
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(Follower { stop, task });
    }

    /// Applies what of `commits` the replica does not have. They have to follow each other.
    ///
    /// # Cancel safety
    /// It goes on if the future is dropped: the replica would else be further than is known here.
    async fn apply(self: &Arc<Self>, commits: Vec<Commit>) -> Result<(), Fault> {
        let inner = Arc::clone(self);
        let applied = tokio::spawn(async move { inner.apply_whole(commits).await });
        applied.await.unwrap_or_else(|error| Err(self.interrupted(&error)))
    }

    /// Goes on from `received`, which was verified to follow the replica.
    ///
    /// # Cancel safety
    /// It goes on if the future is dropped.
    async fn jump(self: &Arc<Self>, received: Received) -> Result<(), Fault> {
        let inner = Arc::clone(self);
        let jumped = tokio::spawn(async move {
            let mut end = inner.end.lock().await;
            inner.options.replica.advance_to(&received.store).await.map_err(Fault::Replica)?;
            let revision = received.last.revision;
            *end = Some(received.last.clone());
            inner.reached(revision);
            Ok(())
        });
        jumped.await.unwrap_or_else(|error| Err(self.interrupted(&error)))
    }

    fn interrupted(&self, error: &tokio::task::JoinError) -> Fault {
        let path = PathBuf::from(&*self.options.names.log);
        Fault::Replica(StoreError::Database { path, reason: error.to_string() })
    }

    /// The replica has everything up to `revision`.
    fn reached(&self, revision: Revision) {
        self.options.messages.set_head(revision);
        self.head.send_modify(|head| {
            head.revision = revision;
            // What could not be applied was.
            head.fault.take_if(|fault| !fault.is_lasting());
        });
    }

    async fn apply_whole(&self, commits: Vec<Commit>) -> Result<(), Fault> {
        let mut end = self.end.lock().await;
        let at = end.as_ref().map_or(Revision(0), |record| record.revision);
        let new: Vec<Commit> = commits.into_iter().filter(|commit| commit.revision > at).collect();
        let mut previous = end.clone();
        for commit in &new {
            let revision = previous.as_ref().map_or(Revision(0), |record| record.revision).next();
            let record = Record { revision: commit.revision, text: commit.record.clone() };
            if commit.revision != revision {
                let reason = format!("log goes on with revision {}, expected {revision}", commit.revision);
                return Err(Fault::Diverged { revision, reason });
            }
            self.options
                .chain
                .verify(previous.as_ref(), &record)
                .map_err(|reason| Fault::Diverged { revision, reason })?;
            previous = Some(record);
        }
        let Some(last) = previous.filter(|_| !new.is_empty()) else { return Ok(()) };
        self.options.replica.commit_all(new.clone()).await.map_err(Fault::Replica)?;
        let revision = last.revision;
        *end = Some(last);
        self.window.lock().unwrap_or_else(PoisonError::into_inner).push_all(new);
        self.reached(revision);
        Ok(())
    }

    fn fail(&self, fault: Fault) {
        self.options.contact.missing(fault.to_error().to_string());
        self.head.send_if_modified(|head| {
            let is_new = head.fault.as_ref().map(Fault::to_text) != Some(fault.to_text());
            if is_new {
                tracing::error!(error = %fault.to_error(), "state does not go on");
                head.fault = Some(fault);
            }
            is_new
        });
    }
}

impl<R: Replica> Store for ReplicatedStore<R> {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.inner.options.replica.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.inner.commit(commit).await
    }

    async fn follow(&self, after: Revision) -> Result<Followed, StoreError> {
        let mut head = self.inner.head.subscribe();
        loop {
            {
                let head = head.borrow_and_update();
                if head.revision > after {
                    let window = self.inner.window.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(window.get(after.next()).map_or(Followed::Reload, Followed::Commit));
                }
                if let Some(fault) = head.fault.as_ref().filter(|fault| fault.is_lasting()) {
                    return Err(fault.to_error());
                }
            }
            if head.changed().await.is_err() {
                // The store has the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.inner.options.replica.keep_traps(traps).await
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        self.inner.options.replica.keep_token_uses(uses).await
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        self.inner.options.replica.journal(range).await
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.options.replica.journal_after(after, limit).await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.inner.options.replica.copy(folder, begun).await
    }

    async fn release(&self) {
        let follower = self.inner.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Follower { stop, task }) = follower {
            stop.cancel();
            let _ = task.await;
        }
        self.inner.checked.send_replace(0);
        // What is being applied ends before.
        let _end = self.inner.end.lock().await;
        self.inner.head.send_modify(|head| head.is_released = true);
        self.inner.options.replica.release().await;
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.inner.options.replica.take_back().await?;
        let loaded = self.inner.options.replica.load().await?;
        // Another process may have gone on with it.
        *self.inner.end.lock().await = loaded.last;
        self.inner.options.messages.set_head(loaded.revision);
        self.inner.head.send_modify(|head| {
            *head = Head { revision: loaded.revision, fault: None, is_released: false };
        });
        let has_follower = self.inner.follower.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !has_follower {
            self.inner.follow_log();
        }
        Ok(())
    }
}
