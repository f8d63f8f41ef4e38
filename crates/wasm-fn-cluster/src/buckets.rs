//! Buckets of keys and values that all nodes of a cluster share: a stream of the broker has them.
//!
//! Each key has a subject, and its revision is the number of its last message, which no other ever has. Each
//! bucket has a record of what it holds. A write is one batch of messages that replaces the record it was
//! planned from, with all that it changes, or is not kept: so quotas are exact, and several keys are written
//! as one, whichever nodes write. Reads are answered by the leader of the stream, and only while the node is
//! in touch. For a bucket that is read *eventually*, any server of the broker answers instead.

mod asking;
mod batch;
mod draft;
mod listing;
mod record;
mod subjects;
mod value;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_store::{
    Bucket, BucketAccess, BucketAddress, BucketConsistency, BucketError, BucketQuota, BucketUsage, Buckets,
    Delta, KeyPage, KeyRevision, KeyValue, Swap,
};

use self::{
    asking::{Asking, PATIENCE, Trouble},
    draft::{Change, Told},
    value::Stored,
    writer::{Done, Operation, Writer},
};
use crate::{
    Contact,
    link::{AskError, EXPECTED_LAST_OF_SUBJECT, Link, TIME_TO_LIVE, is_overtaken},
    names::Names,
};

/// Keys of one call that writes: with the further parts of their values they are a batch.
const KEYS_WRITTEN_MAX: usize = 800;

/// Operations that wait for one bucket's writer. Others wait for their turn.
const WAITING_MAX: usize = 256;

/// Bytes of values on their way to the broker, of all buckets together. Others wait for their turn.
const BYTES_IN_FLIGHT: usize = 64 << 20;

/// Longest time for a read of several messages.
const READ_WAIT: Duration = Duration::from_secs(8);

/// How often something is read again that changes while it is read.
const TRIES_MAX: usize = 20;

/// For how long a bucket that was deleted is remembered, so that a node that does not know it yet does not
/// make it again. A node that is longer behind is out of touch, and writes nothing.
const GONE_FOR: &str = "1h";

/// The buckets that the nodes of a cluster share. Clones are the same.
#[derive(Clone)]
pub struct ClusterBuckets {
    shared: Arc<Shared>,
}

/// A bucket of [`ClusterBuckets`].
#[derive(Clone)]
pub struct ClusterBucket {
    shared: Arc<Shared>,
    address: Arc<BucketAddress>,
    quota: BucketQuota,
    consistency: BucketConsistency,
    /// The id of the bucket, once it is known. Whoever can have the bucket open when it is deleted is refused
    /// by then.
    id: Arc<Mutex<Option<Arc<str>>>>,
}

struct Shared {
    asking: Arc<Asking>,
    writers: Mutex<HashMap<BucketAddress, mpsc::Sender<Operation>>>,
    bytes: Semaphore,
}

impl fmt::Debug for ClusterBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuckets").field("stream", &self.shared.asking.stream).finish_non_exhaustive()
    }
}

impl ClusterBuckets {
    /// Buckets of the cluster over `link`. If there is a `contact`, they can be used only while that is in
    /// touch.
    pub(crate) fn new(link: Link, names: &Names, contact: Option<Contact>) -> Self {
        let asking = Asking::new(link, Arc::clone(&names.values), &names.kept, contact);
        let bytes = Semaphore::new(BYTES_IN_FLIGHT);
        Self { shared: Arc::new(Shared { asking: Arc::new(asking), writers: Mutex::default(), bytes }) }
    }

    /// Has `revision` say which revision of the state the node works by, so that it makes no bucket of a
    /// stage that others know to be gone. Only the first call counts; before it, the node works by none.
    pub fn work_by(&self, revision: impl Fn() -> Revision + Send + Sync + 'static) {
        self.shared.asking.work_by(revision);
    }

