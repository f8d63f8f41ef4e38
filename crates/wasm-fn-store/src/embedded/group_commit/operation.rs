//! What is queued for the writer.

use std::path::PathBuf;

use redb::WriteTransaction;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Urgency;
use crate::StoreError;

/// What the writer is told.
pub(super) enum Message {
    /// Apply this now.
    Operation { urgency: Urgency, operation: Box<dyn Operation> },
    /// Apply this with one of the next commits.
    Deferred(Box<dyn Operation>),
    /// See whether the database still works: a reader met an error.
    Check,
    /// Close the file.
    Release(oneshot::Sender<()>),
    /// Open the file.
    TakeBack(oneshot::Sender<Result<(), StoreError>>),
    /// Open another file in its place.
    Replace(Box<Replacement>),
}

/// A file that is to take the place of another.
pub(super) struct Replacement {
    pub(super) from: PathBuf,
    /// Called when the former file is closed.
    pub(super) then: Box<dyn FnOnce() + Send>,
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// A write whose types the writer does not know.
pub(super) trait Operation: Send {
    /// Writes to `transaction`. May be called again if the transaction is undone.
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error>;

    /// Passes on the result, once the last transaction was committed or has failed.
    fn complete(self: Box<Self>, result: Result<(), StoreError>);
}

/// A write, and who waits for it.
pub(super) struct Pending<T, F, G> {
    apply: F,
    then: G,
    reply: Option<oneshot::Sender<Result<T, StoreError>>>,
    value: Option<T>,
    _room: OwnedSemaphorePermit,
}

impl<T, F, G> Pending<T, F, G> {
    /// The write `apply`, which has `room` in the queue until it is complete.
    pub(super) fn new(
        apply: F,
        then: G,
        reply: Option<oneshot::Sender<Result<T, StoreError>>>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { apply, then, reply, value: None, _room: room }
    }
}

impl<T, F, G> Operation for Pending<T, F, G>
where
    T: Send,
    F: FnMut(&WriteTransaction) -> Result<T, redb::Error> + Send,
    G: FnOnce(&T) + Send,
{
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        self.value = Some((self.apply)(transaction)?);
        Ok(())
    }

    fn complete(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { then, reply, value, .. } = *self;
        let result = result.map(|()| value.expect("an operation is applied before its commit"));
        if let Ok(value) = &result {
            then(value);
        }
        // Whoever waited may be gone.
        let _ = reply.map(|reply| reply.send(result));
    }
}
