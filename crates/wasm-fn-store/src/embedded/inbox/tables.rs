//! The tables of `events.redb`, and what changes several of them at once.
//!
//! A trigger has a number, by which the other tables know it, so that forgetting it is one row. `meta` has
//! the next numbers and the totals; `triggers` the counts; `ids` what became of an event; `waiting` and
//! `dead` the events without their bodies, by trigger and position; `bodies` those; `due` the waiting events
//! that may be taken, by time; `ordered` the waiting events with ordering keys, of which only the first is in
//! `due`; `finished` those that are remembered, oldest first; `marks`; `forgotten` the numbers of triggers
//! whose rows are still to be removed.

use redb::{
    Error, ReadableTable, ReadableTableMetadata as _, StorageError, Table, TableDefinition, WriteTransaction,
};

use crate::embedded::group_commit::{META, Swept, remove};

pub(super) type Position = (u32, u64);
type TriggerValue = (u32, u64, u64, u64, u64, u64);
type IdValue<'a> = (u8, u64, u64, &'a str);
pub(super) type HeaderValue<'a> = (u64, u64, u32, u64, &'a str, u8, &'a str, &'a str);

pub(super) const TRIGGERS: TableDefinition<'static, &str, TriggerValue> = TableDefinition::new("triggers");
pub(super) const IDS: TableDefinition<'static, (u32, &str), IdValue<'static>> = TableDefinition::new("ids");
pub(super) const WAITING: TableDefinition<'static, Position, HeaderValue<'static>> =
    TableDefinition::new("waiting");
pub(super) const DEAD: TableDefinition<'static, Position, HeaderValue<'static>> =
    TableDefinition::new("dead");
pub(super) const BODIES: TableDefinition<'static, Position, &[u8]> = TableDefinition::new("bodies");
pub(super) const DUE: TableDefinition<'static, (u32, u64, u64), ()> = TableDefinition::new("due");
pub(super) const ORDERED: TableDefinition<'static, (u32, &str, u64), ()> = TableDefinition::new("ordered");
pub(super) const FINISHED: TableDefinition<'static, Position, (u64, &str)> = TableDefinition::new("finished");
pub(super) const MARKS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("marks");
pub(super) const FORGOTTEN: TableDefinition<'static, u32, ()> = TableDefinition::new("forgotten");

/// Rows that a step of a sweep removes at most.
const SWEEP_ROWS_MAX: usize = 500;

/// Creates the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), Error> {
    Tables::open(transaction)?;
    Ok(())
}

/// The counts of a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TriggerRow {
    pub(super) number: u32,
    pub(super) waiting: u64,
    pub(super) bytes: u64,
    pub(super) dead: u64,
    pub(super) dead_bytes: u64,
    pub(super) remembered: u64,
}

impl TriggerRow {
    pub(super) fn of((number, waiting, bytes, dead, dead_bytes, remembered): TriggerValue) -> Self {
        Self { number, waiting, bytes, dead, dead_bytes, remembered }
    }

    fn value(self) -> TriggerValue {
        (self.number, self.waiting, self.bytes, self.dead, self.dead_bytes, self.remembered)
    }
}

/// What became of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Became {
    /// It is in `waiting`, at the row's number.
    Waiting = 0,
    /// It is in `dead`, at the row's number.
    Dead = 1,
    /// It is in `finished`, at the row's number.
    Acknowledged = 2,
    /// It is in `finished`, at the row's number.
    Discarded = 3,
}

/// A row of `ids`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdRow {
    pub(super) became: Became,
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) text: String,
}

impl IdRow {
    pub(super) fn of((became, number, at_ms, text): IdValue<'_>) -> Result<Self, Error> {
        let became = match became {
            0 => Became::Waiting,
            1 => Became::Dead,
            2 => Became::Acknowledged,
            3 => Became::Discarded,
            found => return Err(corrupt(format!("table ids: state is {found}, expected at most 3"))),
        };
        Ok(Self { became, number, at_ms, text: text.to_owned() })
    }

    /// Whether the event is finished, and so long ago that it is no longer remembered.
    pub(super) fn is_over(&self, now_ms: u64, remembered_ms: u64) -> bool {
        let is_finished = matches!(self.became, Became::Acknowledged | Became::Discarded);
        is_finished && now_ms.saturating_sub(self.at_ms) >= remembered_ms
    }
}

/// An event without its body: a row of `waiting` or `dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// When it is due, or when it died.
    pub(super) time_ms: u64,
    pub(super) arrived_ms: u64,
    pub(super) attempts: u32,
    pub(super) bytes: u64,
    pub(super) id: String,
    pub(super) ordering_key: Option<String>,
    pub(super) reason: String,
}

impl Header {
    pub(super) fn of(value: HeaderValue<'_>) -> Self {
        let (time_ms, arrived_ms, attempts, bytes, id, has_key, key, reason) = value;
        Self {
            time_ms,
            arrived_ms,
            attempts,
            bytes,
            id: id.to_owned(),
            ordering_key: (has_key == 1).then(|| key.to_owned()),
            reason: reason.to_owned(),
        }
    }

