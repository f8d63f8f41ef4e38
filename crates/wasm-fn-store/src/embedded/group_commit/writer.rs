//! The thread that writes.

use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use redb::{Durability, WriteTransaction};

use super::{
    DEFERRED_ALONG_MAX, DEFERRED_MAX, DatabaseFile, Hooks, Swept, Urgency,
    file::{Held, failed},
    operation::{Message, Operation, Replacement},
};
use crate::StoreError;

/// How long operations that may wait do so at most.
const DEFERRED_FOR: Duration = Duration::from_millis(200);

/// How long what readers see may not be on disk. With the flush, this is under a second.
const VISIBLE_FOR: Duration = Duration::from_millis(500);

/// How long the writer waits before it sweeps again after an error.
const SWEEP_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The size of a file from which on each commit flushes twice, and saves what redb would otherwise read the
/// whole file for when it opens it after a crash or an error of the disk, at up to two seconds a GiB.
const QUICK_REPAIR_FROM_BYTES: u64 = 256 << 20;

/// What ends the writer's wait.
enum Wake {
    Message(Message),
    /// Something may wait no longer.
    Deadline,
    /// Nobody can send any more.
    Closed,
}

/// Why a transaction failed.
struct Failure {
    error: StoreError,
    /// The deferred operation that failed of itself, not by the disk's fault.
    culprit: Option<usize>,
    /// Whether the file is not open, and is not to be.
    is_released: bool,
}

pub(super) struct Writer {
    file: DatabaseFile,
    held: Arc<RwLock<Held>>,
    receiver: Receiver<Message>,
    hooks: Hooks,
    sweep: Arc<AtomicBool>,
    sweep_not_before: Option<Instant>,
    deferred: Vec<Box<dyn Operation>>,
    // When `deferred` is to be written; `Some` while there are any.
    deferred_until: Option<Instant>,
    // When what readers see is to be on disk; `Some` while something is not.
    flush_at: Option<Instant>,
    // After an error, operations are refused as long as opening the file took, so that readers get at it.
    refused: Option<(Instant, StoreError)>,
}

impl Writer {
    pub(super) fn new(
        file: DatabaseFile,
        held: Arc<RwLock<Held>>,
        receiver: Receiver<Message>,
        hooks: Hooks,
        sweep: Arc<AtomicBool>,
    ) -> Self {
        Self {
            file,
            held,
            receiver,
            hooks,
            sweep,
            sweep_not_before: None,
            deferred: Vec::new(),
            deferred_until: None,
            flush_at: None,
            refused: None,
        }
    }

    /// Writes until nobody can send any more, and then closes the file.
    pub(super) fn run(mut self) {
        loop {
            let (mut urgent, mut is_durable, mut is_check) = (Vec::new(), false, false);
            let mut wake = self.wait();
            let ends = loop {
                match wake {
                    Wake::Message(Message::Operation { urgency, operation }) => {
                        is_durable |= urgency == Urgency::Durable;
                        urgent.push(operation);
                    }
                    Wake::Message(Message::Deferred(operation)) => {
                        self.deferred.push(operation);
                        self.deferred_until.get_or_insert_with(|| now() + DEFERRED_FOR);
                    }
                    Wake::Message(Message::Check) => is_check = true,
                    Wake::Message(Message::Release(_) | Message::TakeBack(_) | Message::Replace(_))
                    | Wake::Closed => break Some(wake),
                    Wake::Deadline => break None,
                }
                wake = match self.receiver.try_recv() {
                    Ok(message) => Wake::Message(message),
                    Err(TryRecvError::Empty) => break None,
                    Err(TryRecvError::Disconnected) => Wake::Closed,
                };
            };
            self.commit(urgent, is_durable || is_check, ends.is_some());
            match ends {
                Some(Wake::Message(Message::Release(reply))) => {
                    self.close();
                    let _ = reply.send(());
                }
                Some(Wake::Message(Message::TakeBack(reply))) => {
                    let _ = reply.send(self.reopen(|| ()));
                }
                Some(Wake::Message(Message::Replace(replacement))) => {
                    let Replacement { from, then, reply } = *replacement;
                    let _ = reply.send(self.replace(&from, then));
                }
                Some(_) => return self.close(),
                None => {}
            }
        }
    }

