//! One writer for a database file, and group commit: what waits is written in one transaction.
//!
//! A thread takes operations from a bounded queue, applies all that wait to one write transaction, commits
//! it, and then completes them. So many writers share the cost of one flush of the disk. Operations are
//! applied one after the other, so what one of them checks still holds when it writes. An operation that
//! refuses has to do so before it writes anything; then it undoes nothing of the others.
//!
//! If the disk fails, the transaction is undone, all its operations fail, and the database is opened again,
//! because redb refuses to work after an error of the disk. An error of a disk that is not full may hide that
//! the transaction was kept. It is kept as a whole even then.

mod file;
mod operation;
mod writer;

use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use redb::{Database, Key, Table, Value, WriteTransaction};
use tokio::sync::{Semaphore, oneshot};

pub(super) use self::file::{DatabaseFile, META, failed};
use self::{
    file::Held,
    operation::{Message, Pending, Replacement},
    writer::Writer,
};
use crate::StoreError;

/// The units by which the queue is bounded, 1 KiB each.
const UNITS: u32 = 64 << 10;

/// The units of the smallest operation, so that at most 1,024 of them wait.
const UNITS_MIN: u32 = 64;

/// Operations that may wait for a later commit.
const DEFERRED_MAX: usize = 8192;

/// Operations that may wait, and go along with one that may not. More would hold it up.
const DEFERRED_ALONG_MAX: usize = 64;

/// Messages that fit into the queue: those operations, and some that are no operations.
const MESSAGES_MAX: usize = (UNITS / UNITS_MIN) as usize + DEFERRED_MAX + 64;

/// When an operation is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Once it is on disk.
    Durable,
    /// Once readers see it. It is on disk half a second later.
    Visible,
}

/// What is left to remove after a step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// Nothing.
    All,
    /// Something, perhaps.
    Some,
}

/// Told that the database was opened again.
type Reopened = Box<dyn FnMut(&Database) -> Result<(), redb::Error> + Send>;

/// What the owner of a database has its writer do.
pub(super) struct Hooks {
    /// Removes a bounded number of rows that nothing refers to.
    pub(super) sweep: fn(&WriteTransaction) -> Result<Swept, redb::Error>,
    /// Reads again what the owner keeps in memory: the database was reopened.
    pub(super) reopened: Reopened,
}

/// The writer of a database file. The last clone closes the file when it is dropped, and waits for that.
#[derive(Clone)]
pub(super) struct GroupCommit {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    // Readers use the file; only the writer's thread takes the lock for itself, to close or open the file.
    held: Arc<RwLock<Held>>,
    // `None` only while this is dropped.
    sender: Option<SyncSender<Message>>,
    thread: Option<thread::JoinHandle<()>>,
    room: Arc<Semaphore>,
    deferred_room: Arc<Semaphore>,
    sweep: Arc<AtomicBool>,
}

