//! The inbox of a single node: `events.redb` in the data directory.

mod apply;
mod bury;
mod dead_letters;
mod finish;
mod put;
mod read;
mod schedule;
mod tables;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase as _};
use tokio::sync::Notify;

pub use self::apply::{AppliedEntry, Delivery};
use self::{
    dead_letters::{Letters, Order},
    schedule::Schedule,
};
use crate::{
    StoreError,
    embedded::{
        copy::copy_table,
        group_commit::{DatabaseFile, GroupCommit, Hooks, META, Urgency, want_sweep},
    },
    inbox::{
        DeadEvent, DeadLetters, EventKey, EventPage, EventState, Finish, Inbox, InboxError, InboxLimits,
        Mark, NewEvent, Put, Receipt, StoredEvent, Take, TakenEvent, TriggerCounts,
    },
};

/// The newest format that this program reads.
const FORMAT: u64 = 1;

/// An inbox in a database file that only this process may open, unless it has released it. Clones are the
/// same inbox; the last one closes the file when it is dropped, and waits for that.
#[derive(Clone)]
pub struct EmbeddedInbox {
    group: GroupCommit,
    limits: Arc<InboxLimits>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    schedule: Mutex<Schedule>,
    changed: Notify,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        // Whoever panicked was reading rows; the schedule is changed by whole steps after that.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the schedule after a commit.
    fn update(&self, change: impl FnOnce(&mut Schedule)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }
}

fn file(data_dir: &Path) -> DatabaseFile {
    DatabaseFile { path: data_dir.join(EmbeddedInbox::FILE), format: FORMAT, prepare: tables::prepare }
}

impl EmbeddedInbox {
    /// The name of the file within the data directory.
    pub const FILE: &str = "events.redb";

    /// Opens the inbox in `data_dir`. Creates both if they do not exist. Blocks, and reads neither bodies nor
    /// headers of events.
    ///
    /// # Errors
    /// Another node has it open, it cannot be opened, or it has a newer format.
    pub fn open(data_dir: &Path, limits: InboxLimits) -> Result<Self, StoreError> {
        let (file, state) = (file(data_dir), Arc::new(State::default()));
        let database = file.open()?;
        let loads = Arc::clone(&state);
        let load = move |database: &Database| {
            loads.lock().load(database)?;
            loads.changed.notify_one();
            Ok(())
        };
        load(&database).map_err(|error: redb::Error| file.failed(&error))?;
        let hooks = Hooks { sweep: tables::sweep, reopened: Box::new(load) };
        let group = GroupCommit::start(file, database, hooks)?;
        Ok(Self { group, limits: Arc::new(limits), state })
    }

    /// Goes on with the inbox in the file at `from`, which takes the place of this one's. Forgets what is in
    /// flight. Whoever asks meanwhile waits.
    ///
    /// # Errors
    /// The inbox was released; the file cannot be moved, and this inbox is as before; it cannot be opened.
    pub async fn replace_with(&self, from: PathBuf) -> Result<(), StoreError> {
        let state = Arc::clone(&self.state);
        self.group.replace(from, move || state.lock().abandon()).await
    }

    /// Redrives or discards `letters`, one transaction after the other.
    async fn dispose(
        &self,
        now_ms: u64,
        trigger: &str,
        letters: DeadLetters,
        order: Order,
    ) -> Result<u64, InboxError> {
        let mut rest = Some(match letters {
            DeadLetters::Ids(ids) => Letters::Ids { ids, from: 0 },
            DeadLetters::All => Letters::UpTo(self.last_position().await?),
        });
        let mut count = 0;
        while let Some(letters) = rest {
            let (limits, state, name) =
                (Arc::clone(&self.limits), Arc::clone(&self.state), trigger.to_owned());
            let apply = move |transaction: &redb::WriteTransaction| {
                dead_letters::dispose(transaction, &limits, now_ms, &name, &letters, order)
            };
            let then = move |moved: &Option<Result<dead_letters::Moved, InboxError>>| {
                let Some(Ok(moved)) = moved else { return };
                let put::Changed { trigger, row, candidates } = &moved.changed;
                state.update(|schedule| schedule.changed(trigger, *row, candidates.iter().copied()));
            };
            let Some(moved) = self.group.write(Urgency::Durable, 0, apply, then).await? else { break };
            let moved = moved?;
            count += moved.count;
            rest = moved.rest;
        }
        Ok(count)
    }