    async fn delete(&self, address: &BucketAddress, gone: Revision) -> Result<bool, Trouble> {
        let asking = &*self.shared.asking;
        for _ in 0..TRIES_MAX {
            let head = asking.head(address, BucketConsistency::Strong).await?;
            let Some(record) = head.deleted(gone) else {
                // Another node may have been interrupted in this.
                if let Some(record) = head.record.as_ref().filter(|_| head.live().is_none()) {
                    self.remove_contents(&record.id).await?;
                }
                return Ok(false);
            };
            let headers =
                [(EXPECTED_LAST_OF_SUBJECT, head.sequence.to_string()), (TIME_TO_LIVE, GONE_FOR.to_owned())];
            let (subject, payload) = (&*asking.subjects.record(address), record.to_bytes());
            let (headers, payload) = (&headers, &payload);
            let put = asking.ask(|session| async move {
                match session.put(subject, headers, payload.clone(), PATIENCE).await? {
                    Ok(_) => Ok(true),
                    Err(error) if is_overtaken(&error) => Ok(false),
                    Err(error) => Err(AskError::Answer(error.to_string())),
                }
            });
            if put.await? {
                self.remove_contents(&record.id).await?;
                return Ok(true);
            }
            sleep(Duration::from_millis(10).mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Err(Trouble::Unanswered("bucket that is to be deleted changes all the time".to_owned()))
    }

    async fn remove_contents(&self, id: &str) -> Result<(), Trouble> {
        let asking = &*self.shared.asking;
        for filter in &asking.subjects.contents(id) {
            let stream = &*asking.stream;
            asking.ask(|session| async move { session.purge(stream, filter, PATIENCE).await }).await?;
        }
        Ok(())
    }

    fn error(&self, trouble: &Trouble) -> BucketError {
        trouble.to_error(&self.shared.asking.stream)
    }
}

impl Buckets for ClusterBuckets {
    type Bucket = ClusterBucket;

    /// Every write is committed: a majority of the broker's servers has it on disk when it returns.
    fn open(
        &self,
        address: BucketAddress,
        quota: BucketQuota,
        access: BucketAccess,
    ) -> Result<ClusterBucket, BucketError> {
        let (found, limit) = (address.name.len(), Self::NAME_BYTES_MAX);
        if found > limit {
            return Err(BucketError::NameTooLong { found, limit });
        }
        Ok(ClusterBucket {
            shared: Arc::clone(&self.shared),
            address: Arc::new(address),
            quota,
            consistency: access.consistency,
            id: Arc::default(),
        })
    }

    async fn buckets(
        &self,
        function: Option<&FunctionName>,
    ) -> Result<Vec<(BucketAddress, BucketUsage)>, BucketError> {
        self.shared.asking.buckets(function).await.map_err(|trouble| self.error(&trouble))
    }

    async fn delete_bucket(&self, address: BucketAddress, gone: Revision) -> Result<bool, BucketError> {
        self.delete(&address, gone).await.map_err(|trouble| self.error(&trouble))
    }
}

impl Shared {
    fn writers(&self) -> MutexGuard<'_, HashMap<BucketAddress, mpsc::Sender<Operation>>> {
        // Nothing panics while holding the lock.
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer of the bucket at `address`, other than `ended`.
    fn writer(
        &self,
        address: &BucketAddress,
        ended: Option<&mpsc::Sender<Operation>>,
    ) -> mpsc::Sender<Operation> {
        let mut writers = self.writers();
        if let Some(writer) = writers.get(address)
            && ended.is_none_or(|ended| !writer.same_channel(ended))
        {
            return writer.clone();
        }
        writers.retain(|_, writer| !writer.is_closed());
        let (sender, asked) = mpsc::channel(WAITING_MAX);
        tokio::spawn(Writer::new(Arc::clone(&self.asking), address.clone()).run(asked));
        writers.insert(address.clone(), sender.clone());
        sender
    }
}

fn key_fits(key: &str) -> Result<(), BucketError> {
    let (found, limit) = (key.len(), ClusterBucket::KEY_BYTES_MAX);
    if found > limit { Err(BucketError::KeyTooLong { found, limit }) } else { Ok(()) }
}

impl ClusterBucket {
    /// What `read` gives, if that is within a bounded time.
    async fn bounded<T>(&self, read: impl Future<Output = Result<T, Trouble>>) -> Result<T, BucketError> {
        let silent = |_| Err(Trouble::Unanswered(AskError::Silent.to_string()));
        let read = timeout(READ_WAIT, read).await.unwrap_or_else(silent);
        read.map_err(|trouble| self.error(&trouble))
    }

    fn error(&self, trouble: &Trouble) -> BucketError {
        trouble.to_error(&self.shared.asking.stream)
    }

    fn value_fits(&self, value: &[u8]) -> Result<(), BucketError> {
        let (found, limit) = (value.len() as u64, self.quota.value_bytes_max);
        if found > limit { Err(BucketError::ValueTooLarge { found, limit }) } else { Ok(()) }
    }

    /// The id of the bucket; `None` if it is not there.
    async fn id(&self) -> Result<Option<Arc<str>>, Trouble> {
        let known = || self.id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known().clone() {
            return Ok(Some(id));
        }
        let head = self.shared.asking.head(&self.address, BucketConsistency::Strong).await?;
        let id = head.live().map(|record| Arc::from(record.id.as_str()));
        known().clone_from(&id);
        Ok(id)
    }

    async fn stored(&self, key: &str) -> Result<Option<Stored>, Trouble> {
        match self.id().await? {
            Some(id) => self.shared.asking.stored(&id, key, self.consistency).await,
            None => Ok(None),
        }
    }

    async fn read(&self, key: &str) -> Result<Option<KeyValue>, Trouble> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.stored(key).await? else { return Ok(None) };
            if let Some(value) = self.shared.asking.whole(&stored).await? {
                return Ok(Some(KeyValue { revision: stored.revision, value }));
            }
        }
        Err(Trouble::Unanswered("value changes all the time".to_owned()))
    }

