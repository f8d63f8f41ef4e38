//! Questions of one node to another, and their answers, over the broker. Either may be lost: whoever asks
//! waits no longer than it wants to.
//!
//! What is asked and answered is not known here, nor whether it is genuine: anybody who can write to the
//! broker can send a question or an answer.

mod open;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::open::{Open, Part};
use crate::{
    link::{BrokerMessage, Link, Session},
    names::Names,
};

/// Longest question in bytes.
pub const QUESTION_BYTES_MAX: usize = 64 << 10;

/// Longest answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Longest part of an answer: a broker takes messages of 1 MiB by default.
const PART_BYTES_MAX: usize = 256 << 10;

/// Questions that wait to be answered at most. Beyond, the oldest are lost.
const WAITING_MAX: usize = 256;

/// Longest id, of a question or of a process, in bytes.
const ID_BYTES_MAX: usize = 64;

/// The header with the id of a question.
const ID: &str = "Wasm-Fn-Question";

/// The header with the process that asks, and of an answer, with the one that answers.
const FROM: &str = "Wasm-Fn-Instance";

/// The header of a part of an answer: its number from 0, `/`, and how many there are.
const PART: &str = "Wasm-Fn-Part";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Too many questions are open, or too much of their answers is here.
    #[error("too many questions to other nodes are open")]
    Full,
    /// The question is longer than [`QUESTION_BYTES_MAX`].
    #[error("question has {found} bytes, expected at most {QUESTION_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
    /// The broker does not take it.
    #[error("there is no connection to the broker")]
    NotSent,
}

/// Questions between the processes of a cluster.
#[derive(Clone)]
pub struct Questions {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    names: Names,
    instance: String,
    open: Open,
    waiting: Mutex<VecDeque<Question>>,
    came: Notify,
}

/// A question of another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What tells it from others.
    pub id: String,
    /// The process that asks.
    pub from: String,
    /// What is asked.
    pub body: Bytes,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").field("instance", &self.shared.instance).finish_non_exhaustive()
    }
}

impl Questions {
    /// Asks and hears, on the current tokio runtime, until `stop`.
    pub(crate) fn start(link: Link, names: Names, instance: String, stop: CancellationToken) -> Self {
        let (open, waiting, came) = (Open::default(), Mutex::default(), Notify::new());
        let questions = Self { shared: Arc::new(Shared { link, names, instance, open, waiting, came }) };
        let running = questions.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = running.run() => {}
            }
        });
        questions
    }

    /// Asks the process `to`, under an `id` that was never used, and waits for the answer without end.
    ///
    /// # Errors
    /// It was not asked.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the question: an answer that comes later is passed over.
    pub async fn ask(&self, id: &str, to: &str, body: Bytes) -> Result<Bytes, QuestionError> {
        if body.len() > QUESTION_BYTES_MAX {
            return Err(QuestionError::TooLong { found: body.len() });
        }
        let answer = self.shared.open.open(id, to).ok_or(QuestionError::Full)?;
        let subject = self.shared.names.questions_to(to);
        if !self.send(&subject, id, None, body) {
            return Err(QuestionError::NotSent);
        }
        answer.whole().await.ok_or(QuestionError::Full)
    }

    /// Waits for the next question of another process. If nobody keeps up, the oldest are lost.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn hear(&self) -> Question {
        loop {
            let next = self.waiting().pop_front();
            if let Some(question) = next {
                return question;
            }
            self.shared.came.notified().await;
        }
    }

    /// Answers the question `id` of the process `to`. It does not wait. An answer of more than
    /// [`ANSWER_BYTES_MAX`] is not sent, and what the broker does not take is lost.
    pub fn answer(&self, id: &str, to: &str, body: &Bytes) {
        if body.len() > ANSWER_BYTES_MAX {
            tracing::warn!(bytes = body.len(), "answer to another node is too long, and is not sent");
            return;
        }
        let subject = self.shared.names.answers_to(to);
        let count = body.len().div_ceil(PART_BYTES_MAX).max(1);
        for number in 0..count {
            let begin = number * PART_BYTES_MAX;
            let piece = body.slice(begin..body.len().min(begin + PART_BYTES_MAX));
            if !self.send(&subject, id, Some(Part { number, count }), piece) {
                tracing::debug!("answer to another node was not sent");
                return;
            }
        }
    }

    fn send(&self, subject: &str, id: &str, part: Option<Part>, body: Bytes) -> bool {
        let Some(session) = self.shared.link.session() else { return false };
        let mut headers = HeaderMap::new();
        headers.insert(ID, id);
        headers.insert(FROM, self.shared.instance.as_str());
        if let Some(part) = part {
            headers.insert(PART, part.to_string().as_str());
        }
        session.tell(subject, headers, body)
    }

    async fn run(&self) {
        let mut number = 0;
        loop {
            let session = self.shared.link.session_after(number).await;
            number = session.number();
            tokio::select! {
                () = self.attend(&session) => {}
                _ = session.ended() => {}
            }
        }
    }

    async fn attend(&self, session: &Session) {
        let Shared { names, instance, .. } = &*self.shared;
        let (questions, answers) = (names.questions_to(instance), names.answers_to(instance));
        let Ok(mut questions) = session.subscribe(&questions).await else { return };
        let Ok(mut answers) = session.subscribe(&answers).await else { return };
        loop {
            tokio::select! {
                question = questions.next() => match question {
                    Some(question) => self.take_question(question),
                    None => return,
                },
                answer = answers.next() => match answer {
                    Some(answer) => self.take_answer(answer),
                    None => return,
                },
            }
        }
    }

    fn take_question(&self, message: BrokerMessage) {
        let Some((id, from)) = sender(&message) else { return };
        if message.payload.len() > QUESTION_BYTES_MAX {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(Question { id, from, body: message.payload });
        drop(waiting);
        self.shared.came.notify_one();
    }

    fn take_answer(&self, message: BrokerMessage) {
        let Some((id, from)) = sender(&message) else { return };
        let part = message.headers.get(PART).and_then(|part| part.as_str().parse().ok());
        if let Some(part) = part {
            self.shared.open.take(&id, &from, part, message.payload);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Question>> {
        // Nothing panics while holding the lock.
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of the question that a message is or answers, and the process that sent it.
fn sender(message: &BrokerMessage) -> Option<(String, String)> {
    let headers = &message.headers;
    let id = |name: &str| {
        let id = headers.get(name)?.as_str();
        let is_id = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
    };
    Some((id(ID)?, id(FROM)?))
}
