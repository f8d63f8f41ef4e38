//! Questions to JetStream, each with a bound for its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{self, ErrorCode, response::Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasm_fn_queue::BrokerError;

use super::{BrokerMessage, ServerConnection};
use crate::ClusterError;

/// The header by which the broker refuses a message unless its stream is at this number.
pub(crate) const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";

/// The same, for the number of the last message with the subject.
pub(crate) const EXPECTED_LAST_OF_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence";

/// The header by which the broker tells a message from the same one sent again.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The header with the name of the batch that a message belongs to: all of its messages are kept, or none.
pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";

/// The header with the number of a message in its batch, from 1.
pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";

/// The header of the last message of a batch.
pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// The header that says for how long the broker keeps a message.
pub(crate) const TIME_TO_LIVE: &str = "Nats-TTL";

/// The error of a message whose subject has another one that is being written.
const SUBJECT_IN_PROGRESS: u64 = 10164;

/// Asks JetStream over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    connection: Arc<dyn ServerConnection>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// None came in time.
    #[error("broker did not answer in time")]
    Silent,
    /// Nobody is there to answer.
    #[error("broker has nobody who answers for JetStream")]
    Nobody,
    /// The question is too large.
    #[error("it has {found} bytes, expected at most {max}, which is the broker's max_payload")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The largest size in bytes.
        max: usize,
    },
    /// The connection is of no use.
    #[error("connection to the broker was lost")]
    Lost,
    /// The answer cannot be read.
    #[error("broker's answer cannot be read: {0}")]
    Answer(String),
}

/// A message that a stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: String,
    pub(crate) payload: Bytes,
}

/// What the broker says of a message that it took.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Taken {
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
}

/// What the broker says of a stream. Its leader answers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    /// Its settings, as the broker writes them.
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
    /// When it was made, which tells it from others of its name.
    pub(crate) created: String,
    pub(crate) state: StreamState,
    /// Which servers have it; `None` if the broker is one server.
    pub(crate) cluster: Option<StreamServers>,
}

/// Which servers have a stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamServers {
    pub(crate) leader: Option<String>,
    #[serde(default)]
    pub(crate) replicas: Vec<StreamReplica>,
}

/// A server that has a stream, and does not lead.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamReplica {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
    #[serde(default)]
    pub(crate) lag: u64,
}

/// Which messages a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamState {
    #[serde(rename = "first_seq")]
    pub(crate) first: u64,
    #[serde(rename = "last_seq")]
    pub(crate) last: u64,
    pub(crate) bytes: u64,
}

/// Subjects that a stream has messages with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubjectsPage {
    /// Some of them, sorted.
    pub(crate) subjects: Vec<String>,
    /// How many there are in all.
    pub(crate) total: u64,
}

#[derive(Deserialize)]
struct SubjectsAnswer {
    #[serde(default)]
    total: u64,
    state: SubjectsState,
}

#[derive(Deserialize)]
struct SubjectsState {
    subjects: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
struct GetAnswer {
    message: GetMessage,
}

#[derive(Deserialize)]
struct GetMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

impl Api {
    pub(crate) fn new(connection: Arc<dyn ServerConnection>) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&self) -> &dyn ServerConnection {
        &*self.connection
    }

    /// The name of the server.
    pub(crate) fn server(&self) -> String {
        self.connection.server()
    }

    /// Bytes of a message at most.
    pub(crate) fn payload_max(&self) -> usize {
        self.connection.payload_max()
    }