    fn wait(&self) -> Wake {
        let sweep_at = self.sweep.load(Ordering::Acquire).then(|| self.sweep_not_before.unwrap_or_else(now));
        let deadline = [self.deferred_until, self.flush_at, sweep_at].into_iter().flatten().min();
        let Some(deadline) = deadline else {
            return self.receiver.recv().map_or(Wake::Closed, Wake::Message);
        };
        match self.receiver.recv_timeout(deadline.saturating_duration_since(now())) {
            Ok(message) => Wake::Message(message),
            Err(RecvTimeoutError::Timeout) => Wake::Deadline,
            Err(RecvTimeoutError::Disconnected) => Wake::Closed,
        }
    }

    /// Writes `urgent`, and what may wait no longer; everything if it `is_last`. Completes what it wrote.
    fn commit(&mut self, urgent: Vec<Box<dyn Operation>>, is_durable: bool, is_last: bool) {
        let at = now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| is_last || deadline <= at);
        let is_deferred_over = is_over(self.deferred_until) || self.deferred.len() >= DEFERRED_MAX / 2;
        let is_durable = is_durable || is_deferred_over || is_over(self.flush_at);
        let sweeps = !is_last
            && (is_durable || urgent.is_empty())
            && self.sweep_not_before.is_none_or(|not_before| not_before <= at)
            && self.sweep.load(Ordering::Acquire);
        let is_durable = is_durable || sweeps;
        if urgent.is_empty() && !is_durable {
            return;
        }
        let takes_deferred = is_deferred_over || is_durable && self.deferred.len() <= DEFERRED_ALONG_MAX;
        let deferred = if takes_deferred { std::mem::take(&mut self.deferred) } else { Vec::new() };
        let count = deferred.len();
        let mut operations = deferred;
        operations.extend(urgent);
        match self.transact(&mut operations, count, is_durable, sweeps) {
            Ok(()) => {
                if takes_deferred {
                    self.deferred_until = None;
                }
                if is_durable {
                    self.flush_at = None;
                } else {
                    self.flush_at.get_or_insert(at + VISIBLE_FOR);
                }
                for operation in operations {
                    operation.complete(Ok(()));
                }
            }
            Err(failure) => self.fail(operations, count, &failure),
        }
    }

    /// Fails `operations`. The first `deferred` ones of them are kept for another time.
    fn fail(&mut self, operations: Vec<Box<dyn Operation>>, deferred: usize, failure: &Failure) {
        let path = &self.file.path;
        for (index, operation) in operations.into_iter().enumerate() {
            let is_kept = index < deferred && failure.culprit != Some(index) && !failure.is_released;
            if is_kept {
                self.deferred.push(operation);
            } else {
                operation.complete(Err(failure.error.again(path)));
            }
        }
        self.deferred_until = (!self.deferred.is_empty()).then(|| now() + DEFERRED_FOR);
        self.sweep_not_before = Some(now() + SWEEP_AGAIN_AFTER);
    }

    /// Applies `operations` in a transaction, all or none of them.
    fn transact(
        &mut self,
        operations: &mut [Box<dyn Operation>],
        deferred: usize,
        is_durable: bool,
        sweeps: bool,
    ) -> Result<(), Failure> {
        let refused = |error| Failure { error, culprit: None, is_released: false };
        match &self.refused {
            Some((until, error)) if *until > now() => return Err(refused(error.again(&self.file.path))),
            _ => self.refused = None,
        }
        let begun = match self.begin(is_durable) {
            Err(failure) if !failure.is_released => {
                // The file could not be opened before, or a reader met an error. Nothing is lost yet.
                self.reopen(|| ()).map_err(refused)?;
                self.begin(is_durable)
            }
            begun => begun,
        };
        let transaction = begun?;
        let mut at = 0;
        let applied = operations.iter_mut().try_for_each(|operation| {
            operation.apply(&transaction)?;
            at += 1;
            Ok(())
        });
        let is_applied = applied.is_ok();
        let swept = applied.and_then(|()| {
            let swept = if sweeps { Some((self.hooks.sweep)(&transaction)?) } else { None };
            transaction.commit()?;
            Ok(swept)
        });
        match swept {
            Ok(Some(Swept::All)) => self.sweep.store(false, Ordering::Release),
            Ok(_) => {}
            Err(error) => {
                let is_disk = matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo);
                let culprit = (!is_applied && !is_disk && at < deferred).then_some(at);
                let error = failed(&self.file.path, &error);
                tracing::warn!(%error, operations = operations.len(), "a transaction failed and was undone");
                self.recover(&error);
                return Err(Failure { error, culprit, is_released: false });
            }
        }
        Ok(())
    }

    fn begin(&self, is_durable: bool) -> Result<WriteTransaction, Failure> {
        let path = &self.file.path;
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let is_released = matches!(&*held, Held::Released);
        let failure = |error| Failure { error, culprit: None, is_released };
        let database = held.database(path).map_err(failure)?;
        let begun = database.begin_write().map_err(redb::Error::from);
        let mut transaction = begun.map_err(|error| failure(failed(path, &error)))?;
        let durability = if is_durable { Durability::Immediate } else { Durability::None };
        let set = transaction.set_durability(durability).map_err(redb::Error::from);
        set.map_err(|error| failure(failed(path, &error)))?;
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        transaction.set_quick_repair(is_durable && bytes >= QUICK_REPAIR_FROM_BYTES);
        Ok(transaction)
    }

    /// Opens the database again after `error`.
    fn recover(&mut self, error: &StoreError) {
        if self.flush_at.take().is_some() {
            tracing::warn!(path = %self.file.path.display(), "writes that were to be flushed soon were lost");
        }
        let began = now();
        if let Err(error) = self.reopen(|| ()) {
            tracing::error!(%error, "the database could not be opened again");
        }
        let ended = now();
        self.refused = Some((ended + (ended - began), error.again(&self.file.path)));
    }

    /// Has the file at `from` take the place of this one, unless that is another process's.
    fn replace(&mut self, from: &Path, then: Box<dyn FnOnce() + Send>) -> Result<(), StoreError> {
        let path = self.file.path.clone();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let is_released = matches!(*held, Held::Released);
        drop(held);
        if is_released {
            return Held::Released.database(&path).map(drop);
        }
        let mut moved = Ok(());
        self.reopen(|| {
            moved = std::fs::rename(from, &path).map_err(|error| StoreError::of_io(&path, &error));
            if moved.is_ok() {
                then();
            }
        })?;
        moved
    }

    /// Closes the file, calls `between`, and opens the file. Whoever reads waits.
    fn reopen(&mut self, between: impl FnOnce()) -> Result<(), StoreError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let was_released = matches!(*held, Held::Released);
        // Close the old one before opening the new one, because only one may hold the file.
        *held = Held::Released;
        between();
        let opened = self.file.open().and_then(|database| {
            (self.hooks.reopened)(&database).map_err(|error| failed(&self.file.path, &error))?;
            Ok(database)
        });
        match opened {
            Ok(database) => {
                *held = Held::Open(database);
                self.flush_at = None;
                Ok(())
            }
            Err(error) => {
                if !was_released {
                    *held = Held::Failed(error.again(&self.file.path));
                }
                Err(error)
            }
        }
    }

    fn close(&mut self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Held::Open(database) = std::mem::replace(&mut *held, Held::Released)
            && let Err(error) = database.close()
        {
            tracing::error!(path = %self.file.path.display(), %error, "the database was not closed cleanly");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the writer's thread is where deadlines of commits are kept")]
fn now() -> Instant {
    Instant::now()
}