    /// The values of `keys` as they are at one moment: when nothing changes between two readings, all were
    /// there at once. `None` if they are too large together.
    async fn read_many(&self, keys: &[String]) -> Result<Option<Vec<Option<KeyValue>>>, Trouble> {
        let Some(id) = self.id().await? else { return Ok(Some(vec![None; keys.len()])) };
        let asking = &*self.shared.asking;
        let names: Vec<_> = keys.iter().map(String::as_str).collect();
        let bytes_max = if keys.len() > 1 { Self::CALL_BYTES_MAX } else { u64::MAX };
        let read = || asking.stored_of(&id, &names, self.consistency, bytes_max);
        let Some(mut stored) = read().await? else { return Ok(None) };
        for _ in 0..TRIES_MAX {
            if names.len() > 1 {
                let Some(again) = read().await? else { return Ok(None) };
                if again != stored {
                    stored = again;
                    continue;
                }
            }
            let bytes: u64 = stored.iter().flatten().map(|stored| stored.bytes).sum();
            if bytes > bytes_max {
                return Ok(None);
            }
            let (mut values, mut is_whole) = (Vec::with_capacity(keys.len()), true);
            for stored in &stored {
                let Some(stored) = stored else {
                    values.push(None);
                    continue;
                };
                match asking.whole(stored).await? {
                    Some(value) => values.push(Some(KeyValue { revision: stored.revision, value })),
                    None => {
                        is_whole = false;
                        break;
                    }
                }
            }
            if is_whole {
                return Ok(Some(values));
            }
            let Some(again) = read().await? else { return Ok(None) };
            stored = again;
        }
        Err(Trouble::Unanswered("values change all the time".to_owned()))
    }

    /// Has the writer of the bucket make `change`, which has `bytes` of values.
    async fn write(&self, change: Change, bytes: usize) -> Result<Done, BucketError> {
        let permits = u32::try_from(bytes.min(BYTES_IN_FLIGHT)).unwrap_or(u32::MAX);
        let ended = || self.error(&Trouble::Unanswered("node ends".to_owned()));
        let _room = self.shared.bytes.acquire_many(permits).await.map_err(|_| ended())?;
        let (reply, answer) = oneshot::channel();
        let mut operation = Operation { change, quota: self.quota, reply };
        let mut writer = self.shared.writer(&self.address, None);
        while let Err(mpsc::error::SendError(refused)) = writer.send(operation).await {
            operation = refused;
            writer = self.shared.writer(&self.address, Some(&writer));
        }
        answer.await.map_err(|_| ended())?
    }

