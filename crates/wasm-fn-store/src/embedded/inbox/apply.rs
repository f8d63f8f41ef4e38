//! Applies changes that other processes apply as well, each to an inbox of its own.
//!
//! The change and its place in the log of changes are one transaction. It is not flushed at once: after a
//! crash the log has what is missing.

use redb::{Error, ReadTransaction, ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::{
    EmbeddedInbox, bury, copy_table,
    dead_letters::{self, Letters, Moved, Order},
    finish, put,
    put::Changed,
    schedule::InFlight,
    tables::{Candidate, Header, Tables},
    want_sweep,
};
use crate::{
    StoreError,
    embedded::group_commit::{META, Urgency},
    inbox::{
        ChangeOutcome, DeadLetters, InboxChange, InboxError, InboxLimits, LogPlace, Receipt, ShardHolder,
    },
};

/// Who has each shard: the process, and the fence with which it took it.
const HOLDERS: TableDefinition<'static, u16, (&str, u64)> = TableDefinition::new("holders");

/// The names of the numbers that say how far the log was applied.
const LOG: &str = "log";
const APPLIED: &str = "applied";
const APPLIED_DIGEST: &str = "applied_digest";

/// A delivery that this process has begun and not ended.
#[derive(Clone, Debug)]
pub struct Delivery {
    receipt: Receipt,
    flight: InFlight,
}

impl Delivery {
    /// The position of the event.
    pub fn position(&self) -> u64 {
        self.flight.candidate.position
    }

    /// Whether the event is in order with others.
    pub fn is_ordered(&self) -> bool {
        self.flight.is_ordered
    }
}

/// An entry of the log of changes.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// Its place. It has to follow the one that was applied last.
    pub place: LogPlace,
    /// The time of the one who made it, in milliseconds since 1970.
    pub now_ms: u64,
    /// The changes, in their order. A change that ends a delivery of this process comes with that.
    pub changes: Vec<(InboxChange, Option<Delivery>)>,
}

/// What an entry does to the schedule, in this order.
enum Effect {
    Landed(Delivery),
    Withdrawn(u32, Candidate),
    Changed(Changed),
    Forgotten(u32),
}

#[derive(Default)]
struct Applied {
    outcomes: Vec<Vec<ChangeOutcome>>,
    effects: Vec<Effect>,
}

impl EmbeddedInbox {
    /// Applies `entries`, which follow each other. Returns what their changes led to. What was applied before
    /// is passed over, and leads to nothing.
    ///
    /// # Errors
    /// The store failed. Nothing is applied.
    ///
    /// # Cancel safety
    /// If the future is dropped, the entries may still be applied.
    pub async fn apply(&self, entries: Vec<AppliedEntry>) -> Result<Vec<Vec<ChangeOutcome>>, StoreError> {
        let bytes = entries.iter().flat_map(|entry| &entry.changes).map(|(change, _)| size(change)).sum();
        let (limits, state, sweep) = (self.limits.clone(), self.state.clone(), self.group.sweep());
        let apply = move |transaction: &WriteTransaction| apply(transaction, &limits, &entries);
        let then = move |applied: &Applied| {
            state.update(|schedule| {
                for effect in &applied.effects {
                    match effect {
                        Effect::Landed(Delivery { receipt, flight }) => schedule.landed(*receipt, flight),
                        Effect::Withdrawn(number, candidate) => schedule.withdraw(*number, *candidate),
                        Effect::Changed(Changed { trigger, row, candidates }) => {
                            schedule.changed(trigger, *row, candidates.iter().copied());
                        }
                        Effect::Forgotten(number) => {
                            schedule.forget(*number);
                            want_sweep(&sweep);
                        }
                    }
                }
            });
        };
        Ok(self.group.write(Urgency::Visible, bytes, apply, then).await?.outcomes)
    }

    /// How far the log was applied.
    ///
    /// # Errors
    /// The store failed.
    pub async fn applied(&self) -> Result<LogPlace, StoreError> {
        let read = |database: &redb::Database| {
            let meta = database.begin_read()?.open_table(META)?;
            let number = |name: &str| Ok::<_, Error>(meta.get(name)?.map_or(0, |number| number.value()));
            Ok(LogPlace { log: number(LOG)?, sequence: number(APPLIED)?, digest: number(APPLIED_DIGEST)? })
        };
        self.group.read_blocking(read).await
    }

