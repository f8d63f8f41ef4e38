//! Makes a commit: the log takes it only after the one before, and tells it from the same one sent again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use wasm_fn_core::Revision;
use wasm_fn_store::{Commit, StoreError};

use super::{Fault, Inner};
use crate::{
    ContactState, Replica,
    contact::{patience, rfc3339},
    link::{AskError, EXPECTED_LAST, MESSAGE_ID, Session, is_overtaken},
    log,
};

/// How soon something is tried again that the broker cannot do yet.
const SOON: Duration = Duration::from_millis(50);

/// The error of a message that is the same as one that the broker is just writing.
const DUPLICATE_IN_PROGRESS: u64 = 10158;

/// A commit on its way.
struct Sending {
    revision: Revision,
    /// What tells the message from all others.
    id: String,
    payload: Bytes,
    /// Whether the broker may have it.
    is_sent: bool,
}

/// What became of one try.
enum Tried {
    /// The log has it.
    Made,
    /// It is to be tried again over the same connection.
    Again(Option<String>),
    /// It is to be tried again over another connection.
    Lost(String),
}

impl<R: Replica> Inner<R> {
    pub(super) async fn commit(self: &Arc<Self>, commit: Commit) -> Result<(), StoreError> {
        let revision = commit.revision;
        let (found, fault, is_released) = {
            let head = self.head.borrow();
            (head.revision, head.fault.as_ref().map(Fault::to_error), head.is_released)
        };
        if is_released {
            // It says that it is.
            self.options.replica.load().await?;
        }
        if let Some(error) = fault {
            return Err(error);
        }
        if found.next() != revision {
            return Err(StoreError::Conflict { expected: Revision(revision.0.saturating_sub(1)), found });
        }
        if let ContactState::Out { since_ms, reason } = self.options.contact.state() {
            return Err(StoreError::OutOfTouch { since: rfc3339(since_ms), reason });
        }
        let sending = Sending {
            revision,
            id: format!("{:032x}", rand::random::<u128>()),
            payload: log::write(&commit),
            is_sent: false,
        };
        self.send(sending).await?;
        match self.apply(vec![commit]).await {
            Ok(()) => Ok(()),
            Err(Fault::Replica(error)) => {
                let reason = format!("the cluster has it, and this node cannot keep it: {error}");
                self.fail(Fault::Replica(error));
                Err(StoreError::Unknown { reason })
            }
            Err(fault) => {
                let error = fault.to_error();
                self.fail(fault);
                Err(error)
            }
        }
    }

