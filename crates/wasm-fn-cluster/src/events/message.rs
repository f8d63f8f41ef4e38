//! Changes of the inbox as a message of their log. Pure.
//!
//! A message is the length of its head in four bytes, little-endian, the head as JSON, and the bytes of
//! bodies and marks one after the other, as long as the head says. So bodies are not made longer.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_fn_store::{DeadEvent, DeadLetters, EventKey, Finish, InboxChange, Mark, NewEvent, ShardHolder};

/// The newest format of messages that this program reads, and the one that it writes.
pub(super) const FORMAT: u64 = 1;

/// Bytes of the changes of one message at most, unless it is one change.
pub(super) const BATCH_BYTES: usize = 256 << 10;

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChangesError {
    /// A newer program wrote it.
    #[error("message has format {found}, expected at most {FORMAT}")]
    Newer {
        /// The format found.
        found: u64,
    },
    /// It is something else.
    #[error("message has no changes of an inbox: {0}")]
    Malformed(String),
}

/// Changes that one process makes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changes {
    /// The process.
    pub(super) process: String,
    /// Its time, in milliseconds since 1970.
    pub(super) now_ms: u64,
    pub(super) changes: Vec<InboxChange>,
    /// What tells the message from others.
    pub(super) mark: u64,
}

/// What tells `bytes` from others: the beginning of their SHA-256, and never 0.
pub(super) fn mark(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    let (first, _) = hash.split_first_chunk().expect("it has 32 bytes");
    u64::from_le_bytes(*first).max(1)
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u64,
    process: String,
    now_ms: u64,
    changes: Vec<WireChange>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireChange {
    Hold(WireHolder),
    Put {
        events: Vec<WireEvent>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        marks: Vec<WireMark>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holders: Vec<WireHolder>,
    },
    Finish {
        trigger: String,
        position: u64,
        attempt: u32,
        holder: WireHolder,
        finish: WireFinish,
    },
    Bury {
        trigger: String,
        id: String,
        attempts: u32,
        reason: String,
        bytes: usize,
    },
    Dispose {
        trigger: String,
        /// `None` for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ids: Option<Vec<String>>,
        last: u64,
        is_redriven: bool,
    },
    Forget {
        trigger: String,
        last: u64,
    },
}

/// A shard and a fence. The process is the one that sends the message.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct WireHolder(u16, u64);

#[derive(Serialize, Deserialize)]
struct WireEvent {
    trigger: String,
    id: String,
    due_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordering_key: Option<String>,
    bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    trigger: String,
    name: String,
    /// `None` if it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireFinish {
    Acknowledged { text: String },
    Retry { due_ms: u64, reason: String },
    Dead { reason: String },
    Released,
}

/// Roughly how long a change is in a message, in bytes; not less than it is unless names need escapes.
pub(super) fn size(change: &InboxChange) -> usize {
    const FRAME: usize = 160;
    let event = |event: &NewEvent| {
        let key = event.ordering_key.as_ref().map_or(0, String::len);
        FRAME + event.key.trigger.len() + event.key.id.len() + key + event.body.len()
    };
    let mark = |mark: &Mark| {
        FRAME + mark.trigger.len() + mark.name.len() + mark.value.as_ref().map_or(0, Bytes::len)
    };
    match change {
        InboxChange::Hold(_) => FRAME,
        InboxChange::Put { events, marks, holders } => {
            let of_events = events.iter().map(event).sum::<usize>();
            FRAME + of_events + marks.iter().map(mark).sum::<usize>() + 32 * holders.len()
        }
        InboxChange::Finish { trigger, finish, .. } => {
            let text = match finish {
                Finish::Acknowledged { text: said } => said,
                Finish::Retry { reason: said, .. } | Finish::Dead { reason: said } => said,
                Finish::Released => "",
            };
            FRAME + trigger.len() + text.len()
        }
        InboxChange::Bury(DeadEvent { key, reason, body, .. }) => {
            FRAME + key.trigger.len() + key.id.len() + reason.len() + body.len()
        }
        InboxChange::Dispose { trigger, letters, .. } => {
            let ids = match letters {
                DeadLetters::Ids(ids) => ids.iter().map(|id| id.len() + 3).sum(),
                DeadLetters::All => 0,
            };
            FRAME + trigger.len() + ids
        }
        InboxChange::Forget { trigger, .. } => FRAME + trigger.len(),
    }
}

/// The message of `changes`, which `process` makes at `now_ms`.
pub(super) fn write<'c>(process: &str, now_ms: u64, changes: impl Iterator<Item = &'c InboxChange>) -> Bytes {
    let mut bodies = BytesMut::new();
    let changes = changes.map(|change| wire(change, &mut bodies)).collect();
    let head = Head { format: FORMAT, process: process.to_owned(), now_ms, changes };
    let head = serde_json::to_vec(&head).expect("a struct of texts and numbers is JSON");
    let mut message = BytesMut::with_capacity(4 + head.len() + bodies.len());
    message.put_u32_le(u32::try_from(head.len()).expect("a batch has less than 4 GiB"));
    message.put_slice(&head);
    message.put_slice(&bodies);
    message.freeze()
}

fn holder_of(holder: &ShardHolder) -> WireHolder {
    WireHolder(holder.shard, holder.fence)
}

