//! What may be taken next, in memory: of each trigger the events due first, and what is in flight.
//!
//! A trigger knows a few of its waiting events, its *candidates*, and reads more from the table `due` when
//! they run out. Everything in that table before its *horizon* is a candidate, or is in flight.
//!
//! The lock of the schedule is taken after that of the file, never before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use redb::{Database, Error, ReadTransaction, ReadableDatabase as _, ReadableTable as _};

use super::tables::{Candidate, DUE, Header, TRIGGERS, TriggerRow};
use crate::inbox::{InboxLimits, Receipt, Take};

/// Candidates that a trigger knows at most.
const CANDIDATES_MAX: usize = 256;

/// Candidates that a trigger reads at once.
const CANDIDATES_READ: usize = 64;

/// An event that was taken, and not yet read.
pub(super) struct Selected {
    pub(super) receipt: Receipt,
    pub(super) flight: InFlight,
}

/// An event in flight.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) trigger: Arc<str>,
    pub(super) number: u32,
    pub(super) candidate: Candidate,
    pub(super) is_ordered: bool,
}

struct TriggerSchedule {
    name: Arc<str>,
    row: TriggerRow,
    candidates: BTreeSet<Candidate>,
    // `None` if all waiting events are candidates or taken.
    horizon: Option<Candidate>,
    // Positions of events that are in flight, or whose end is not yet on disk.
    taken: HashSet<u64>,
    in_flight: usize,
    // Whether it is in the ring: its first candidate was due at the last take.
    is_ringed: bool,
    // Its entry in `by_due`.
    due_ms: Option<u64>,
}

impl TriggerSchedule {
    fn new(name: Arc<str>, row: TriggerRow) -> Self {
        // Another process, or one before, may have put events.
        let horizon = (row.waiting > 0).then_some(Candidate { due_ms: 0, position: 0 });
        Self {
            name,
            row,
            candidates: BTreeSet::new(),
            horizon,
            taken: HashSet::new(),
            in_flight: 0,
            is_ringed: false,
            due_ms: None,
        }
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.taken.contains(&candidate.position)
            || self.horizon.is_some_and(|horizon| candidate >= horizon)
        {
            return;
        }
        self.candidates.insert(candidate);
        if self.candidates.len() > CANDIDATES_MAX {
            self.horizon = self.candidates.pop_last();
        }
    }

    /// Reads candidates if there are none left, but may be.
    fn refill(&mut self, transaction: &ReadTransaction, count: usize) -> Result<(), Error> {
        let Some(horizon) = self.horizon.filter(|_| self.candidates.is_empty()) else { return Ok(()) };
        let number = self.row.number;
        let from = (number, horizon.due_ms, horizon.position);
        let table = transaction.open_table(DUE)?;
        let mut rows = table.range(from..=(number, u64::MAX, u64::MAX))?;
        let mut read = BTreeSet::new();
        let horizon = loop {
            let Some(row) = rows.next().transpose()? else { break None };
            let (_, due_ms, position) = row.0.value();
            let candidate = Candidate { due_ms, position };
            if read.len() == count {
                break Some(candidate);
            }
            if !self.taken.contains(&position) {
                read.insert(candidate);
            }
        };
        (self.candidates, self.horizon) = (read, horizon);
        Ok(())
    }
}

/// What may be taken next.
#[derive(Default)]
pub(super) struct Schedule {
    numbers: BTreeMap<Arc<str>, u32>,
    triggers: HashMap<u32, TriggerSchedule>,
    // Triggers that are not in the ring, by their first candidate.
    by_due: BTreeSet<(u64, u32)>,
    // Triggers in turn.
    ring: VecDeque<u32>,
    receipts: HashMap<Receipt, InFlight>,
    last_receipt: u64,
}

