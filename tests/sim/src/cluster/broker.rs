//! What a broker keeps and answers: streams of numbered messages, written by compare-and-set. It knows
//! neither time nor the network, and nothing of what messages mean.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use wasm_fn_cluster::HeaderMap;

/// Headers of JetStream (nats-server, `server/stream.go`).
const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";
const EXPECTED_LAST_OF_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const SEQUENCE: &str = "Nats-Sequence";

/// Its errors, by status, number and text (nats-server, `server/errors.json`).
const NO_STREAM: (u64, u64, &str) = (404, 10059, "stream not found");
const NO_MESSAGE: (u64, u64, &str) = (404, 10037, "no message found");
const WRONG_LAST: (u64, u64, &str) = (400, 10071, "wrong last sequence");

/// Messages in which the broker looks for one with the same id.
const IDS_MAX: usize = 1000;

/// What a broker keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Broker {
    streams: BTreeMap<String, Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    config: Map<String, Value>,
    created: String,
    /// Everything that was ever written and is not lost, in its order.
    kept: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    sequence: u64,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// A message for all who subscribed to its subject.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// What the broker makes of a message.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// Its answer; `None` if nobody answers for the subject.
    pub(super) answer: Option<Bytes>,
    pub(super) told: Option<Told>,
}

impl Stream {
    fn has(&self, subject: &str) -> bool {
        let subjects = self.config.get("subjects").and_then(Value::as_array);
        subjects.is_some_and(|subjects| subjects.iter().any(|known| known.as_str() == Some(subject)))
    }

    fn last(&self) -> u64 {
        self.kept.last().map_or(0, |kept| kept.sequence)
    }

    fn last_of(&self, subject: &str) -> Option<&Kept> {
        self.kept.iter().rev().find(|kept| kept.subject == subject)
    }

    fn info(&self) -> Value {
        let first = self.kept.first().map_or(0, |kept| kept.sequence);
        json!({
            "config": self.config,
            "created": self.created,
            "state": { "first_seq": first, "last_seq": self.last(), "bytes": 0 },
        })
    }

    fn put(&mut self, subject: &str, headers: &HeaderMap, payload: &Bytes) -> (Value, Option<Told>) {
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let id = header(MESSAGE_ID);
        let same = |kept: &&Kept| {
            id.is_some() && kept.headers.get(MESSAGE_ID).map(|id| id.as_str()) == id.as_deref()
        };
        if let Some(same) = self.kept.iter().rev().take(IDS_MAX).find(same) {
            return (json!({ "stream": "s", "seq": same.sequence, "duplicate": true }), None);
        }
        let expects =
            |name: &str, found: u64| header(name).is_some_and(|expected| expected != found.to_string());
        let of_subject = self.last_of(subject).map_or(0, |kept| kept.sequence);
        if expects(EXPECTED_LAST, self.last()) || expects(EXPECTED_LAST_OF_SUBJECT, of_subject) {
            return (error(WRONG_LAST), None);
        }
        let sequence = self.last() + 1;
        let (headers, payload) = (headers.clone(), payload.clone());
        let told = self.republished(subject, sequence, &headers);
        self.kept.push(Kept { sequence, subject: subject.to_owned(), headers, payload });
        (json!({ "stream": "s", "seq": sequence }), told)
    }

    /// What is told of a new message.
    fn republished(&self, subject: &str, sequence: u64, headers: &HeaderMap) -> Option<Told> {
        let republish = self.config.get("republish");
        let dest = match republish {
            Some(republish) => republish.get("dest")?.as_str()?.to_owned(),
            // Whoever subscribed to the subject hears it itself.
            None => subject.to_owned(),
        };
        let mut headers = headers.clone();
        headers.insert(SEQUENCE, sequence.to_string().as_str());
        Some(Told { subject: dest, headers, payload: Bytes::new() })
    }

    fn get(&self, question: &Value) -> Value {
        let by_subject = question.get("last_by_subj").and_then(Value::as_str);
        let found = match (by_subject, question.get("seq").and_then(Value::as_u64)) {
            (Some(subject), _) => self.last_of(subject),
            (None, Some(sequence)) => self.kept.iter().find(|kept| kept.sequence == sequence),
            (None, None) => None,
        };
        let Some(Kept { sequence, subject, headers, payload }) = found else { return error(NO_MESSAGE) };
        let mut text = "NATS/1.0\r\n".to_owned();
        for (name, values) in headers.iter() {
            for value in values {
                text.push_str(&format!("{name}: {}\r\n", value.as_str()));
            }
        }
        json!({ "message": {
            "subject": subject,
            "seq": sequence,
            "data": BASE64_STANDARD.encode(payload),
            "hdrs": BASE64_STANDARD.encode(text),
        } })
    }
}

impl Broker {
    /// Whether a message with `subject` changes what is kept.
    pub(super) fn is_write(&self, subject: &str) -> bool {
        self.streams.values().any(|stream| stream.has(subject))
    }

    /// Takes a message.
    pub(super) fn handle(&mut self, subject: &str, headers: &HeaderMap, payload: &Bytes) -> Handled {
        if let Some(question) = subject.strip_prefix("$JS.API.") {
            let payload = serde_json::from_slice(payload).unwrap_or(Value::Null);
            return Handled { answer: Some(bytes(&self.api(question, &payload))), told: None };
        }
        if let Some(stream) = self.streams.values_mut().find(|stream| stream.has(subject)) {
            let (answer, told) = stream.put(subject, headers, payload);
            return Handled { answer: Some(bytes(&answer)), told };
        }
        let told = Told { subject: subject.to_owned(), headers: headers.clone(), payload: payload.clone() };
        Handled { answer: None, told: Some(told) }
    }

    fn api(&mut self, question: &str, payload: &Value) -> Value {
        let stream = question.rsplit('.').next().unwrap_or_default().to_owned();
        if question.starts_with("STREAM.CREATE.") {
            let Value::Object(config) = payload.clone() else { return error(NO_STREAM) };
            let created = format!("2026-01-01T00:00:{:02}Z", self.streams.len());
            self.streams.insert(stream.clone(), Stream { config, created, kept: Vec::new() });
        }
        let Some(stream) = self.streams.get(&stream) else { return error(NO_STREAM) };
        if question.starts_with("STREAM.MSG.GET.") { stream.get(payload) } else { stream.info() }
    }

    /// The messages of the stream that takes `subject`, in their order.
    pub(super) fn payloads(&self, subject: &str) -> impl Iterator<Item = (u64, &Bytes)> {
        let kept = self.streams.values().find(|stream| stream.has(subject)).map(|stream| &stream.kept);
        kept.into_iter().flatten().map(|kept| (kept.sequence, &kept.payload))
    }

    /// Loses the last `count` messages of the stream that takes `subject`, though it acknowledged them. At
    /// least `least` of them stay.
    pub(super) fn lose(&mut self, subject: &str, count: usize, least: usize) {
        if let Some(stream) = self.streams.values_mut().find(|stream| stream.has(subject)) {
            let stays = stream.kept.len().saturating_sub(count).max(least.min(stream.kept.len()));
            stream.kept.truncate(stays);
        }
    }
}

fn error((code, number, text): (u64, u64, &str)) -> Value {
    json!({ "error": { "code": code, "err_code": number, "description": text } })
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}