    fn value(&self) -> HeaderValue<'_> {
        let (has_key, key) = self.ordering_key.as_ref().map_or((0, ""), |key| (1, key.as_str()));
        let Self { time_ms, arrived_ms, attempts, bytes, id, reason, .. } = self;
        (*time_ms, *arrived_ms, *attempts, *bytes, id, has_key, key, reason)
    }
}

/// The error if the file contradicts itself.
pub(super) fn corrupt(reason: String) -> Error {
    Error::from(StorageError::Corrupted(reason))
}

/// A waiting event that may be taken from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) due_ms: u64,
    pub(super) position: u64,
}

/// The tables in a transaction that writes.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) triggers: Table<'t, &'static str, TriggerValue>,
    pub(super) ids: Table<'t, (u32, &'static str), IdValue<'static>>,
    pub(super) waiting: Table<'t, Position, HeaderValue<'static>>,
    pub(super) dead: Table<'t, Position, HeaderValue<'static>>,
    pub(super) bodies: Table<'t, Position, &'static [u8]>,
    pub(super) due: Table<'t, (u32, u64, u64), ()>,
    pub(super) ordered: Table<'t, (u32, &'static str, u64), ()>,
    pub(super) finished: Table<'t, Position, (u64, &'static str)>,
    pub(super) marks: Table<'t, &'static str, &'static [u8]>,
    pub(super) forgotten: Table<'t, u32, ()>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            triggers: transaction.open_table(TRIGGERS)?,
            ids: transaction.open_table(IDS)?,
            waiting: transaction.open_table(WAITING)?,
            dead: transaction.open_table(DEAD)?,
            bodies: transaction.open_table(BODIES)?,
            due: transaction.open_table(DUE)?,
            ordered: transaction.open_table(ORDERED)?,
            finished: transaction.open_table(FINISHED)?,
            marks: transaction.open_table(MARKS)?,
            forgotten: transaction.open_table(FORGOTTEN)?,
        })
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Error> {
        Ok(self.meta.get(name)?.map_or(0, |value| value.value()))
    }

    pub(super) fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error> {
        Ok(self.triggers.get(name)?.map(|row| TriggerRow::of(row.value())))
    }

    pub(super) fn id(&self, trigger: u32, id: &str) -> Result<Option<IdRow>, Error> {
        self.ids.get((trigger, id))?.map(|row| IdRow::of(row.value())).transpose()
    }

    /// The next of the numbers that `meta` has under `name`.
    pub(super) fn next(&mut self, name: &'static str) -> Result<u64, Error> {
        let next = self.number(name)? + 1;
        self.meta.insert(name, next)?;
        Ok(next)
    }

    /// Stores `row` of `trigger`, which was `before`, and adds the difference to the totals.
    pub(super) fn keep(&mut self, trigger: &str, before: TriggerRow, row: TriggerRow) -> Result<(), Error> {
        self.triggers.insert(trigger, row.value())?;
        for (name, before, after) in
            [("waiting", before.waiting, row.waiting), ("waiting_bytes", before.bytes, row.bytes)]
        {
            if before != after {
                let total = self.number(name)?.saturating_add(after).saturating_sub(before);
                self.meta.insert(name, total)?;
            }
        }
        Ok(())
    }

    /// Puts an event at the end of the trigger of `row`. It may be taken if that is returned.
    pub(super) fn enqueue(
        &mut self,
        row: &mut TriggerRow,
        header: &Header,
        body: &[u8],
    ) -> Result<Option<Candidate>, Error> {
        let (number, position) = (row.number, self.next("position")?);
        let id = IdRow { became: Became::Waiting, number: position, at_ms: 0, text: String::new() };
        self.keep_id(number, &header.id, &id)?;
        self.waiting.insert((number, position), header.value())?;
        self.bodies.insert((number, position), body)?;
        row.waiting += 1;
        row.bytes += header.bytes;
        if let Some(key) = &header.ordering_key {
            let is_first = self.first_in_order(number, key)?.is_none();
            self.ordered.insert((number, key.as_str(), position), ())?;
            if !is_first {
                return Ok(None);
            }
        }
        self.due.insert((number, header.time_ms, position), ())?;
        Ok(Some(Candidate { due_ms: header.time_ms, position }))
    }

    /// Takes an event out of what waits, except for its body and its id. Returns it, and what may be taken
    /// now that it is gone.
    pub(super) fn dequeue(
        &mut self,
        row: &mut TriggerRow,
        position: u64,
    ) -> Result<Option<(Header, Option<Candidate>)>, Error> {
        let number = row.number;
        let Some(header) = self.waiting.remove((number, position))?.map(|row| Header::of(row.value())) else {
            return Ok(None);
        };
        self.due.remove((number, header.time_ms, position))?;
        row.waiting = row.waiting.saturating_sub(1);
        row.bytes = row.bytes.saturating_sub(header.bytes);
        let mut freed = None;
        if let Some(key) = &header.ordering_key {
            self.ordered.remove((number, key.as_str(), position))?;
            if let Some(position) = self.first_in_order(number, key)? {
                let next = self.waiting.get((number, position))?.map(|row| Header::of(row.value()));
                let next = next.ok_or_else(|| {
                    corrupt(format!("table ordered: ({number}, {key:?}, {position}) is not in table waiting"))
                })?;
                self.due.insert((number, next.time_ms, position), ())?;
                freed = Some(Candidate { due_ms: next.time_ms, position });
            }
        }
        Ok(Some((header, freed)))
    }

    fn first_in_order(&self, number: u32, key: &str) -> Result<Option<u64>, Error> {
        let mut rows = self.ordered.range((number, key, 0)..=(number, key, u64::MAX))?;
        Ok(rows.next().transpose()?.map(|(row, _)| row.value().2))
    }

    /// Changes the header of a waiting event that may be taken.
    pub(super) fn postpone(&mut self, number: u32, position: u64, header: &Header) -> Result<(), Error> {
        let before = self.waiting.insert((number, position), header.value())?.map(|row| row.value().0);
        if let Some(before) = before {
            self.due.remove((number, before, position))?;
        }
        self.due.insert((number, header.time_ms, position), ())?;
        Ok(())
    }

    pub(super) fn keep_id(&mut self, number: u32, id: &str, row: &IdRow) -> Result<(), Error> {
        let value = (row.became as u8, row.number, row.at_ms, row.text.as_str());
        self.ids.insert((number, id), value)?;
        Ok(())
    }

    pub(super) fn bury(&mut self, number: u32, position: u64, header: &Header) -> Result<(), Error> {
        self.dead.insert((number, position), header.value())?;
        Ok(())
    }

    /// Remembers how the event `id` was finished, and forgets what is to be forgotten meanwhile.
    pub(super) fn remember(
        &mut self,
        row: &mut TriggerRow,
        id: &str,
        (became, text): (Became, &str),
        now_ms: u64,
        (remembered_max, remembered_ms): (u64, u64),
    ) -> Result<(), Error> {
        let (number, position) = (row.number, self.next("position")?);
        let kept = IdRow { became, number: position, at_ms: now_ms, text: text.to_owned() };
        self.keep_id(number, id, &kept)?;
        self.finished.insert((number, position), (now_ms, id))?;
        row.remembered += 1;
        // More than one, so that what is over goes away although new ones come.
        for _ in 0..4 {
            let first = {
                let mut rows = self.finished.range((number, 0)..=(number, u64::MAX))?;
                rows.next().transpose()?.map(|(key, value)| {
                    let (at_ms, id) = value.value();
                    (key.value().1, at_ms, id.to_owned())
                })
            };
            let Some((position, at_ms, id)) = first else { break };
            if row.remembered <= remembered_max && now_ms.saturating_sub(at_ms) < remembered_ms {
                break;
            }
            self.forget_finished(row, position, &id)?;
        }
        Ok(())
    }

    /// Forgets that the event `id` was finished.
    pub(super) fn forget_finished(
        &mut self,
        row: &mut TriggerRow,
        position: u64,
        id: &str,
    ) -> Result<(), Error> {
        self.finished.remove((row.number, position))?;
        self.ids.remove((row.number, id))?;
        row.remembered = row.remembered.saturating_sub(1);
        Ok(())
    }

    /// The number of triggers.
    pub(super) fn triggers_len(&self) -> Result<u64, Error> {
        Ok(self.triggers.len()?)
    }
}

/// Removes rows of triggers that were forgotten.
pub(super) fn sweep(transaction: &WriteTransaction) -> Result<Swept, Error> {
    let mut tables = Tables::open(transaction)?;
    let Some(number) = tables.forgotten.first()?.map(|(number, _)| number.value()) else {
        return Ok(Swept::All);
    };
    let next = number.saturating_add(1);
    let mut left = SWEEP_ROWS_MAX;
    left -= remove(&mut tables.waiting, (number, 0)..(next, 0), left)?;
    left -= remove(&mut tables.dead, (number, 0)..(next, 0), left)?;
    left -= remove(&mut tables.bodies, (number, 0)..(next, 0), left)?;
    left -= remove(&mut tables.due, (number, 0, 0)..(next, 0, 0), left)?;
    left -= remove(&mut tables.ordered, (number, "", 0)..(next, "", 0), left)?;
    left -= remove(&mut tables.finished, (number, 0)..(next, 0), left)?;
    left -= remove(&mut tables.ids, (number, "")..(next, ""), left)?;
    if left > 0 {
        tables.forgotten.remove(number)?;
    }
    Ok(if left > 0 && tables.forgotten.is_empty()? { Swept::All } else { Swept::Some })
}