    async fn change(&self, changes: BTreeMap<String, Option<Bytes>>) -> Result<Done, BucketError> {
        let bytes = changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        let limit = Self::CALL_BYTES_MAX;
        if changes.len() > 1 && bytes as u64 > limit {
            return Err(BucketError::TooManyBytes { limit });
        }
        self.write(Change::Set(changes), bytes).await
    }
}

fn keys_fit<'k>(keys: impl ExactSizeIterator<Item = &'k String>, limit: usize) -> Result<(), BucketError> {
    let found = keys.len();
    if found > limit {
        return Err(BucketError::TooManyKeys { found, limit });
    }
    keys.into_iter().try_for_each(|key| key_fits(key))
}

fn known(done: &Done) -> u64 {
    match done.told {
        Told::Known(known) => known,
        Told::Sum(_) | Told::Swapped | Told::Unexpected(_) => 0,
    }
}

impl Bucket for ClusterBucket {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, BucketError> {
        key_fits(key)?;
        self.bounded(self.read(key)).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>, BucketError> {
        keys_fit(keys.iter(), Self::KEYS_MAX)?;
        let found = self.bounded(self.read_many(keys)).await?;
        found.ok_or(BucketError::TooManyBytes { limit: Self::CALL_BYTES_MAX })
    }

    async fn exists(&self, key: &str) -> Result<bool, BucketError> {
        key_fits(key)?;
        Ok(self.bounded(self.stored(key)).await?.is_some())
    }

    async fn list_keys(&self, cursor: Option<u64>, limit: usize) -> Result<KeyPage, BucketError> {
        self.bounded(self.shared.asking.list_keys(&self.address, cursor.unwrap_or(0), limit)).await
    }

    async fn find_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BucketError> {
        self.bounded(self.shared.asking.find_keys(&self.address, prefix, after, limit)).await
    }

    async fn set(&self, key: String, value: Bytes) -> Result<KeyRevision, BucketError> {
        key_fits(&key)?;
        self.value_fits(&value)?;
        let done = self.change([(key, Some(value))].into()).await?;
        Ok(done.revision.expect("a value that was set has a revision"))
    }

    async fn set_many(&self, values: Vec<(String, Bytes)>) -> Result<(), BucketError> {
        keys_fit(values.iter().map(|(key, _)| key), KEYS_WRITTEN_MAX)?;
        values.iter().try_for_each(|(_, value)| self.value_fits(value))?;
        // Of a key that comes twice, the last one counts.
        self.change(values.into_iter().map(|(key, value)| (key, Some(value))).collect()).await?;
        Ok(())
    }

    async fn delete(&self, key: String) -> Result<bool, BucketError> {
        key_fits(&key)?;
        Ok(known(&self.change([(key, None)].into()).await?) == 1)
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<u64, BucketError> {
        keys_fit(keys.iter(), KEYS_WRITTEN_MAX)?;
        Ok(known(&self.change(keys.into_iter().map(|key| (key, None)).collect()).await?))
    }

    async fn increment(&self, key: String, delta: Delta) -> Result<i128, BucketError> {
        key_fits(&key)?;
        let done = self.write(Change::Increment(key, delta), 0).await?;
        match done.told {
            Told::Sum(sum) => Ok(sum),
            told => unreachable!("an increment has a sum, and not {told:?}"),
        }
    }

    async fn compare_and_swap(
        &self,
        key: String,
        expected: Option<KeyRevision>,
        value: Bytes,
    ) -> Result<Swap, BucketError> {
        key_fits(&key)?;
        self.value_fits(&value)?;
        let bytes = value.len();
        let Done { told, revision } = self.write(Change::Swap { key, expected, value }, bytes).await?;
        match told {
            Told::Unexpected(found) => Ok(Swap::Unexpected(found)),
            _ => Ok(Swap::Swapped(revision.expect("a value that was swapped has a revision"))),
        }
    }

    async fn usage(&self) -> Result<BucketUsage, BucketError> {
        let head = self.bounded(self.shared.asking.head(&self.address, BucketConsistency::Strong)).await;
        Ok(head?.usage())
    }
}
