//! Puts events, and the marks that change with them.

use std::collections::{BTreeMap, HashSet};

use redb::{Error, ReadableTableMetadata as _, WriteTransaction};

use super::tables::{Candidate, Header, Tables, TriggerRow, corrupt};
use crate::inbox::{EventKey, InboxBound, InboxError, InboxLimits, Mark, NewEvent, Put};

/// What was put.
pub(super) struct Done {
    pub(super) puts: Vec<Put>,
    pub(super) changed: Vec<Changed>,
}

/// A trigger after a change, and what may be taken of it in addition.
pub(super) struct Changed {
    pub(super) trigger: String,
    pub(super) row: TriggerRow,
    pub(super) candidates: Vec<Candidate>,
}

/// The size of an event with this id and ordering key.
pub(super) fn size(id: &str, ordering_key: Option<&str>, body: &[u8]) -> u64 {
    (id.len() + ordering_key.map_or(0, str::len) + body.len()) as u64
}

pub(super) fn fits(what: &'static str, found: u64, limit: u64) -> Result<(), InboxError> {
    if found > limit { Err(InboxError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Checks everything that can be checked without the database.
pub(super) fn check(limits: &InboxLimits, events: &[NewEvent], marks: &[Mark]) -> Result<(), InboxError> {
    let name_max = InboxLimits::NAME_BYTES_MAX as u64;
    for NewEvent { key: EventKey { trigger, id }, ordering_key, body, .. } in events {
        fits("name of a trigger", trigger.len() as u64, name_max)?;
        fits("id of an event", id.len() as u64, name_max)?;
        fits("ordering key of an event", ordering_key.as_ref().map_or(0, String::len) as u64, name_max)?;
        fits("event", size(id, ordering_key.as_deref(), body), limits.event_bytes_max)?;
    }
    for Mark { name, value, .. } in marks {
        fits("name of a mark", name.len() as u64, name_max)?;
        let bytes = value.as_ref().map_or(0, |value| value.len() as u64);
        fits("mark", bytes, InboxLimits::MARK_BYTES_MAX as u64)?;
    }
    Ok(())
}

/// Checks that `more` events of `bytes` fit, in all and of `trigger`, which has `row`.
pub(super) fn has_room(
    tables: &Tables<'_>,
    limits: &InboxLimits,
    trigger: &str,
    row: &TriggerRow,
    (more, bytes): (u64, u64),
) -> Result<Result<(), InboxError>, Error> {
    let bounds = [
        (InboxBound::EventsOf(trigger.to_owned()), row.waiting + more, limits.trigger_events_max),
        (InboxBound::BytesOf(trigger.to_owned()), row.bytes + bytes, limits.trigger_bytes_max),
        (InboxBound::Events, tables.number("waiting")? + more, limits.events_max),
        (InboxBound::Bytes, tables.number("waiting_bytes")? + bytes, limits.bytes_max),
    ];
    Ok(match bounds.into_iter().find(|(_, found, limit)| found > limit) {
        Some((what, found, limit)) => Err(InboxError::Full { what, found, limit }),
        None => Ok(()),
    })
}

/// What is to be put to a trigger.
struct Additions {
    row: TriggerRow,
    is_new: bool,
    count: u64,
    bytes: u64,
}

/// Puts `events` and `marks`, all or none of them.
pub(super) fn put(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    now_ms: u64,
    events: &[NewEvent],
    marks: &[Mark],
) -> Result<Result<Done, InboxError>, Error> {
    let mut tables = Tables::open(transaction)?;
    let (puts, mut additions) = match plan(&tables, limits, now_ms, events)? {
        Ok(planned) => planned,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = marks_fit(&tables, limits, marks)? {
        return Ok(Err(error));
    }
    // From here on nothing refuses.
    for addition in additions.values_mut().filter(|addition| addition.is_new) {
        let number = tables.next("trigger")?;
        addition.row.number =
            u32::try_from(number).map_err(|_| corrupt("table meta: too many triggers".to_owned()))?;
    }
    let before: Vec<_> = additions.values().map(|addition| addition.row).collect();
    let mut candidates: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
    for (event, _) in events.iter().zip(&puts).filter(|(_, put)| **put == Put::Accepted) {
        let NewEvent { key: EventKey { trigger, id }, due_ms, ordering_key, body } = event;
        let addition =
            additions.get_mut(trigger.as_str()).expect("a trigger of each accepted event was planned");
        // One that was finished longer ago than is remembered.
        if let Some(over) = tables.id(addition.row.number, id)? {
            tables.forget_finished(&mut addition.row, over.number, id)?;
        }
        let header = Header {
            time_ms: *due_ms,
            arrived_ms: now_ms,
            attempts: 0,
            bytes: size(id, ordering_key.as_deref(), body),
            id: id.clone(),
            ordering_key: ordering_key.clone(),
            reason: String::new(),
        };
        let candidate = tables.enqueue(&mut addition.row, &header, body)?;
        candidates.entry(trigger).or_default().extend(candidate);
    }
    let mut changed = Vec::new();
    for ((trigger, addition), before) in additions.into_iter().zip(before) {
        tables.keep(trigger, before, addition.row)?;
        let candidates = candidates.remove(trigger).unwrap_or_default();
        changed.push(Changed { trigger: trigger.to_owned(), row: addition.row, candidates });
    }
    for Mark { name, value, .. } in marks {
        match value {
            Some(value) => tables.marks.insert(name.as_str(), value.as_ref())?,
            None => tables.marks.remove(name.as_str())?,
        };
    }
    Ok(Ok(Done { puts, changed }))
}

type Planned<'e> = (Vec<Put>, BTreeMap<&'e str, Additions>);

/// Which of `events` are new, and what their triggers get. Writes nothing.
fn plan<'e>(
    tables: &Tables<'_>,
    limits: &InboxLimits,
    now_ms: u64,
    events: &'e [NewEvent],
) -> Result<Result<Planned<'e>, InboxError>, Error> {
    let (mut puts, mut seen) = (Vec::with_capacity(events.len()), HashSet::new());
    let mut additions: BTreeMap<&str, Additions> = BTreeMap::new();
    for NewEvent { key: key @ EventKey { trigger, id }, ordering_key, body, .. } in events {
        let row = match additions.get(trigger.as_str()) {
            Some(addition) => (!addition.is_new).then_some(addition.row),
            None => tables.trigger(trigger)?,
        };
        let known = match row {
            Some(row) => tables.id(row.number, id)?,
            None => None,
        };
        let is_known = known.is_some_and(|known| !known.is_over(now_ms, limits.remembered_ms));
        if is_known || !seen.insert(key) {
            puts.push(Put::Duplicate);
            continue;
        }
        puts.push(Put::Accepted);
        let addition = additions.entry(trigger).or_insert_with(|| Additions {
            row: row.unwrap_or_default(),
            is_new: row.is_none(),
            count: 0,
            bytes: 0,
        });
        addition.count += 1;
        addition.bytes += size(id, ordering_key.as_deref(), body);
    }
    let total = additions
        .values()
        .fold((0, 0), |(count, bytes), addition| (count + addition.count, bytes + addition.bytes));
    for (trigger, addition) in &additions {
        // Against the bounds of all triggers together, everything counts that is put here.
        let own = has_room(tables, limits, trigger, &addition.row, (addition.count, addition.bytes))?;
        let all = has_room(tables, &unbounded_by_trigger(limits), trigger, &addition.row, total)?;
        if let Err(error) = own.and(all) {
            return Ok(Err(error));
        }
    }
    let new = additions.values().filter(|addition| addition.is_new).count() as u64;
    let found = tables.triggers_len()? + new;
    if new > 0 && found > limits.triggers_max {
        return Ok(Err(InboxError::Full { what: InboxBound::Triggers, found, limit: limits.triggers_max }));
    }
    Ok(Ok((puts, additions)))
}

fn unbounded_by_trigger(limits: &InboxLimits) -> InboxLimits {
    InboxLimits { trigger_events_max: u64::MAX, trigger_bytes_max: u64::MAX, ..limits.clone() }
}

/// Checks that `marks` fit. Counts each as a new one.
fn marks_fit(
    tables: &Tables<'_>,
    limits: &InboxLimits,
    marks: &[Mark],
) -> Result<Result<(), InboxError>, Error> {
    let mut found = tables.marks.len()?;
    for Mark { name, value, .. } in marks {
        if value.is_some() && redb::ReadableTable::get(&tables.marks, name.as_str())?.is_none() {
            found += 1;
        }
    }
    let limit = limits.marks_max;
    let is_more = found > tables.marks.len()?;
    Ok(if is_more && found > limit {
        Err(InboxError::Full { what: InboxBound::Marks, found, limit })
    } else {
        Ok(())
    })
}
