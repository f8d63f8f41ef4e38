//! What is read from the inbox, taking included: nothing here writes to the file.

use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, Error, ReadOnlyTable, ReadTransaction, ReadableDatabase as _};

use super::{
    State,
    schedule::{Selected, is_blocked},
    tables::{
        BODIES, Became, DEAD, Header, HeaderValue, IDS, IdRow, MARKS, Position, TRIGGERS, TriggerRow, WAITING,
    },
};
use crate::inbox::{
    EventKey, EventPage, EventState, InboxLimits, StoredEvent, Take, TakenEvent, TriggerCounts,
};

/// Takes events that are due.
pub(super) fn take<A: FnMut(&str, usize) -> bool>(
    database: &Database,
    state: &State,
    now_ms: u64,
    take: &mut Take<A>,
    limits: &InboxLimits,
) -> Result<Vec<TakenEvent>, Error> {
    let (waiting, bodies, selected) = {
        let mut schedule = state.lock();
        // Within the lock: an older transaction would miss what the schedule does not hear of again.
        let transaction = database.begin_read()?;
        let (waiting, bodies) = (transaction.open_table(WAITING)?, transaction.open_table(BODIES)?);
        let selected = schedule.select(&transaction, now_ms, take, limits)?;
        (waiting, bodies, selected)
    };
    let (mut taken, mut bytes) = (Vec::with_capacity(selected.len()), 0);
    let mut selected = selected.into_iter();
    let failed = loop {
        let Some(Selected { receipt, flight }) = selected.next() else { break None };
        let event = match read_event(&waiting, &bodies, (flight.number, flight.candidate.position)) {
            Ok(event) => event,
            Err(error) => {
                state.lock().put_back(receipt);
                break Some(error);
            }
        };
        let Some((header, body)) = event else {
            // Its trigger was just forgotten.
            state.lock().landed(receipt, &flight);
            continue;
        };
        bytes += header.bytes;
        if bytes > take.bytes_max && !taken.is_empty() {
            state.lock().put_back(receipt);
            break None;
        }
        state.lock().read(receipt, &header);
        taken.push(TakenEvent {
            receipt,
            trigger: flight.trigger,
            id: header.id,
            attempt: header.attempts + 1,
            due_ms: header.time_ms,
            arrived_ms: header.arrived_ms,
            ordering_key: header.ordering_key,
            body,
        });
    };
    let mut schedule = state.lock();
    for Selected { receipt, .. } in selected {
        schedule.put_back(receipt);
    }
    if let Some(error) = failed {
        for event in taken {
            schedule.put_back(event.receipt);
        }
        return Err(error);
    }
    Ok(taken)
}

fn read_event(
    waiting: &ReadOnlyTable<Position, HeaderValue<'static>>,
    bodies: &ReadOnlyTable<Position, &'static [u8]>,
    at: Position,
) -> Result<Option<(Header, Bytes)>, Error> {
    let Some(header) = waiting.get(at)?.map(|row| Header::of(row.value())) else { return Ok(None) };
    Ok(Some((header, read_body(bodies, at)?)))
}

fn read_body(bodies: &ReadOnlyTable<Position, &'static [u8]>, at: Position) -> Result<Bytes, Error> {
    let body = bodies.get(at)?;
    Ok(body.map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.value())))
}

fn number(transaction: &ReadTransaction, trigger: &str) -> Result<Option<u32>, Error> {
    let row = transaction.open_table(TRIGGERS)?.get(trigger)?;
    Ok(row.map(|row| TriggerRow::of(row.value()).number))
}

/// A waiting event as it is listed.
fn waiting_event(state: &State, number: u32, position: u64, header: Header) -> StoredEvent {
    let attempts = header.attempts;
    let became = if state.lock().is_taken(number, position) {
        EventState::Running { attempts }
    } else {
        EventState::Waiting { due_ms: header.time_ms, attempts, reason: header.reason.clone() }
    };
    listed(position, header, became)
}

/// A dead letter as it is listed.
fn dead_event(position: u64, header: Header) -> StoredEvent {
    let (at_ms, attempts) = (header.time_ms, header.attempts);
    let state = EventState::Dead { at_ms, attempts, reason: header.reason.clone() };
    listed(position, header, state)
}

fn listed(position: u64, header: Header, state: EventState) -> StoredEvent {
    let Header { id, arrived_ms, ordering_key, bytes, .. } = header;
    StoredEvent { position, id, arrived_ms, ordering_key, bytes, state }
}

/// Events that are waiting or in flight.
pub(super) fn waiting(
    database: &Database,
    state: &State,
    trigger: &str,
    page: EventPage,
) -> Result<Vec<StoredEvent>, Error> {
    let transaction = database.begin_read()?;
    let Some(number) = number(&transaction, trigger)? else { return Ok(Vec::new()) };
    let table = transaction.open_table(WAITING)?;
    let rows = table.range((number, from(page))..=(number, u64::MAX))?.take(page.limit);
    rows.map(|row| {
        let (key, value) = row?;
        Ok(waiting_event(state, number, key.value().1, Header::of(value.value())))
    })
    .collect()
}