fn wire(change: &InboxChange, bodies: &mut BytesMut) -> WireChange {
    match change {
        InboxChange::Hold(holder) => WireChange::Hold(holder_of(holder)),
        InboxChange::Put { events, marks, holders } => WireChange::Put {
            events: events
                .iter()
                .map(|NewEvent { key, due_ms, ordering_key, body }| {
                    bodies.put_slice(body);
                    WireEvent {
                        trigger: key.trigger.clone(),
                        id: key.id.clone(),
                        due_ms: *due_ms,
                        ordering_key: ordering_key.clone(),
                        bytes: body.len(),
                    }
                })
                .collect(),
            marks: marks
                .iter()
                .map(|Mark { trigger, name, value }| {
                    bodies.put_slice(value.as_deref().unwrap_or_default());
                    let bytes = value.as_ref().map(Bytes::len);
                    WireMark { trigger: trigger.clone(), name: name.clone(), bytes }
                })
                .collect(),
            holders: holders.iter().map(holder_of).collect(),
        },
        InboxChange::Finish { trigger, position, attempt, holder, finish } => WireChange::Finish {
            trigger: trigger.clone(),
            position: *position,
            attempt: *attempt,
            holder: holder_of(holder),
            finish: match finish.clone() {
                Finish::Acknowledged { text } => WireFinish::Acknowledged { text },
                Finish::Retry { due_ms, reason } => WireFinish::Retry { due_ms, reason },
                Finish::Dead { reason } => WireFinish::Dead { reason },
                Finish::Released => WireFinish::Released,
            },
        },
        InboxChange::Bury(DeadEvent { key, attempts, reason, body }) => {
            bodies.put_slice(body);
            WireChange::Bury {
                trigger: key.trigger.clone(),
                id: key.id.clone(),
                attempts: *attempts,
                reason: reason.clone(),
                bytes: body.len(),
            }
        }
        InboxChange::Dispose { trigger, letters, last, is_redriven } => WireChange::Dispose {
            trigger: trigger.clone(),
            ids: match letters {
                DeadLetters::Ids(ids) => Some(ids.clone()),
                DeadLetters::All => None,
            },
            last: *last,
            is_redriven: *is_redriven,
        },
        InboxChange::Forget { trigger, last } => WireChange::Forget { trigger: trigger.clone(), last: *last },
    }
}

/// The changes that a message has.
pub(super) fn read(message: &Bytes) -> Result<Changes, ChangesError> {
    let malformed = |reason: &str| ChangesError::Malformed(reason.to_owned());
    let of_json = |error: serde_json::Error| ChangesError::Malformed(error.to_string());
    let (length, rest) = message.split_first_chunk().ok_or_else(|| malformed("it has no head"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let head = rest.get(..length).ok_or_else(|| malformed("its head is longer than it is"))?;
    let AnyFormat { format } = serde_json::from_slice(head).map_err(of_json)?;
    if format > FORMAT {
        return Err(ChangesError::Newer { found: format });
    }
    let Head { process, now_ms, changes, .. } = serde_json::from_slice(head).map_err(of_json)?;
    let mut bodies = message.slice(4 + length..);
    let changes = changes.into_iter().map(|change| of_wire(change, &process, &mut bodies));
    let changes = changes.collect::<Option<_>>().ok_or_else(|| malformed("its bodies end too early"))?;
    Ok(Changes { process, now_ms, changes, mark: mark(message) })
}

/// The next `length` bytes; `None` if there are fewer.
fn cut(bodies: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bodies.len()).then(|| bodies.split_to(length))
}

fn of_wire(change: WireChange, process: &str, bodies: &mut Bytes) -> Option<InboxChange> {
    let holder =
        |WireHolder(shard, fence): WireHolder| ShardHolder { shard, process: process.to_owned(), fence };
    Some(match change {
        WireChange::Hold(of) => InboxChange::Hold(holder(of)),
        WireChange::Put { events, marks, holders } => {
            let mut put = Vec::with_capacity(events.len());
            for WireEvent { trigger, id, due_ms, ordering_key, bytes } in events {
                let (key, body) = (EventKey { trigger, id }, cut(bodies, bytes)?);
                put.push(NewEvent { key, due_ms, ordering_key, body });
            }
            let mut kept = Vec::with_capacity(marks.len());
            for WireMark { trigger, name, bytes } in marks {
                let value = match bytes {
                    Some(bytes) => Some(cut(bodies, bytes)?),
                    None => None,
                };
                kept.push(Mark { trigger, name, value });
            }
            let holders = holders.into_iter().map(holder).collect();
            InboxChange::Put { events: put, marks: kept, holders }
        }
        WireChange::Finish { trigger, position, attempt, holder: of, finish } => InboxChange::Finish {
            trigger,
            position,
            attempt,
            holder: holder(of),
            finish: match finish {
                WireFinish::Acknowledged { text } => Finish::Acknowledged { text },
                WireFinish::Retry { due_ms, reason } => Finish::Retry { due_ms, reason },
                WireFinish::Dead { reason } => Finish::Dead { reason },
                WireFinish::Released => Finish::Released,
            },
        },
        WireChange::Bury { trigger, id, attempts, reason, bytes } => InboxChange::Bury(DeadEvent {
            key: EventKey { trigger, id },
            attempts,
            reason,
            body: cut(bodies, bytes)?,
        }),
        WireChange::Dispose { trigger, ids, last, is_redriven } => InboxChange::Dispose {
            trigger,
            letters: ids.map_or(DeadLetters::All, DeadLetters::Ids),
            last,
            is_redriven,
        },
        WireChange::Forget { trigger, last } => InboxChange::Forget { trigger, last },
    })
}

#[cfg(test)]
mod tests;