impl GroupCommit {
    /// Starts the writer of `database`, which `file` opened.
    ///
    /// # Errors
    /// The operating system cannot start a thread.
    pub(super) fn start(file: DatabaseFile, database: Database, hooks: Hooks) -> Result<Self, StoreError> {
        let path = file.path.clone();
        let held = Arc::new(RwLock::new(Held::Open(database)));
        let (sender, receiver) = sync_channel(MESSAGES_MAX);
        let sweep = Arc::new(AtomicBool::new(true));
        let writer = Writer::new(file, Arc::clone(&held), receiver, hooks, Arc::clone(&sweep));
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| StoreError::of_io(&path, &error))?;
        let shared = Shared {
            path,
            held,
            sender: Some(sender),
            thread: Some(thread),
            room: Arc::new(Semaphore::new(UNITS as usize)),
            deferred_room: Arc::new(Semaphore::new(DEFERRED_MAX)),
            sweep,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Has the writer apply `apply`, and waits until that is complete. After the commit and before that, the
    /// writer calls `then`, in the order of the operations. `bytes` is roughly what `apply` has in memory; it
    /// waits until the queue has room.
    ///
    /// # Errors
    /// The transaction failed. Nothing of the operation was kept.
    ///
    /// # Cancel safety
    /// If the future is dropped, the operation may still happen.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        bytes: usize,
        apply: impl FnMut(&WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let units = u32::try_from(bytes >> 10).unwrap_or(UNITS).saturating_add(UNITS_MIN).min(UNITS);
        let room = Arc::clone(&self.shared.room).acquire_many_owned(units).await;
        let room = room.expect("the semaphore is never closed");
        let (reply, replied) = oneshot::channel();
        let operation = Box::new(Pending::new(apply, then, Some(reply), room));
        self.send(Message::Operation { urgency, operation })?;
        replied.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Has the writer apply `apply` with one of the next commits, within a fifth of a second, and again if a
    /// commit fails. Waits only until it is queued.
    ///
    /// # Errors
    /// The writer has ended.
    pub(super) async fn defer<T: Send + 'static>(
        &self,
        apply: impl FnMut(&WriteTransaction) -> Result<T, redb::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<(), StoreError> {
        let room = Arc::clone(&self.shared.deferred_room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        self.send(Message::Deferred(Box::new(Pending::new(apply, then, None, room))))
    }

    /// Calls `work` with the database. Blocks as long as `work` does, and while the file is being opened.
    ///
    /// # Errors
    /// The error of `work`, or the file is not open.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let held = self.shared.held.read().unwrap_or_else(PoisonError::into_inner);
        let database = held.database(&self.shared.path)?;
        work(database).map_err(|error| {
            let error = failed(&self.shared.path, &error);
            // If the queue is full, its next operation notices it as well.
            let _ = self.shared.sender.as_ref().map(|sender| sender.try_send(Message::Check));
            error
        })
    }

    /// [`read`](Self::read) on a thread that may block.
    pub(super) async fn read_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || this.read(work)).await;
        done.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Has the writer sweep, a step with each transaction, until nothing is left. So does opening the file.
    pub(super) fn sweep(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.sweep)
    }

    /// Writes what is queued, and closes the file, so that another process can open it. After that every
    /// operation is refused until [`take_back`](Self::take_back).
    pub(super) async fn release(&self) {
        let (reply, replied) = oneshot::channel();
        if self.send_control(Message::Release(reply)).await.is_ok() {
            let _ = replied.await;
        }
    }

    /// Opens the file again. Another process may have changed it meanwhile.
    ///
    /// # Errors
    /// The file cannot be opened. It then stays closed.
    pub(super) async fn take_back(&self) -> Result<(), StoreError> {
        let (reply, replied) = oneshot::channel();
        self.send_control(Message::TakeBack(reply)).await?;
        replied.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Writes what is queued, and has the file at `from` take the place of this one. Calls `then` in between.
    /// Whoever reads or writes meanwhile waits.
    ///
    /// # Errors
    /// The file was released; `from` cannot be moved, and this file is open as before; `from` cannot be
    /// opened, and nothing is.
    pub(super) async fn replace(
        &self,
        from: PathBuf,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let (reply, replied) = oneshot::channel();
        let replacement = Replacement { from, then: Box::new(then), reply };
        self.send_control(Message::Replace(Box::new(replacement))).await?;
        replied.await.unwrap_or_else(|_| Err(self.ended()))
    }

    async fn send_control(&self, message: Message) -> Result<(), StoreError> {
        // These are in no semaphore, so there may be no room for them at once.
        let this = self.clone();
        let sent = tokio::task::spawn_blocking(move || {
            let sender = this.shared.sender.as_ref().expect("there is a sender until the last clone is gone");
            sender.send(message).map_err(|_| this.ended())
        });
        sent.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        let sender = self.shared.sender.as_ref().expect("there is a sender until the last clone is gone");
        // Never full: the semaphores let in fewer operations.
        sender.try_send(message).map_err(|_| self.ended())
    }

    /// The error after a panic of the writer.
    fn ended(&self) -> StoreError {
        StoreError::Database { path: self.shared.path.clone(), reason: "its writer has ended".to_owned() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Has the writer whose flag `sweep` is sweep with its next transaction.
pub(super) fn want_sweep(sweep: &AtomicBool) {
    sweep.store(true, Ordering::Release);
}

/// Removes at most `limit` rows of `range` from `table`. Returns how many.
pub(super) fn remove<'k, K, V>(
    table: &mut Table<'_, K, V>,
    range: Range<K::SelfType<'k>>,
    limit: usize,
) -> Result<usize, redb::Error>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'k>: std::borrow::Borrow<K::SelfType<'k>> + 'k,
{
    let mut removed = 0;
    for row in table.extract_from_if(range, |_, _| true)?.take(limit) {
        row?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
