//! Puts dead letters of events that were kept elsewhere.

use redb::{Error, WriteTransaction};

use super::{
    finish::{cut, full_box},
    put::{fits, size},
    schedule::is_blocked,
    tables::{Became, Header, IdRow, Tables, TriggerRow, corrupt},
};
use crate::inbox::{DeadEvent, EventKey, InboxBound, InboxError, InboxLimits, Put};

/// What was done.
pub(super) struct Done {
    pub(super) put: Put,
    /// What the trigger has now, if that is more than before.
    pub(super) row: Option<TriggerRow>,
}

/// Checks everything that can be checked without the database.
pub(super) fn check(limits: &InboxLimits, event: &DeadEvent) -> Result<(), InboxError> {
    let DeadEvent { key: EventKey { trigger, id }, body, .. } = event;
    let name_max = InboxLimits::NAME_BYTES_MAX as u64;
    fits("name of a trigger", trigger.len() as u64, name_max)?;
    fits("id of an event", id.len() as u64, name_max)?;
    fits("event", size(id, None, body), limits.event_bytes_max)
}

/// Puts `event` as a dead letter, unless it is there or remembered.
pub(super) fn bury(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    now_ms: u64,
    event: &DeadEvent,
) -> Result<Result<Done, InboxError>, Error> {
    let DeadEvent { key: EventKey { trigger, id }, attempts, reason, body } = event;
    let mut tables = Tables::open(transaction)?;
    let found = tables.trigger(trigger)?;
    let known = match found {
        Some(row) => tables.id(row.number, id)?,
        None => None,
    };
    if known.as_ref().is_some_and(|known| !known.is_over(now_ms, limits.remembered_ms)) {
        return Ok(Ok(Done { put: Put::Duplicate, row: None }));
    }
    let mut row = found.unwrap_or_default();
    if is_blocked(&row, limits) {
        return Ok(Err(full_box(trigger, &row, limits)));
    }
    if found.is_none() {
        let triggers = tables.triggers_len()? + 1;
        if triggers > limits.triggers_max {
            let what = InboxBound::Triggers;
            return Ok(Err(InboxError::Full { what, found: triggers, limit: limits.triggers_max }));
        }
        let number = tables.next("trigger")?;
        row.number =
            u32::try_from(number).map_err(|_| corrupt("table meta: too many triggers".to_owned()))?;
    }
    let before = row;
    if let Some(over) = known {
        tables.forget_finished(&mut row, over.number, id)?;
    }
    let position = tables.next("position")?;
    let header = Header {
        time_ms: now_ms,
        arrived_ms: now_ms,
        attempts: *attempts,
        bytes: size(id, None, body),
        id: id.clone(),
        ordering_key: None,
        reason: cut(reason).to_owned(),
    };
    tables.bury(row.number, position, &header)?;
    tables.bodies.insert((row.number, position), body.as_ref())?;
    let became = IdRow { became: Became::Dead, number: position, at_ms: now_ms, text: String::new() };
    tables.keep_id(row.number, id, &became)?;
    row.dead += 1;
    row.dead_bytes += header.bytes;
    tables.keep(trigger, before, row)?;
    Ok(Ok(Done { put: Put::Accepted, row: Some(row) }))
}