    /// Forgets the log of changes, so that this is the inbox of a process that is alone, or what another log
    /// begins with.
    ///
    /// # Errors
    /// The store failed. Nothing is forgotten.
    pub async fn leave_log(&self) -> Result<(), StoreError> {
        let apply = |transaction: &WriteTransaction| {
            let mut meta = transaction.open_table(META)?;
            for name in [LOG, APPLIED, APPLIED_DIGEST] {
                meta.remove(name)?;
            }
            drop(meta);
            transaction.delete_table(HOLDERS)?;
            Ok(())
        };
        self.group.write(Urgency::Durable, 0, apply, |()| {}).await
    }

    /// The position of the event that was put last.
    ///
    /// # Errors
    /// The store failed.
    pub async fn last(&self) -> Result<u64, InboxError> {
        self.last_position().await
    }

    /// A delivery that has not ended.
    pub fn delivery(&self, receipt: Receipt) -> Option<Delivery> {
        let flight = self.state.lock().in_flight(receipt)?;
        Some(Delivery { receipt, flight })
    }

    /// A delivery has ended, and that will be applied. Its place is free, the event itself is not.
    pub fn detach(&self, delivery: &Delivery) {
        self.state.update(|schedule| schedule.detach(delivery.receipt));
    }
}

fn size(change: &InboxChange) -> usize {
    match change {
        InboxChange::Put { events, .. } => events.iter().map(|event| event.body.len()).sum(),
        InboxChange::Bury(event) => event.body.len(),
        _ => 0,
    }
}

fn apply(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    entries: &[AppliedEntry],
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    let before = {
        let meta = transaction.open_table(META)?;
        redb::ReadableTable::get(&meta, APPLIED)?.map_or(0, |number| number.value())
    };
    for AppliedEntry { place, now_ms, changes } in entries {
        if place.sequence <= before {
            applied.outcomes.push(Vec::new());
            continue;
        }
        let mut outcomes = Vec::with_capacity(changes.len());
        for (change, own) in changes {
            let effects = &mut applied.effects;
            outcomes.push(apply_one(transaction, limits, *now_ms, change, own.as_ref(), effects)?);
        }
        applied.outcomes.push(outcomes);
    }
    if let Some(AppliedEntry { place, .. }) = entries.last().filter(|last| last.place.sequence > before) {
        let mut meta = transaction.open_table(META)?;
        meta.insert(LOG, place.log)?;
        meta.insert(APPLIED, place.sequence)?;
        meta.insert(APPLIED_DIGEST, place.digest)?;
    }
    Ok(applied)
}

fn apply_one(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    now_ms: u64,
    change: &InboxChange,
    own: Option<&Delivery>,
    effects: &mut Vec<Effect>,
) -> Result<ChangeOutcome, Error> {
    Ok(match change {
        InboxChange::Hold(holder) => ChangeOutcome::Held(hold(transaction, holder)?),
        InboxChange::Put { events, marks, holders } => {
            for holder in holders {
                if !holds(transaction, holder)? {
                    return Ok(ChangeOutcome::Put(Err(InboxError::NotHeld)));
                }
            }
            let done = match put::check(limits, events, marks) {
                Ok(()) => put::put(transaction, limits, now_ms, events, marks)?,
                Err(error) => Err(error),
            };
            ChangeOutcome::Put(done.map(|done| {
                effects.extend(done.changed.into_iter().map(Effect::Changed));
                done.puts
            }))
        }
        InboxChange::Finish { trigger, position, attempt, holder, finish } => {
            let flight = in_flight(transaction, trigger, *position)?;
            let is_held = holds(transaction, holder)?;
            let finished = match &flight {
                Some((flight, header)) if is_held && header.attempts.checked_add(1) == Some(*attempt) => {
                    finish::finish(transaction, limits, now_ms, flight, finish)?
                }
                _ => None,
            };
            match own {
                Some(own) => effects.push(Effect::Landed(own.clone())),
                None if finished.is_some() => effects.extend(
                    flight.as_ref().map(|(flight, _)| Effect::Withdrawn(flight.number, flight.candidate)),
                ),
                None => {}
            }
            match finished {
                Some(finish::Finished { row, candidate, full }) => {
                    let candidates = candidate.into_iter().collect();
                    effects.push(Effect::Changed(Changed { trigger: trigger.clone(), row, candidates }));
                    ChangeOutcome::Finished(full.map_or(Ok(()), Err))
                }
                None => {
                    // It waits all the same, for whoever may take it.
                    if own.is_some() {
                        effects.extend(waiting(transaction, trigger, *position)?.map(Effect::Changed));
                    }
                    ChangeOutcome::Finished(Err(InboxError::NotInFlight))
                }
            }
        }
        InboxChange::Bury(event) => {
            let done = match bury::check(limits, event) {
                Ok(()) => bury::bury(transaction, limits, now_ms, event)?,
                Err(error) => Err(error),
            };
            ChangeOutcome::Buried(done.map(|done| {
                let (trigger, candidates) = (event.key.trigger.clone(), Vec::new());
                effects.extend(done.row.map(|row| Effect::Changed(Changed { trigger, row, candidates })));
                done.put
            }))
        }
        InboxChange::Dispose { trigger, letters, last, is_redriven } => {
            let letters = match letters {
                DeadLetters::Ids(ids) => Letters::Ids { ids: ids.clone(), from: 0 },
                DeadLetters::All => Letters::UpTo(*last),
            };
            let order = if *is_redriven { Order::Redrive } else { Order::Discard };
            let moved = dead_letters::dispose(transaction, limits, now_ms, trigger, &letters, order)?;
            ChangeOutcome::Disposed(match moved {
                None => Ok((0, None)),
                Some(Err(error)) => Err(error),
                Some(Ok(Moved { count, changed, rest })) => {
                    effects.push(Effect::Changed(changed));
                    let rest = rest.map(|rest| match rest {
                        Letters::Ids { mut ids, from } => DeadLetters::Ids(ids.split_off(from)),
                        Letters::UpTo(_) => DeadLetters::All,
                    });
                    Ok((count, rest))
                }
            })
        }
        InboxChange::Forget { trigger, last } => {
            let (number, is_gone) = dead_letters::forget(transaction, trigger, *last)?;
            effects.extend(number.map(Effect::Forgotten));
            ChangeOutcome::Forgotten(is_gone)
        }
    })
}