    /// Has the log take it, or finds out that it did.
    async fn send(&self, mut sending: Sending) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.options.lease;
        let (mut after, mut reason) = (0, self.options.link.reason());
        loop {
            let Ok(session) = timeout_at(deadline, self.options.link.session_after(after)).await else {
                return Err(self.gave_up(&sending, reason));
            };
            // Nothing is added to a log that may not go on from what this node has.
            let mut checked = self.checked.subscribe();
            let is_checked = async {
                tokio::select! {
                    biased;
                    _ = session.ended() => false,
                    found = checked.wait_for(|checked| *checked == session.number()) => found.is_ok(),
                }
            };
            match timeout_at(deadline, is_checked).await {
                Ok(true) => {}
                Ok(false) => {
                    after = session.number();
                    continue;
                }
                Err(_) => return Err(self.gave_up(&sending, self.options.contact.reason())),
            }
            let tried = match timeout_at(deadline, self.try_once(&session, &mut sending)).await {
                Ok(tried) => tried?,
                Err(_) => return Err(self.gave_up(&sending, AskError::Silent.to_string())),
            };
            match tried {
                Tried::Made => return Ok(()),
                Tried::Again(why) => {
                    reason = why.unwrap_or(reason);
                    sleep(SOON).await;
                }
                Tried::Lost(why) => (after, reason) = (session.number(), why),
            }
        }
    }

    async fn try_once(&self, session: &Session, sending: &mut Sending) -> Result<Tried, StoreError> {
        let revision = sending.revision;
        let headers = [(EXPECTED_LAST, (revision.0 - 1).to_string()), (MESSAGE_ID, sending.id.clone())];
        let was_sent = std::mem::replace(&mut sending.is_sent, true);
        let subject = &self.options.names.commits;
        match session.put(subject, &headers, sending.payload.clone(), patience(self.options.lease)).await {
            Ok(Ok(taken)) if taken.sequence == revision.0 => Ok(Tried::Made),
            Ok(Ok(taken)) => {
                let reason = format!("log took the commit of that revision as {}", taken.sequence);
                let fault = Fault::Diverged { revision, reason };
                let error = fault.to_error();
                self.fail(fault);
                Err(error)
            }
            Ok(Err(error)) => {
                // The broker says so before it writes anything.
                sending.is_sent = was_sent;
                self.refused(session, sending, &error).await
            }
            Err(AskError::Nobody) => {
                sending.is_sent = was_sent;
                Ok(Tried::Again(Some(AskError::Nobody.to_string())))
            }
            Err(error @ AskError::TooLarge { .. }) => {
                Err(self.broken(format!("change of {} is too large: {error}", sending.revision)))
            }
            Err(error @ AskError::Lost) => Ok(Tried::Lost(error.to_string())),
            Err(error @ (AskError::Silent | AskError::Answer(_))) => {
                Ok(Tried::Again(Some(error.to_string())))
            }
        }
    }

    async fn refused(
        &self,
        session: &Session,
        sending: &Sending,
        error: &jetstream::Error,
    ) -> Result<Tried, StoreError> {
        let code = error.error_code();
        if is_overtaken(error) {
            return self.whose(session, sending).await;
        }
        if code.0 == DUPLICATE_IN_PROGRESS {
            return Ok(Tried::Again(None));
        }
        let full = [
            ErrorCode::INSUFFICIENT_RESOURCES,
            ErrorCode::STORAGE_RESOURCES_EXCEEDED,
            ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
            ErrorCode::STREAM_STORE_FAILED,
        ];
        if sending.is_sent {
            // What was sent before may be there all the same.
            return Ok(Tried::Again(Some(error.to_string())));
        }
        if full.contains(&code) {
            let path = self.options.names.log.as_ref().into();
            return Err(StoreError::DiskFull { path, reason: error.to_string() });
        }
        if error.code() == 503 {
            return Ok(Tried::Again(Some(error.to_string())));
        }
        Err(self.broken(error.to_string()))
    }

    /// The log is at another revision: finds out whether it has this commit.
    async fn whose(&self, session: &Session, sending: &Sending) -> Result<Tried, StoreError> {
        let revision = sending.revision;
        // Whatever it is, the follower has to take it.
        self.nudge.notify_one();
        match session.message(&self.options.names.log, revision.0, patience(self.options.lease)).await {
            Ok(Some(kept)) if kept.header(MESSAGE_ID) == Some(&sending.id) => Ok(Tried::Made),
            Ok(Some(_)) => Err(StoreError::Conflict { expected: Revision(revision.0 - 1), found: revision }),
            // Somebody's commit is being written, or was given up.
            Ok(None) => Ok(Tried::Again(Some(format!("log does not take revision {revision} yet")))),
            Err(AskError::Lost) => Ok(Tried::Lost(AskError::Lost.to_string())),
            Err(error) => Ok(Tried::Again(Some(error.to_string()))),
        }
    }

    fn gave_up(&self, sending: &Sending, reason: String) -> StoreError {
        self.nudge.notify_one();
        if sending.is_sent {
            return StoreError::Unknown { reason };
        }
        match self.options.contact.state() {
            ContactState::Out { since_ms, .. } => StoreError::OutOfTouch { since: rfc3339(since_ms), reason },
            ContactState::In => StoreError::OutOfTouch { since: rfc3339_now(), reason },
        }
    }

    fn broken(&self, reason: String) -> StoreError {
        StoreError::Database { path: self.options.names.log.as_ref().into(), reason }
    }
}

#[expect(clippy::disallowed_methods, reason = "people are told when it was; nothing is decided by it")]
fn rfc3339_now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
