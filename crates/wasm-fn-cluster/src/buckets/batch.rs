//! A draft as messages, of which the broker keeps all or none, and how it takes them.

use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    asking::PATIENCE,
    draft::{Draft, Found, MESSAGES_MAX},
    record::{BucketRecord, Head},
    subjects::Subjects,
    value::{BYTES, DELETED, PART_BYTES, Stored, further_parts},
};
use crate::link::{
    AskError, BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, EXPECTED_LAST_OF_SUBJECT, Session, TIME_TO_LIVE,
    is_overtaken,
};

/// For how long the broker keeps the message of a key that was deleted. The record tells who writes next that
/// something has changed, so nobody depends on it.
const DELETED_FOR: &str = "1s";

/// The error of a broker that has as many batches under way as it can.
const TOO_MANY_BATCHES: u64 = 10210;

/// A message to come.
#[derive(Debug)]
struct Message {
    subject: String,
    headers: Vec<(&'static str, String)>,
    payload: Bytes,
}

/// The messages of a write. The first has the record.
#[derive(Debug)]
pub(super) struct Batch {
    messages: Vec<Message>,
    /// Which message each key has, from 0.
    keys: Vec<(String, Option<u64>)>,
    /// Parts of former values for which the batch has no room. Nobody refers to them.
    left: Vec<Message>,
}

/// What the broker says of a batch.
#[derive(Debug)]
pub(super) enum Sent {
    /// It was kept; the record has this number.
    Kept(u64),
    /// The record is another than the one that it was to follow.
    Overtaken,
    /// It was not kept, and can be sent again.
    Refused(String),
    /// The broker has no room for it.
    Full(String),
    /// It may have been kept.
    Unanswered(String),
    /// It is too large for the broker, or makes no sense to it.
    Impossible(String),
}

#[derive(Deserialize)]
struct Acknowledged {
    #[serde(rename = "seq")]
    last: u64,
    count: u64,
}

fn deleted(subject: String) -> Message {
    let headers = vec![(TIME_TO_LIVE, DELETED_FOR.to_owned()), (DELETED, "1".to_owned())];
    Message { subject, headers, payload: Bytes::new() }
}

impl Batch {
    /// The messages that make `draft` and replace the record of `head` by `record`. `found` has what the keys
    /// have at present.
    pub(super) fn new(
        subjects: &Subjects,
        subject: String,
        head: &Head,
        record: &BucketRecord,
        draft: &Draft<'_>,
        found: &Found,
    ) -> Self {
        let expected = (EXPECTED_LAST_OF_SUBJECT, head.sequence.to_string());
        let mut messages = vec![Message { subject, headers: vec![expected], payload: record.to_bytes() }];
        let (mut keys, mut surplus) = (Vec::new(), Vec::new());
        for (key, value) in draft.changes() {
            let index = messages.len() as u64;
            keys.push((key.to_owned(), value.map(|_| index)));
            let subject = subjects.key(&record.id, key);
            let parts = match value {
                None => {
                    messages.push(deleted(subject));
                    0
                }
                Some(value) => {
                    let bytes = value.len() as u64;
                    let is_whole = value.len() <= PART_BYTES;
                    let headers = if is_whole { vec![] } else { vec![(BYTES, bytes.to_string())] };
                    let payload = value.slice(..value.len().min(PART_BYTES));
                    messages.push(Message { subject, headers, payload });
                    for (number, start) in (PART_BYTES..value.len()).step_by(PART_BYTES).enumerate() {
                        let subject = subjects.part(&record.id, key, number as u64 + 1);
                        let payload = value.slice(start..value.len().min(start + PART_BYTES));
                        messages.push(Message { subject, headers: vec![], payload });
                    }
                    further_parts(bytes)
                }
            };
            if let Some(Some(before)) = found.get(key) {
                let gone = parts + 1..=before.further_parts();
                surplus.extend(
                    gone.map(|part| (subjects.part(&record.id, key, part), before.revision.0 + part)),
                );
            }
        }
        let room = usize::try_from(MESSAGES_MAX).unwrap_or(usize::MAX).saturating_sub(messages.len());
        let left = surplus.split_off(surplus.len().min(room));
        messages.extend(surplus.into_iter().map(|(subject, _)| deleted(subject)));
        let left = left.into_iter().map(|(subject, sequence)| {
            let mut message = deleted(subject);
            message.headers.push((EXPECTED_LAST_OF_SUBJECT, sequence.to_string()));
            message
        });
        Self { messages, keys, left: left.collect() }
    }

