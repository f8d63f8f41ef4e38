//! Asking the broker for what a bucket needs, within a bounded time and only while the node is in touch.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout_at};
use wasm_fn_core::Revision;
use wasm_fn_store::{BucketAddress, BucketConsistency, BucketError, StoreError};

use super::{record::Head, subjects::Subjects, value::Stored};
use crate::{
    Contact, ContactState,
    contact::rfc3339,
    link::{AskError, Kept, Link, Session},
};

/// Longest time for each answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Longest time for a read.
const READ_WAIT: Duration = Duration::from_secs(4);

/// How soon something is tried again that the broker cannot do yet.
const SOON: Duration = Duration::from_millis(50);

/// Bytes of a value that an outline has at most. A number has fewer.
const OUTLINE_BYTES: u64 = 256;

/// How many messages are asked for at once.
const CONCURRENT: usize = 32;

/// The revision of the state that the node works by.
type KnownRevision = Box<dyn Fn() -> Revision + Send + Sync>;

/// Asks the broker.
pub(super) struct Asking {
    pub(super) link: Link,
    pub(super) stream: Arc<str>,
    pub(super) subjects: Subjects,
    /// `None` for those who have no part in the cluster.
    contact: Option<Contact>,
    revision: OnceLock<KnownRevision>,
}

/// Why the broker did not do it. Nothing of a write is kept, unless it is said.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The node is out of touch.
    OutOfTouch { since: String, reason: String },
    /// There was no answer in time.
    Unanswered(String),
    /// Whether a write was made is not known.
    Unknown(String),
    /// The broker has no room.
    Full(String),
    /// Its answer makes no sense.
    Broken(String),
    /// The stage of the bucket is gone.
    Gone,
}

impl Trouble {
    pub(super) fn to_error(&self, stream: &str) -> BucketError {
        let reason = |reason: &String| reason.clone();
        BucketError::Store(match self {
            Self::OutOfTouch { since, reason } => {
                StoreError::OutOfTouch { since: since.clone(), reason: reason.clone() }
            }
            Self::Unanswered(why) => StoreError::Unanswered { reason: reason(why) },
            Self::Unknown(why) => StoreError::Unknown { reason: reason(why) },
            Self::Full(why) => StoreError::DiskFull { path: stream.into(), reason: reason(why) },
            Self::Broken(why) => StoreError::Database { path: stream.into(), reason: reason(why) },
            Self::Gone => return BucketError::Deleted,
        })
    }
}

impl Asking {
    pub(super) fn new(link: Link, stream: Arc<str>, prefix: &Arc<str>, contact: Option<Contact>) -> Self {
        let subjects = Subjects::new(prefix);
        Self { link, stream, subjects, contact, revision: OnceLock::new() }
    }

    /// Has `revision` say which revision of the state the node works by. Only the first call counts.
    pub(super) fn work_by(&self, revision: impl Fn() -> Revision + Send + Sync + 'static) {
        let _ = self.revision.set(Box::new(revision));
    }

    /// The revision of the state that the node works by; 0 if it works by none.
    pub(super) fn revision(&self) -> Revision {
        self.revision.get().map_or(Revision(0), |revision| revision())
    }

    /// Whether the node may decide by what the broker answers: a leader that others have deposed does not
    /// know it yet.
    pub(super) fn check_touch(&self) -> Result<(), Trouble> {
        match self.contact.as_ref().map(Contact::state) {
            None | Some(ContactState::In) => Ok(()),
            Some(ContactState::Out { since_ms, reason }) => {
                Err(Trouble::OutOfTouch { since: rfc3339(since_ms), reason })
            }
        }
    }