/// Gives `holder` its shard, unless somebody has it with a greater fence. Returns whether it has it.
fn hold(transaction: &WriteTransaction, holder: &ShardHolder) -> Result<bool, Error> {
    let mut holders = transaction.open_table(HOLDERS)?;
    let found = redb::ReadableTable::get(&holders, holder.shard)?.map(|row| {
        let (process, fence) = row.value();
        (process == holder.process, fence)
    });
    match found {
        // It goes on with the fence that it began with.
        Some((true, fence)) if fence <= holder.fence => Ok(true),
        Some((_, fence)) if fence >= holder.fence => Ok(false),
        _ => {
            holders.insert(holder.shard, (holder.process.as_str(), holder.fence))?;
            Ok(true)
        }
    }
}

/// Whether `holder` has its shard, and has had it since it took the lease with its fence.
fn holds(transaction: &WriteTransaction, holder: &ShardHolder) -> Result<bool, Error> {
    let holders = transaction.open_table(HOLDERS)?;
    let row = redb::ReadableTable::get(&holders, holder.shard)?;
    Ok(row.is_some_and(|row| row.value().0 == holder.process && row.value().1 <= holder.fence))
}

/// The event at a position, as if it were in flight.
fn in_flight(
    transaction: &WriteTransaction,
    trigger: &str,
    position: u64,
) -> Result<Option<(InFlight, Header)>, Error> {
    let tables = Tables::open(transaction)?;
    let Some(row) = tables.trigger(trigger)? else { return Ok(None) };
    let found = redb::ReadableTable::get(&tables.waiting, (row.number, position))?;
    Ok(found.map(|found| Header::of(found.value())).map(|header| {
        let flight = InFlight {
            trigger: trigger.into(),
            number: row.number,
            candidate: Candidate { due_ms: header.time_ms, position },
            is_ordered: header.ordering_key.is_some(),
        };
        (flight, header)
    }))
}

/// That an event waits, if it may be taken.
fn waiting(transaction: &WriteTransaction, trigger: &str, position: u64) -> Result<Option<Changed>, Error> {
    let tables = Tables::open(transaction)?;
    let Some(row) = tables.trigger(trigger)? else { return Ok(None) };
    let header = redb::ReadableTable::get(&tables.waiting, (row.number, position))?;
    let Some(due_ms) = header.map(|header| header.value().0) else { return Ok(None) };
    let is_due = redb::ReadableTable::get(&tables.due, (row.number, due_ms, position))?.is_some();
    let candidates = is_due.then_some(Candidate { due_ms, position }).into_iter().collect();
    Ok(Some(Changed { trigger: trigger.to_owned(), row, candidates }))
}

/// Copies who has each shard, if that is known.
pub(super) fn copy_holders(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), Error> {
    match from.open_table(HOLDERS) {
        Ok(_) => copy_table(from, to, HOLDERS),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