    async fn last_position(&self) -> Result<u64, InboxError> {
        let read = |database: &Database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get("position")?.map_or(0, |position| position.value()))
        };
        Ok(self.group.read_blocking(read).await?)
    }

    /// Reads from the database, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, &State) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, InboxError> {
        let state = Arc::clone(&self.state);
        Ok(self.group.read_blocking(move |database| work(database, &state)).await?)
    }
}

impl Inbox for EmbeddedInbox {
    async fn put(
        &self,
        now_ms: u64,
        events: Vec<NewEvent>,
        marks: Vec<Mark>,
    ) -> Result<Vec<Put>, InboxError> {
        put::check(&self.limits, &events, &marks)?;
        let bytes = events.iter().map(|event| event.body.len()).sum();
        let (limits, state) = (Arc::clone(&self.limits), Arc::clone(&self.state));
        let apply = move |transaction: &redb::WriteTransaction| {
            put::put(transaction, &limits, now_ms, &events, &marks)
        };
        let then = move |done: &Result<put::Done, InboxError>| {
            let Ok(done) = done else { return };
            state.update(|schedule| {
                for put::Changed { trigger, row, candidates } in &done.changed {
                    schedule.changed(trigger, *row, candidates.iter().copied());
                }
            });
        };
        Ok(self.group.write(Urgency::Durable, bytes, apply, then).await??.puts)
    }

    async fn marks(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Bytes)>, InboxError> {
        let prefix = prefix.to_owned();
        self.read(move |database, _| read::marks(database, &prefix, limit)).await
    }

    async fn take<A>(&self, now_ms: u64, mut take: Take<A>) -> Result<Vec<TakenEvent>, InboxError>
    where
        A: FnMut(&str, usize) -> bool + Send + 'static,
    {
        let limits = Arc::clone(&self.limits);
        self.read(move |database, state| read::take(database, state, now_ms, &mut take, &limits)).await
    }

    fn next_due_ms(&self) -> Option<u64> {
        self.state.lock().next_due_ms()
    }

    async fn changed(&self) {
        self.state.changed.notified().await;
    }

    fn in_progress(&self, trigger: &str) -> (usize, usize) {
        self.state.lock().in_progress(trigger)
    }

    async fn finish(&self, now_ms: u64, receipt: Receipt, finish: Finish) -> Result<(), InboxError> {
        let flight = self.state.lock().in_flight(receipt).ok_or(InboxError::NotInFlight)?;
        if finish == Finish::Released {
            self.state.update(|schedule| schedule.put_back(receipt));
            return Ok(());
        }
        let may_wait = matches!(finish, Finish::Acknowledged { .. }) && !flight.is_ordered;
        let (limits, state, landed) = (Arc::clone(&self.limits), Arc::clone(&self.state), flight.clone());
        let apply = move |transaction: &redb::WriteTransaction| {
            finish::finish(transaction, &limits, now_ms, &flight, &finish)
        };
        let then = move |finished: &Option<finish::Finished>| {
            state.update(|schedule| {
                schedule.landed(receipt, &landed);
                if let Some(finish::Finished { row, candidate, .. }) = finished {
                    schedule.changed(&landed.trigger, *row, *candidate);
                }
            });
        };
        if may_wait {
            self.group.defer(apply, then).await?;
            self.state.update(|schedule| schedule.detach(receipt));
            return Ok(());
        }
        let finished = self.group.write(Urgency::Durable, 0, apply, then).await?;
        match finished.ok_or(InboxError::NotInFlight)?.full {
            Some(full) => Err(full),
            None => Ok(()),
        }
    }