    /// Asks until there is an answer, or the time of a read is over.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(Session) -> F + Send) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, AskError>> + Send,
    {
        let deadline = Instant::now() + READ_WAIT;
        let (mut after, mut reason) = (0, self.link.reason());
        loop {
            let Ok(session) = timeout_at(deadline, self.link.session_after(after)).await else {
                return Err(Trouble::Unanswered(reason));
            };
            let number = session.number();
            match timeout_at(deadline, ask(session)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error @ AskError::Lost)) => (after, reason) = (number, error.to_string()),
                Ok(Err(error @ (AskError::Silent | AskError::Nobody))) => {
                    reason = error.to_string();
                    sleep(SOON).await;
                }
                Ok(Err(error)) => return Err(Trouble::Broken(error.to_string())),
                Err(_) => return Err(Trouble::Unanswered(AskError::Silent.to_string())),
            }
        }
    }

    async fn last_of(&self, subject: &str, consistency: BucketConsistency) -> Result<Option<Kept>, Trouble> {
        let stream = &*self.stream;
        match consistency {
            BucketConsistency::Strong => {
                self.check_touch()?;
                self.ask(|session| async move { session.last_of(stream, subject, PATIENCE).await }).await
            }
            BucketConsistency::Eventual => {
                self.ask(|session| async move { session.any_last_of(stream, subject, PATIENCE).await }).await
            }
        }
    }

    /// The record of a bucket.
    pub(super) async fn head(
        &self,
        address: &BucketAddress,
        consistency: BucketConsistency,
    ) -> Result<Head, Trouble> {
        match self.last_of(&self.subjects.record(address), consistency).await? {
            None => Ok(Head { sequence: 0, record: None }),
            Some(kept) => Head::read(kept.sequence, &kept.payload)
                .map_err(|error| Trouble::Broken(format!("record of the bucket: {error}"))),
        }
    }

    /// The value of a key of the bucket with this id.
    pub(super) async fn stored(
        &self,
        id: &str,
        key: &str,
        consistency: BucketConsistency,
    ) -> Result<Option<Stored>, Trouble> {
        match self.last_of(&self.subjects.key(id, key), consistency).await? {
            None => Ok(None),
            Some(kept) => Stored::read(kept).map_err(Trouble::Broken),
        }
    }

    /// The values of keys, in their order; `None` if their first parts have more than `bytes_max` together.
    /// They are not of one moment.
    pub(super) async fn stored_of(
        &self,
        id: &str,
        keys: &[&str],
        consistency: BucketConsistency,
        bytes_max: u64,
    ) -> Result<Option<Vec<Option<Stored>>>, Trouble> {
        let asked: Vec<_> = keys.iter().map(|key| self.stored(id, key, consistency)).collect();
        let mut asked = pin!(stream::iter(asked).buffered(CONCURRENT));
        let (mut stored, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        while let Some(found) = asked.try_next().await? {
            bytes += found.as_ref().map_or(0, |found| found.first.len() as u64);
            if bytes > bytes_max {
                return Ok(None);
            }
            stored.push(found);
        }
        Ok(Some(stored))
    }

    /// What keys have, in their order, without the values, unless these are small. They are not of one
    /// moment.
    pub(super) async fn outlines_of(&self, id: &str, keys: &[&str]) -> Result<Vec<Option<Stored>>, Trouble> {
        let outline = |key| async move {
            let stored = self.stored(id, key, BucketConsistency::Strong).await?;
            Ok(stored.map(|mut stored| {
                if stored.bytes > OUTLINE_BYTES {
                    stored.first = Bytes::new();
                }
                stored
            }))
        };
        let outlines: Vec<_> = keys.iter().map(|key| outline(*key)).collect();
        stream::iter(outlines).buffered(CONCURRENT).try_collect().await
    }

    /// The whole value that `stored` begins; `None` if another one has taken its place meanwhile.
    pub(super) async fn whole(&self, stored: &Stored) -> Result<Option<Bytes>, Trouble> {
        if let Some(whole) = stored.whole() {
            return Ok(Some(whole.clone()));
        }
        let name = &*self.stream;
        let first = stored.revision.0;
        let part = |sequence| {
            self.ask(move |session| async move { session.message(name, sequence, PATIENCE).await })
        };
        let parts: Vec<_> = (1..=stored.further_parts()).map(|index| part(first + index)).collect();
        let parts: Vec<Option<Kept>> = stream::iter(parts).buffered(CONCURRENT).try_collect().await?;
        let mut value = Vec::with_capacity(usize::try_from(stored.bytes).unwrap_or_default().min(8 << 20));
        value.extend_from_slice(&stored.first);
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            value.extend_from_slice(&part.payload);
        }
        if value.len() as u64 != stored.bytes {
            let (found, expected) = (value.len(), stored.bytes);
            return Err(Trouble::Broken(format!("value has {found} bytes, expected {expected}")));
        }
        Ok(Some(value.into()))
    }

    /// The subjects within `filter`, from the one with the number `offset` on, and how many there are.
    pub(super) async fn subjects_of(
        &self,
        filter: &str,
        offset: u64,
    ) -> Result<crate::link::SubjectsPage, Trouble> {
        let stream = &*self.stream;
        self.check_touch()?;
        self.ask(|session| async move { session.subjects(stream, filter, offset, PATIENCE).await }).await
    }
}