    /// Sends it, and waits until the stream has it.
    pub(super) async fn send(&self, session: &Session, deadline: Instant) -> Sent {
        let until = deadline.min(Instant::now() + PATIENCE * 2);
        match timeout_at(until, self.send_all(session)).await {
            Ok(sent) => sent,
            Err(_) => Sent::Unanswered(AskError::Silent.to_string()),
        }
    }

    async fn send_all(&self, session: &Session) -> Sent {
        let id = format!("{:032x}", rand::random::<u128>());
        let last = self.messages.len() - 1;
        for (index, message) in self.messages.iter().enumerate() {
            let mut headers = message.headers.clone();
            headers.push((BATCH_ID, id.clone()));
            headers.push((BATCH_SEQUENCE, (index + 1).to_string()));
            if index < last {
                if let Err(error) = session.publish(&message.subject, &headers, message.payload.clone()).await
                {
                    // Without its last message nothing of it is kept.
                    return refused(&error);
                }
                continue;
            }
            headers.push((BATCH_COMMIT, "1".to_owned()));
            let asked = session.put_last(&message.subject, &headers, message.payload.clone(), PATIENCE).await;
            return match asked {
                Ok(Ok(Acknowledged { last, count })) => Sent::Kept((last + 1).saturating_sub(count)),
                Ok(Err(error)) => judged(&error),
                Err(AskError::Nobody) => Sent::Refused(AskError::Nobody.to_string()),
                Err(error @ AskError::TooLarge { .. }) => Sent::Impossible(error.to_string()),
                Err(error) => Sent::Unanswered(error.to_string()),
            };
        }
        Sent::Impossible("batch has no messages".to_owned())
    }

    /// Removes what the batch had no room to remove. If that fails it only takes room.
    pub(super) async fn tidy(&self, session: &Session) {
        for Message { subject, headers, payload } in &self.left {
            if session.publish(subject, headers, payload.clone()).await.is_err() {
                return;
            }
        }
    }

    /// What the keys have once the record has the number `first`.
    pub(super) fn stored(self, first: u64, draft: &Draft<'_>) -> Vec<(String, Option<Stored>)> {
        let values: Vec<_> = draft.changes().map(|(_, value)| value.cloned()).collect();
        let stored = |((key, index), value): ((String, Option<u64>), Option<Bytes>)| {
            let stored = index.zip(value).map(|(index, value)| Stored {
                revision: wasm_fn_store::KeyRevision(first + index),
                bytes: value.len() as u64,
                first: value.slice(..value.len().min(PART_BYTES)),
            });
            (key, stored)
        };
        self.keys.into_iter().zip(values).map(stored).collect()
    }
}

fn refused(error: &AskError) -> Sent {
    match error {
        AskError::TooLarge { .. } => Sent::Impossible(error.to_string()),
        error => Sent::Refused(error.to_string()),
    }
}

/// What the broker's refusal of a batch means. It says so before it keeps anything.
fn judged(error: &jetstream::Error) -> Sent {
    let full = [
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::STREAM_STORE_FAILED,
    ];
    let again = [ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH.0, TOO_MANY_BATCHES];
    let (code, reason) = (error.error_code(), error.to_string());
    match () {
        () if is_overtaken(error) => Sent::Overtaken,
        () if full.contains(&code) => Sent::Full(reason),
        () if again.contains(&code.0) || error.code() == 503 => Sent::Refused(reason),
        () => Sent::Impossible(reason),
    }
}