impl Schedule {
    /// Reads what the database has. What is in flight stays so.
    pub(super) fn load(&mut self, database: &Database) -> Result<(), Error> {
        let transaction = database.begin_read()?;
        let mut triggers = HashMap::new();
        for row in transaction.open_table(TRIGGERS)?.iter()? {
            let (name, row) = row?;
            let row = TriggerRow::of(row.value());
            let mut trigger = TriggerSchedule::new(name.value().into(), row);
            if let Some(before) = self.triggers.get(&row.number) {
                (trigger.taken, trigger.in_flight) = (before.taken.clone(), before.in_flight);
            }
            trigger.refill(&transaction, 1)?;
            triggers.insert(row.number, trigger);
        }
        self.triggers = triggers;
        self.numbers =
            self.triggers.values().map(|trigger| (Arc::clone(&trigger.name), trigger.row.number)).collect();
        self.receipts.retain(|_, flight| self.triggers.contains_key(&flight.number));
        self.by_due.clear();
        self.ring.clear();
        for number in Vec::from_iter(self.numbers.values().copied()) {
            self.reschedule(number);
        }
        Ok(())
    }

    /// Forgets what is in flight: another process has the file.
    pub(super) fn abandon(&mut self) {
        *self = Self { last_receipt: self.last_receipt, ..Self::default() };
    }

    /// Has `row` of `trigger`, and what may be taken of it in addition.
    pub(super) fn changed(
        &mut self,
        trigger: &str,
        row: TriggerRow,
        candidates: impl IntoIterator<Item = Candidate>,
    ) {
        let known = self.triggers.entry(row.number).or_insert_with(|| {
            let name = Arc::<str>::from(trigger);
            self.numbers.insert(Arc::clone(&name), row.number);
            // Its candidates come with this very change.
            TriggerSchedule { horizon: None, ..TriggerSchedule::new(name, row) }
        });
        known.row = row;
        for candidate in candidates {
            known.offer(candidate);
        }
        self.reschedule(row.number);
    }

    /// A delivery was ended, and that is on disk.
    pub(super) fn landed(&mut self, receipt: Receipt, flight: &InFlight) {
        self.detach(receipt);
        if let Some(trigger) = self.triggers.get_mut(&flight.number) {
            trigger.taken.remove(&flight.candidate.position);
        }
    }

    /// A delivery was ended, and that will be on disk. Its place is free, the event itself is not.
    pub(super) fn detach(&mut self, receipt: Receipt) {
        if let Some(flight) = self.receipts.remove(&receipt)
            && let Some(trigger) = self.triggers.get_mut(&flight.number)
        {
            trigger.in_flight -= 1;
        }
    }

    /// Undoes that an event was taken.
    pub(super) fn put_back(&mut self, receipt: Receipt) {
        let Some(flight) = self.receipts.get(&receipt).cloned() else { return };
        self.landed(receipt, &flight);
        if let Some(trigger) = self.triggers.get_mut(&flight.number) {
            trigger.offer(flight.candidate);
        }
        self.reschedule(flight.number);
    }

    /// An event that is not in flight here can no longer be taken as `candidate`.
    pub(super) fn withdraw(&mut self, number: u32, candidate: Candidate) {
        if let Some(trigger) = self.triggers.get_mut(&number) {
            trigger.candidates.remove(&candidate);
        }
        self.reschedule(number);
    }

    /// How many events of `trigger` are in flight, and how many others wait.
    pub(super) fn in_progress(&self, trigger: &str) -> (usize, usize) {
        let found = self.numbers.get(trigger).and_then(|number| self.triggers.get(number));
        found.map_or((0, 0), |trigger| {
            let waiting = usize::try_from(trigger.row.waiting).unwrap_or(usize::MAX);
            (trigger.in_flight, waiting.saturating_sub(trigger.taken.len()))
        })
    }

    pub(super) fn forget(&mut self, number: u32) {
        let Some(trigger) = self.triggers.remove(&number) else { return };
        self.numbers.remove(&trigger.name);
        if let Some(due_ms) = trigger.due_ms {
            self.by_due.remove(&(due_ms, number));
        }
        self.ring.retain(|other| *other != number);
        self.receipts.retain(|_, flight| flight.number != number);
    }

    pub(super) fn in_flight(&self, receipt: Receipt) -> Option<InFlight> {
        self.receipts.get(&receipt).cloned()
    }

