//! Sends changes to their log, and sends them again until it is known that the log has them.
//!
//! Several messages are on their way at a time. That one comes twice does no harm: what it would do the
//! second time was done by the first.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;
use wasm_fn_store::{ChangeOutcome, InboxError, StoreError};

use super::{
    inner::{Inner, unix_ms},
    message,
    queue::Queued,
    sent::Batch,
};
use crate::link::{AskError, MESSAGE_ID, Session};

/// Messages on their way at a time.
const MESSAGES_MAX: usize = 4;

/// Longest time for an answer, before the same is sent again.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon something is tried again that the broker cannot do yet.
const SOON: Duration = Duration::from_millis(50);

/// How soon something is tried again that the broker has no room for.
const LATER: Duration = Duration::from_secs(1);

/// Sends what is queued, until `stop`.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MESSAGES_MAX));
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place.expect("the semaphore is never closed"), inner.queue.take().await)
        };
        let (place, changes) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        let (id, now_ms) = (format!("{:032x}", rand::random::<u128>()), unix_ms());
        let queued = changes.iter().map(|queued| &queued.change);
        let payload = message::write(&inner.options.process, now_ms, queued);
        inner.sent.put(id.clone(), Batch { payload, now_ms, changes });
        let (inner, stop) = (Arc::clone(&inner), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = inner.send(&id) => {}
            }
            drop(place);
        });
    }
}

impl Inner {
    /// Has the log take the message `id`.
    async fn send(&self, id: &str) {
        let mut after = 0;
        let mut is_sent = false;
        loop {
            let session = self.options.link.session_after(after).await;
            let mut checked = self.checked.subscribe();
            // Nothing is added to a log that may not go on from what this node has.
            let is_checked = tokio::select! {
                _ = session.ended() => false,
                found = checked.wait_for(|checked| *checked == session.number()) => found.is_ok(),
            };
            // It is not there any more once it was applied.
            let Some(payload) = self.sent.payload(id) else { return };
            if !is_checked {
                after = session.number();
                continue;
            }
            match self.try_once(&session, id, payload, &mut is_sent).await {
                Tried::Made(sequence) => {
                    self.news.heard(sequence, Some(id.to_owned()));
                    return;
                }
                Tried::Again(wait) => sleep(wait).await,
                Tried::Lost => after = session.number(),
                Tried::Refused(error) => {
                    self.refuse(id, &error);
                    // What is sent again at once would be refused again.
                    return sleep(LATER).await;
                }
            }
        }
    }

    async fn try_once(&self, session: &Session, id: &str, payload: Bytes, is_sent: &mut bool) -> Tried {
        let headers = [(MESSAGE_ID, id.to_owned())];
        match session.put(&self.options.names.changes, &headers, payload, PATIENCE).await {
            Ok(Ok(taken)) => Tried::Made(taken.sequence),
            // What was sent before may be there all the same.
            Ok(Err(error)) if *is_sent => {
                tracing::debug!(%error, "changes of the inbox are sent again");
                Tried::Again(SOON)
            }
            Ok(Err(error)) => refused(&error, &self.options.names.events),
            Err(AskError::Lost) => {
                *is_sent = true;
                Tried::Lost
            }
            Err(AskError::Nobody) => Tried::Again(SOON),
            Err(error @ AskError::TooLarge { .. }) => Tried::Refused(StoreError::Database {
                path: self.options.names.events.as_ref().into(),
                reason: error.to_string(),
            }),
            Err(AskError::Silent | AskError::Answer(_)) => {
                *is_sent = true;
                Tried::Again(SOON)
            }
        }
    }

    /// The log does not take the message `id`, and does not have it.
    fn refuse(&self, id: &str, error: &StoreError) {
        let Some(batch) = self.sent.take(id) else { return };
        tracing::warn!(%error, "changes of the inbox were not made");
        for queued in batch.changes {
            match queued.reply {
                Some(reply) => {
                    let error = match error {
                        StoreError::DiskFull { path, reason } => {
                            StoreError::DiskFull { path: path.clone(), reason: reason.clone() }
                        }
                        error => StoreError::Database {
                            path: self.options.names.events.as_ref().into(),
                            reason: error.to_string(),
                        },
                    };
                    let _ = reply.send(Err(InboxError::Store(error)));
                }
                // It is to be sent until it leads to something.
                None => self.queue.defer(queued),
            }
        }
    }

    /// Tells everybody what their changes led to.
    pub(super) fn settle(&self, changes: Vec<Queued>, outcomes: Vec<ChangeOutcome>) {
        for (queued, outcome) in changes.into_iter().zip(outcomes) {
            if let Some((receipt, _)) = queued.ends {
                self.flights().remove(&receipt);
                if queued.reply.is_none()
                    && let ChangeOutcome::Finished(Err(error)) = &outcome
                {
                    tracing::debug!(%error, "an acknowledgement came too late");
                }
            }
            // Whoever waited may be gone.
            let _ = queued.reply.map(|reply| reply.send(Ok(outcome)));
        }
    }
}

/// What became of one try.
enum Tried {
    /// The log has it under this number.
    Made(u64),
    /// It is to be tried again after this, over the same connection.
    Again(Duration),
    /// It is to be tried again over another connection.
    Lost,
    /// It is refused, and was not taken before.
    Refused(StoreError),
}

fn refused(error: &jetstream::Error, log: &str) -> Tried {
    let code = error.error_code();
    let full = [
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::STREAM_STORE_FAILED,
    ];
    if full.contains(&code) {
        return Tried::Refused(StoreError::DiskFull { path: log.into(), reason: error.to_string() });
    }
    // Everything else passes: a change of leaders, or a message that is the same as one being written.
    tracing::debug!(%error, "changes of the inbox are sent again");
    Tried::Again(if error.code() == 503 { SOON } else { LATER })
}
