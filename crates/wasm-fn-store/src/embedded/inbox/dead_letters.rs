//! Puts dead letters into the inbox again, or removes them.

use redb::{Error, ReadableTable as _, WriteTransaction};

use super::{
    put::{Changed, has_room},
    tables::{Became, Header, Tables, TriggerRow},
};
use crate::inbox::{InboxError, InboxLimits};

/// Dead letters in one transaction at most.
const LETTERS_MAX: usize = 256;

/// Bytes of dead letters in one transaction at most, unless it is a single one.
const BYTES_MAX: u64 = 16 << 20;

/// Which dead letters a transaction is about.
#[derive(Clone, Debug)]
pub(super) enum Letters {
    /// Those of these ids, from here on.
    Ids { ids: Vec<String>, from: usize },
    /// All up to a position: what died later is left alone.
    UpTo(u64),
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Redrive,
    Discard,
}

/// What was done.
pub(super) struct Moved {
    pub(super) count: u64,
    pub(super) changed: Changed,
    /// What is left to do; `None` if nothing is.
    pub(super) rest: Option<Letters>,
}

/// Redrives or discards some of `letters` of `trigger`. Returns `None` if there is no such trigger.
pub(super) fn dispose(
    transaction: &WriteTransaction,
    limits: &InboxLimits,
    now_ms: u64,
    trigger: &str,
    letters: &Letters,
    order: Order,
) -> Result<Option<Result<Moved, InboxError>>, Error> {
    let mut tables = Tables::open(transaction)?;
    let Some(before) = tables.trigger(trigger)? else { return Ok(None) };
    let (chosen, rest) = choose(&tables, before.number, letters)?;
    let bytes = chosen.iter().map(|(_, header)| header.bytes).sum();
    if order == Order::Redrive
        && let Err(error) = has_room(&tables, limits, trigger, &before, (chosen.len() as u64, bytes))?
    {
        return Ok(Some(Err(error)));
    }
    let (mut row, mut candidates) = (before, Vec::new());
    for (position, header) in &chosen {
        let key = (row.number, *position);
        tables.dead.remove(key)?;
        row.dead = row.dead.saturating_sub(1);
        row.dead_bytes = row.dead_bytes.saturating_sub(header.bytes);
        let body = tables.bodies.remove(key)?.map_or_else(Vec::new, |body| body.value().to_vec());
        match order {
            Order::Redrive => {
                let header = Header {
                    time_ms: now_ms,
                    arrived_ms: now_ms,
                    attempts: 0,
                    reason: String::new(),
                    ..header.clone()
                };
                candidates.extend(tables.enqueue(&mut row, &header, &body)?);
            }
            Order::Discard => {
                let window = (limits.remembered_max, limits.remembered_ms);
                tables.remember(&mut row, &header.id, (Became::Discarded, ""), now_ms, window)?;
            }
        }
    }
    tables.keep(trigger, before, row)?;
    let changed = Changed { trigger: trigger.to_owned(), row, candidates };
    Ok(Some(Ok(Moved { count: chosen.len() as u64, changed, rest })))
}

/// The letters for one transaction, by position, and what is left.
#[expect(clippy::type_complexity, reason = "a list and its rest are read at the one place that calls this")]
fn choose(
    tables: &Tables<'_>,
    number: u32,
    letters: &Letters,
) -> Result<(Vec<(u64, Header)>, Option<Letters>), Error> {
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    let mut is_room = |header: &Header, count: usize| {
        bytes += header.bytes;
        count == 0 || (count < LETTERS_MAX && bytes <= BYTES_MAX)
    };
    match letters {
        Letters::Ids { ids, from } => {
            for (index, id) in ids.iter().enumerate().skip(*from) {
                let row = tables.id(number, id)?.filter(|row| row.became == Became::Dead);
                let Some(position) = row.map(|row| row.number) else { continue };
                if chosen.iter().any(|(other, _)| *other == position) {
                    continue;
                }
                let header = tables.dead.get((number, position))?.map(|row| Header::of(row.value()));
                let Some(header) = header else { continue };
                if !is_room(&header, chosen.len()) {
                    return Ok((chosen, Some(Letters::Ids { ids: ids.clone(), from: index })));
                }
                chosen.push((position, header));
            }
        }
        Letters::UpTo(last) => {
            for row in tables.dead.range((number, 0)..=(number, *last))? {
                let (key, value) = row?;
                let header = Header::of(value.value());
                if !is_room(&header, chosen.len()) {
                    return Ok((chosen, Some(letters.clone())));
                }
                chosen.push((key.value().1, header));
            }
        }
    }
    Ok((chosen, None))
}

/// Removes `trigger`, unless it has an event behind the position `last`. What belonged to it is left to the
/// sweep. Returns the number that it had, if it was there and is not any more; and whether it is not there.
pub(super) fn forget(
    transaction: &WriteTransaction,
    trigger: &str,
    last: u64,
) -> Result<(Option<u32>, bool), Error> {
    let mut tables = Tables::open(transaction)?;
    let Some(row) = tables.trigger(trigger)? else { return Ok((None, true)) };
    for table in [&tables.waiting, &tables.dead] {
        if last < u64::MAX && table.range((row.number, last + 1)..=(row.number, u64::MAX))?.next().is_some() {
            return Ok((None, false));
        }
    }
    // For the totals.
    tables.keep(trigger, row, TriggerRow { number: row.number, ..TriggerRow::default() })?;
    tables.triggers.remove(trigger)?;
    tables.forgotten.insert(row.number, ())?;
    Ok((Some(row.number), true))
}