/// Dead letters.
pub(super) fn dead_letters(
    database: &Database,
    trigger: &str,
    page: EventPage,
) -> Result<Vec<StoredEvent>, Error> {
    let transaction = database.begin_read()?;
    let Some(number) = number(&transaction, trigger)? else { return Ok(Vec::new()) };
    let table = transaction.open_table(DEAD)?;
    let rows = table.range((number, from(page))..=(number, u64::MAX))?.take(page.limit);
    rows.map(|row| {
        let (key, value) = row?;
        Ok(dead_event(key.value().1, Header::of(value.value())))
    })
    .collect()
}

fn from(page: EventPage) -> u64 {
    page.after.map_or(0, |after| after.saturating_add(1))
}

/// The row of `ids` of an event, and the event itself unless it is finished.
fn find(
    transaction: &ReadTransaction,
    state: &State,
    key: &EventKey,
) -> Result<Option<(u32, IdRow, Option<StoredEvent>)>, Error> {
    let Some(number) = number(transaction, &key.trigger)? else { return Ok(None) };
    let row = transaction.open_table(IDS)?.get((number, key.id.as_str()))?;
    let Some(row) = row.map(|row| IdRow::of(row.value())).transpose()? else { return Ok(None) };
    let position = row.number;
    let header = match row.became {
        Became::Waiting => transaction.open_table(WAITING)?.get((number, position))?,
        Became::Dead => transaction.open_table(DEAD)?.get((number, position))?,
        Became::Acknowledged | Became::Discarded => None,
    };
    let event = header.map(|header| Header::of(header.value())).map(|header| match row.became {
        Became::Dead => dead_event(position, header),
        _ => waiting_event(state, number, position, header),
    });
    Ok(Some((number, row, event)))
}

/// An event that is not finished, with its body.
pub(super) fn show(
    database: &Database,
    state: &State,
    key: &EventKey,
) -> Result<Option<(StoredEvent, Bytes)>, Error> {
    let transaction = database.begin_read()?;
    let Some((number, _, Some(event))) = find(&transaction, state, key)? else { return Ok(None) };
    let body = read_body(&transaction.open_table(BODIES)?, (number, event.position))?;
    Ok(Some((event, body)))
}

/// What became of an event.
pub(super) fn state(
    database: &Database,
    state: &State,
    now_ms: u64,
    key: &EventKey,
    remembered_ms: u64,
) -> Result<Option<EventState>, Error> {
    let transaction = database.begin_read()?;
    let Some((_, row, event)) = find(&transaction, state, key)? else { return Ok(None) };
    if row.is_over(now_ms, remembered_ms) {
        return Ok(None);
    }
    let IdRow { became, at_ms, text, .. } = row;
    Ok(match became {
        Became::Acknowledged => Some(EventState::Acknowledged { at_ms, text }),
        Became::Discarded => Some(EventState::Discarded { at_ms }),
        Became::Waiting | Became::Dead => event.map(|event| event.state),
    })
}

/// Marks whose names begin with `prefix`.
pub(super) fn marks(database: &Database, prefix: &str, limit: usize) -> Result<Vec<(String, Bytes)>, Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(MARKS)?;
    let mut marks = Vec::new();
    for row in table.range(prefix..)?.take(limit) {
        let (name, value) = row?;
        if !name.value().starts_with(prefix) {
            break;
        }
        marks.push((name.value().to_owned(), Bytes::copy_from_slice(value.value())));
    }
    Ok(marks)
}

/// Counts of every trigger.
pub(super) fn counts(
    database: &Database,
    state: &State,
    limits: &InboxLimits,
) -> Result<Vec<TriggerCounts>, Error> {
    let (transaction, rows) = {
        let schedule = state.lock();
        (database.begin_read()?, schedule.rows())
    };
    let (waiting, dead) = (transaction.open_table(WAITING)?, transaction.open_table(DEAD)?);
    let counts = rows.into_iter().map(|(trigger, row, taken, in_flight)| {
        let mut oldest = waiting.range((row.number, 0)..=(row.number, u64::MAX))?;
        let oldest_arrived_ms = oldest.next().transpose()?.map(|(_, value)| value.value().1);
        let mut last = 0;
        for table in [&waiting, &dead] {
            let newest = table.range((row.number, 0)..=(row.number, u64::MAX))?.next_back().transpose()?;
            last = last.max(newest.map_or(0, |(key, _)| key.value().1));
        }
        Ok(TriggerCounts {
            trigger: Arc::clone(&trigger),
            waiting: row.waiting.saturating_sub(taken as u64),
            bytes: row.bytes,
            in_flight: in_flight as u64,
            dead: row.dead,
            dead_bytes: row.dead_bytes,
            oldest_arrived_ms,
            last,
            is_blocked: is_blocked(&row, limits),
        })
    });
    counts.collect()
}