    /// Sends `payload` to `subject`, and waits for the answer.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Bytes, AskError> {
        Ok(self.exchange(subject, headers, payload, patience).await?.payload)
    }

    async fn exchange(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> Result<BrokerMessage, AskError> {
        let (found, max) = (payload.len(), self.payload_max());
        if found > max {
            return Err(AskError::TooLarge { found, max });
        }
        self.connection.request(subject, headers, payload, patience).await
    }

    /// Asks the API of JetStream.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        question: &impl Serialize,
        patience: Duration,
    ) -> Result<Result<T, jetstream::Error>, AskError> {
        let payload = serde_json::to_vec(question).map_err(|error| AskError::Answer(error.to_string()))?;
        let answer =
            self.request(&format!("$JS.API.{what}"), HeaderMap::new(), payload.into(), patience).await?;
        read(&answer)
    }

    /// What the broker says of a stream; `None` if there is no such stream.
    pub(crate) async fn stream(
        &self,
        stream: &str,
        patience: Duration,
    ) -> Result<Option<StreamInfo>, ClusterError> {
        match self.ask(&format!("STREAM.INFO.{stream}"), &serde_json::json!({}), patience).await? {
            Ok(info) => Ok(Some(info)),
            Err(error) => match error.error_code() {
                ErrorCode::STREAM_NOT_FOUND => Ok(None),
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                    Err(ClusterError::Broker(BrokerError::NoJetStream))
                }
                _ => {
                    Err(ClusterError::Refused { what: format!("stream {stream}"), reason: error.to_string() })
                }
            },
        }
    }

    /// Publishes `payload`, and waits until the stream has it on disk.
    pub(crate) async fn put(
        &self,
        subject: &str,
        headers: &[(&str, String)],
        payload: Bytes,
        patience: Duration,
    ) -> Result<Result<Taken, jetstream::Error>, AskError> {
        self.put_last(subject, headers, payload, patience).await
    }

    /// The same for the last message of a batch: what the broker says of it is read as `T`.
    pub(crate) async fn put_last<T: DeserializeOwned>(
        &self,
        subject: &str,
        headers: &[(&str, String)],
        payload: Bytes,
        patience: Duration,
    ) -> Result<Result<T, jetstream::Error>, AskError> {
        read(&self.request(subject, header_map(headers), payload, patience).await?)
    }

    /// Publishes `payload` without waiting for the stream. It waits while the connection cannot take more.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        headers: &[(&str, String)],
        payload: Bytes,
    ) -> Result<(), AskError> {
        let (found, max) = (payload.len(), self.payload_max());
        if found > max {
            return Err(AskError::TooLarge { found, max });
        }
        self.connection.publish(subject, header_map(headers), payload).await
    }

    /// The message with this number; `None` if there is none. Its stream's leader answers.
    pub(crate) async fn message(
        &self,
        stream: &str,
        sequence: u64,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        self.get(stream, &serde_json::json!({ "seq": sequence }), patience).await
    }

    /// The last message with this subject; `None` if there is none. Its stream's leader answers.
    pub(crate) async fn last_of(
        &self,
        stream: &str,
        subject: &str,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        self.get(stream, &serde_json::json!({ "last_by_subj": subject }), patience).await
    }

    /// The first message with this subject from `sequence` on; `None` if there is none.
    pub(crate) async fn next_of(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        self.get(stream, &serde_json::json!({ "seq": sequence, "next_by_subj": subject }), patience).await
    }

    /// The last message with this subject, as any server has it that has the stream: it may be older than
    /// what the leader has. `None` if that server has none.
    pub(crate) async fn any_last_of(
        &self,
        stream: &str,
        subject: &str,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        let asked = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        self.any(&asked, Bytes::new(), subject, patience).await
    }

    /// The first message with this subject from `sequence` on, as any server has it that has the stream: one
    /// that lags may not have it yet. `None` if that server has none.
    pub(crate) async fn any_next_of(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        let question = serde_json::json!({ "seq": sequence, "next_by_subj": subject }).to_string();
        self.any(&format!("$JS.API.DIRECT.GET.{stream}"), question.into(), subject, patience).await
    }

    /// Asks any server that has a stream for a message with the subject `subject`.
    async fn any(
        &self,
        asked: &str,
        question: Bytes,
        subject: &str,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        let message = self.exchange(asked, HeaderMap::new(), question, patience).await?;
        match message.status {
            None => {}
            Some(404) => return Ok(None),
            Some(status) => return Err(AskError::Answer(format!("status {status}"))),
        }
        let map = message.headers;
        let sequence = map.get("Nats-Sequence").and_then(|value| value.as_str().parse().ok());
        let sequence = sequence.ok_or_else(|| AskError::Answer("message without a number".to_owned()))?;
        let mut headers = String::new();
        for (name, values) in map.iter() {
            for value in values {
                let _ = writeln!(headers, "{name}: {value}");
            }
        }
        Ok(Some(Kept { sequence, subject: subject.to_owned(), headers, payload: message.payload }))
    }

    /// How many messages with this subject the stream has. Its leader answers.
    pub(crate) async fn count(
        &self,
        stream: &str,
        subject: &str,
        patience: Duration,
    ) -> Result<u64, AskError> {
        let question = serde_json::json!({ "subjects_filter": subject });
        let answer =
            self.ask::<SubjectsAnswer>(&format!("STREAM.INFO.{stream}"), &question, patience).await?;
        let SubjectsAnswer { state, .. } = answer.map_err(|error| AskError::Answer(error.to_string()))?;
        Ok(state.subjects.unwrap_or_default().values().sum())
    }

    /// The subjects within `filter` that the stream has messages with, from the one with the number `offset`
    /// on. Its leader answers.
    pub(crate) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
        offset: u64,
        patience: Duration,
    ) -> Result<SubjectsPage, AskError> {
        let question = serde_json::json!({ "subjects_filter": filter, "offset": offset });
        let answer =
            self.ask::<SubjectsAnswer>(&format!("STREAM.INFO.{stream}"), &question, patience).await?;
        let SubjectsAnswer { total, state } = answer.map_err(|error| AskError::Answer(error.to_string()))?;
        Ok(SubjectsPage { subjects: state.subjects.unwrap_or_default().into_keys().collect(), total })
    }

    /// All subjects within `filter` that the stream has messages with.
    pub(crate) async fn all_subjects(
        &self,
        stream: &str,
        filter: &str,
        patience: Duration,
    ) -> Result<BTreeSet<String>, AskError> {
        let mut subjects = BTreeSet::new();
        loop {
            let before = subjects.len() as u64;
            let page = self.subjects(stream, filter, before, patience).await?;
            subjects.extend(page.subjects);
            // The broker tells a bounded number at a time.
            let found = subjects.len() as u64;
            if found == before || found >= page.total {
                return Ok(subjects);
            }
        }
    }

    /// Removes all messages within `filter`.
    pub(crate) async fn purge(&self, stream: &str, filter: &str, patience: Duration) -> Result<(), AskError> {
        let question = serde_json::json!({ "filter": filter });
        let what = format!("STREAM.PURGE.{stream}");
        let purged = self.ask::<serde_json::Value>(&what, &question, patience).await?;
        purged.map(|_| ()).map_err(|error| AskError::Answer(error.to_string()))
    }

    async fn get(
        &self,
        stream: &str,
        question: &serde_json::Value,
        patience: Duration,
    ) -> Result<Option<Kept>, AskError> {
        let answer: GetAnswer =
            match self.ask(&format!("STREAM.MSG.GET.{stream}"), question, patience).await? {
                Ok(answer) => answer,
                Err(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(None),
                Err(error) => return Err(AskError::Answer(error.to_string())),
            };
        let GetMessage { subject, seq, data, hdrs } = answer.message;
        let decode = |text: &str| {
            BASE64_STANDARD.decode(text).map_err(|error| AskError::Answer(format!("message {seq}: {error}")))
        };
        let headers = String::from_utf8_lossy(&decode(&hdrs)?).into_owned();
        Ok(Some(Kept { sequence: seq, subject, headers, payload: decode(&data)?.into() }))
    }
}

impl Kept {
    /// The value of the header `name`, if the message has it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn header_map(headers: &[(&str, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.as_str());
    }
    map
}

/// Whether the broker refused a message because another one was written, or is being written, before it.
pub(crate) fn is_overtaken(error: &jetstream::Error) -> bool {
    let code = error.error_code();
    code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE || code.0 == SUBJECT_IN_PROGRESS
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<Result<T, jetstream::Error>, AskError> {
    match serde_json::from_slice(answer) {
        Ok(Response::Ok(answer)) => Ok(Ok(answer)),
        Ok(Response::Err { error }) => Ok(Err(error)),
        Err(error) => Err(AskError::Answer(error.to_string())),
    }
}

impl From<AskError> for ClusterError {
    fn from(error: AskError) -> Self {
        Self::Broker(match error {
            AskError::Silent => BrokerError::Silent,
            AskError::Nobody => BrokerError::NoJetStream,
            AskError::Lost => BrokerError::Disconnected,
            AskError::TooLarge { .. } | AskError::Answer(_) => {
                BrokerError::Answer { asked: "a question".to_owned(), reason: error.to_string() }
            }
        })
    }
}