    async fn bury(&self, now_ms: u64, event: DeadEvent) -> Result<Put, InboxError> {
        bury::check(&self.limits, &event)?;
        let (limits, state, trigger) =
            (Arc::clone(&self.limits), Arc::clone(&self.state), event.key.trigger.clone());
        let bytes = event.body.len();
        let apply =
            move |transaction: &redb::WriteTransaction| bury::bury(transaction, &limits, now_ms, &event);
        let then = move |done: &Result<bury::Done, InboxError>| {
            if let Ok(bury::Done { row: Some(row), .. }) = done {
                state.update(|schedule| schedule.changed(&trigger, *row, None));
            }
        };
        Ok(self.group.write(Urgency::Durable, bytes, apply, then).await??.put)
    }

    async fn waiting(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        let trigger = trigger.to_owned();
        self.read(move |database, state| read::waiting(database, state, &trigger, page)).await
    }

    async fn dead_letters(&self, trigger: &str, page: EventPage) -> Result<Vec<StoredEvent>, InboxError> {
        let trigger = trigger.to_owned();
        self.read(move |database, _| read::dead_letters(database, &trigger, page)).await
    }

    async fn show(&self, key: EventKey) -> Result<Option<(StoredEvent, Bytes)>, InboxError> {
        self.read(move |database, state| read::show(database, state, &key)).await
    }

    async fn state(&self, now_ms: u64, key: EventKey) -> Result<Option<EventState>, InboxError> {
        let remembered_ms = self.limits.remembered_ms;
        self.read(move |database, state| read::state(database, state, now_ms, &key, remembered_ms)).await
    }

    async fn redrive(&self, now_ms: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        self.dispose(now_ms, trigger, letters, Order::Redrive).await
    }

    async fn discard(&self, now_ms: u64, trigger: &str, letters: DeadLetters) -> Result<u64, InboxError> {
        self.dispose(now_ms, trigger, letters, Order::Discard).await
    }

    async fn forget(&self, trigger: &str, last: u64) -> Result<bool, InboxError> {
        let (state, sweep, trigger) = (Arc::clone(&self.state), self.group.sweep(), trigger.to_owned());
        let apply =
            move |transaction: &redb::WriteTransaction| dead_letters::forget(transaction, &trigger, last);
        let then = move |(number, _): &(Option<u32>, bool)| {
            if let Some(number) = *number {
                state.update(|schedule| schedule.forget(number));
                want_sweep(&sweep);
            }
        };
        let (_, is_gone) = self.group.write(Urgency::Durable, 0, apply, then).await?;
        Ok(is_gone)
    }

    async fn counts(&self) -> Result<Vec<TriggerCounts>, InboxError> {
        let limits = Arc::clone(&self.limits);
        self.read(move |database, state| read::counts(database, state, &limits)).await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let copy = move |database: &Database| {
            let from = database.begin_read()?;
            begun();
            let file = file(&folder);
            let copied = file.open().and_then(|copy| {
                let copied = copy_all(&from, &copy);
                copied.map_err(|error| file.failed(&error))
            });
            Ok(copied)
        };
        self.group.read_blocking(copy).await?
    }

    async fn release(&self) {
        self.group.release().await;
        self.state.lock().abandon();
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.group.take_back().await
    }
}

fn copy_all(from: &redb::ReadTransaction, copy: &Database) -> Result<(), redb::Error> {
    let mut to = copy.begin_write()?;
    to.set_durability(Durability::Immediate)?;
    copy_table(from, &to, META)?;
    copy_table(from, &to, tables::TRIGGERS)?;
    copy_table(from, &to, tables::IDS)?;
    copy_table(from, &to, tables::WAITING)?;
    copy_table(from, &to, tables::DEAD)?;
    copy_table(from, &to, tables::BODIES)?;
    copy_table(from, &to, tables::DUE)?;
    copy_table(from, &to, tables::ORDERED)?;
    copy_table(from, &to, tables::FINISHED)?;
    copy_table(from, &to, tables::MARKS)?;
    copy_table(from, &to, tables::FORGOTTEN)?;
    apply::copy_holders(from, &to)?;
    to.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
