//! Ends deliveries.

use redb::{Error, ReadableTable as _, WriteTransaction};

use super::{
    schedule::{InFlight, is_blocked},
    tables::{Became, Candidate, Header, IdRow, Tables, TriggerRow},
};
use crate::inbox::{Finish, InboxBound, InboxError, InboxLimits};

/// What a trigger has after a delivery was ended.
pub(super) struct Finished {
    pub(super) row: TriggerRow,
    pub(super) candidate: Option<Candidate>,
    /// The error if the event was to be a dead letter, and waits instead.
    pub(super) full: Option<InboxError>,
}

/// Ends the delivery `flight`. Returns `None` if its event is not there any more.
pub(super) fn finish(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    now_ms: u64,
    flight: &InFlight,
    finish: &Finish,
) -> Result<Option<Finished>, Error> {
    let mut tables = Tables::open(transaction)?;
    let before = tables.trigger(&flight.trigger)?.filter(|row| row.number == flight.number);
    let Some(before) = before else { return Ok(None) };
    let position = flight.candidate.position;
    let found = tables.waiting.get((before.number, position))?.map(|row| Header::of(row.value()));
    let Some(mut header) = found else { return Ok(None) };
    let mut row = before;
    let mut full = None;
    let candidate = match finish {
        Finish::Acknowledged { text } => {
            let candidate = dequeue(&mut tables, &mut row, position)?;
            tables.bodies.remove((row.number, position))?;
            let end = (Became::Acknowledged, cut(text));
            let window = (limits.remembered_max, limits.remembered_ms);
            tables.remember(&mut row, &header.id, end, now_ms, window)?;
            candidate
        }
        Finish::Dead { reason } if !is_blocked(&row, limits) => {
            let candidate = dequeue(&mut tables, &mut row, position)?;
            header.attempts += 1;
            (header.time_ms, header.reason) = (now_ms, cut(reason).to_owned());
            tables.bury(row.number, position, &header)?;
            let id = IdRow { became: Became::Dead, number: position, at_ms: now_ms, text: String::new() };
            tables.keep_id(row.number, &header.id, &id)?;
            row.dead += 1;
            row.dead_bytes += header.bytes;
            candidate
        }
        Finish::Dead { reason } => {
            full = Some(full_box(&flight.trigger, &row, limits));
            Some(postpone(&mut tables, row.number, position, header, (now_ms, reason))?)
        }
        Finish::Retry { due_ms, reason } => {
            Some(postpone(&mut tables, row.number, position, header, (*due_ms, reason))?)
        }
        Finish::Released => None,
    };
    tables.keep(&flight.trigger, before, row)?;
    Ok(Some(Finished { row, candidate, full }))
}

fn dequeue(tables: &mut Tables<'_>, row: &mut TriggerRow, position: u64) -> Result<Option<Candidate>, Error> {
    Ok(tables.dequeue(row, position)?.and_then(|(_, candidate)| candidate))
}

fn postpone(
    tables: &mut Tables<'_>,
    number: u32,
    position: u64,
    mut header: Header,
    (due_ms, reason): (u64, &str),
) -> Result<Candidate, Error> {
    header.attempts += 1;
    (header.time_ms, header.reason) = (due_ms, cut(reason).to_owned());
    tables.postpone(number, position, &header)?;
    Ok(Candidate { due_ms, position })
}

pub(super) fn full_box(trigger: &str, row: &TriggerRow, limits: &InboxLimits) -> InboxError {
    let trigger = trigger.to_owned();
    if row.dead >= limits.dead_max {
        let what = InboxBound::DeadLettersOf(trigger);
        InboxError::Full { what, found: row.dead + 1, limit: limits.dead_max }
    } else {
        let what = InboxBound::DeadLetterBytesOf(trigger);
        InboxError::Full { what, found: row.dead_bytes, limit: limits.dead_bytes_max }
    }
}

/// The beginning of `text` that is kept.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(InboxLimits::TEXT_BYTES_MAX)]
}