    /// Learns from the header of an event in flight whether it has an ordering key.
    pub(super) fn read(&mut self, receipt: Receipt, header: &Header) {
        if let Some(flight) = self.receipts.get_mut(&receipt) {
            flight.is_ordered = header.ordering_key.is_some();
        }
    }

    pub(super) fn is_taken(&self, number: u32, position: u64) -> bool {
        self.triggers.get(&number).is_some_and(|trigger| trigger.taken.contains(&position))
    }

    /// Every trigger with its counts, what is taken, and what is in flight, by name.
    pub(super) fn rows(&self) -> Vec<(Arc<str>, TriggerRow, usize, usize)> {
        let triggers = self.numbers.values().filter_map(|number| self.triggers.get(number));
        triggers
            .map(|trigger| (Arc::clone(&trigger.name), trigger.row, trigger.taken.len(), trigger.in_flight))
            .collect()
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.by_due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Gives a trigger that is not in the ring its place in `by_due`.
    fn reschedule(&mut self, number: u32) {
        let Some(trigger) = self.triggers.get_mut(&number).filter(|trigger| !trigger.is_ringed) else {
            return;
        };
        let due_ms = trigger.candidates.first().map(|candidate| candidate.due_ms);
        // What is left to read may be due at any time.
        let due_ms = due_ms.or_else(|| trigger.horizon.map(|horizon| horizon.due_ms));
        if due_ms == trigger.due_ms {
            return;
        }
        if let Some(before) = std::mem::replace(&mut trigger.due_ms, due_ms) {
            self.by_due.remove(&(before, number));
        }
        self.by_due.extend(due_ms.map(|due_ms| (due_ms, number)));
    }

    /// Takes at most `take.events_max` events that are due at `now_ms`, one after the other from each
    /// trigger.
    pub(super) fn select<A: FnMut(&str, usize) -> bool>(
        &mut self,
        transaction: &ReadTransaction,
        now_ms: u64,
        take: &mut Take<A>,
        limits: &InboxLimits,
    ) -> Result<Vec<Selected>, Error> {
        while let Some(&(due_ms, number)) = self.by_due.first().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.by_due.remove(&(due_ms, number));
            if let Some(trigger) = self.triggers.get_mut(&number) {
                (trigger.due_ms, trigger.is_ringed) = (None, true);
                self.ring.push_back(number);
            }
        }
        let (mut selected, mut passed) = (Vec::new(), 0);
        while selected.len() < take.events_max && passed < self.ring.len() {
            let Some(number) = self.ring.pop_front() else { break };
            let Some(trigger) = self.triggers.get_mut(&number) else { continue };
            if let Err(error) = trigger.refill(transaction, CANDIDATES_READ) {
                self.ring.push_front(number);
                for Selected { receipt, .. } in selected {
                    self.put_back(receipt);
                }
                return Err(error);
            }
            let Some(&candidate) = trigger.candidates.first().filter(|first| first.due_ms <= now_ms) else {
                trigger.is_ringed = false;
                self.reschedule(number);
                continue;
            };
            self.ring.push_back(number);
            if is_blocked(&trigger.row, limits) || !(take.admit)(&trigger.name, trigger.in_flight) {
                passed += 1;
                continue;
            }
            passed = 0;
            trigger.candidates.remove(&candidate);
            trigger.taken.insert(candidate.position);
            trigger.in_flight += 1;
            self.last_receipt += 1;
            let receipt = Receipt(self.last_receipt);
            let flight =
                InFlight { trigger: Arc::clone(&trigger.name), number, candidate, is_ordered: false };
            self.receipts.insert(receipt, flight.clone());
            selected.push(Selected { receipt, flight });
        }
        Ok(selected)
    }
}

/// Whether the trigger's box of dead letters is full.
pub(super) fn is_blocked(row: &TriggerRow, limits: &InboxLimits) -> bool {
    row.dead >= limits.dead_max || row.dead_bytes >= limits.dead_bytes_max
}
