//! The buckets of a node, on its own disk or shared with a cluster, and the runtime's [`BucketStore`] of
//! them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use wasm_fn_cluster::ClusterBuckets;
use wasm_fn_control::state::State;
use wasm_fn_core::{BucketConfig, BucketName, FunctionName, Revision, StageName};
use wasm_fn_runtime::{
    BucketFailure, BucketFuture, BucketKeys, BucketStore, BucketSwap, BucketValue, GuestBucket,
};
use wasm_fn_store::{
    Bucket, BucketError, BucketOperation as Kind, Buckets, Delta, EmbeddedBuckets, FunctionBucket,
    FunctionBuckets, KeyRevision, KeyValue, StoreError, Swap, ValueOperations,
};

use super::host::NodeControl;

/// Keys of a page.
const PAGE_KEYS_MAX: usize = 1000;

/// How long the broker of a cluster takes at most while all is well.
const BROKER_WAIT: Duration = Duration::from_secs(1);

/// The buckets of a node.
#[derive(Clone)]
pub(super) enum NodeBuckets {
    /// The node is alone.
    Alone(Arc<FunctionBuckets<EmbeddedBuckets>>),
    /// The node is in a cluster, which has them.
    Member(Arc<FunctionBuckets<ClusterBuckets>>),
}

impl NodeBuckets {
    /// For people.
    pub(super) fn values(&self) -> Arc<dyn ValueOperations> {
        match self {
            Self::Alone(buckets) => Arc::clone(buckets) as _,
            Self::Member(buckets) => Arc::clone(buckets) as _,
        }
    }

    /// Deletes the buckets of `function` in `stage`, or in all stages, which the state does not have since
    /// the revision `gone`.
    pub(super) async fn delete(
        &self,
        function: &FunctionName,
        stage: Option<&StageName>,
        gone: Revision,
    ) -> Result<u64, BucketError> {
        match self {
            Self::Alone(buckets) => buckets.delete(function, stage, gone).await,
            Self::Member(buckets) => buckets.delete(function, stage, gone).await,
        }
    }

    /// Deletes what a function or a stage kept that was deleted just before the node ended. What a cluster
    /// has is looked through in the background: others may be making buckets all the time.
    pub(super) async fn remove_orphans(&self, state: Arc<State>) {
        match self {
            Self::Alone(buckets) => remove_orphans(buckets, &state).await,
            Self::Member(buckets) => {
                let buckets = Arc::clone(buckets);
                tokio::spawn(async move { remove_orphans(&buckets, &state).await });
            }
        }
    }

    /// Has the buckets know which revision of the state `control` has published.
    pub(super) fn follow(&self, control: &Arc<NodeControl>) {
        if let Self::Member(buckets) = self {
            let control = Arc::downgrade(control);
            buckets
                .buckets()
                .work_by(move || control.upgrade().map_or(Revision(0), |control| control.state().revision()));
        }
    }

    /// Hands the buckets to another process of this node.
    pub(super) async fn release(&self) {
        match self {
            Self::Alone(buckets) => buckets.buckets().release().await,
            // It has them by its own connection.
            Self::Member(_) => {}
        }
    }
}

async fn remove_orphans<B: Buckets>(buckets: &FunctionBuckets<B>, state: &State) {
    let exists = |function: &FunctionName, stage: &StageName| {
        state.function(function).is_ok_and(|function| function.stages.contains_key(stage))
    };
    match buckets.retain(state.revision(), exists).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "buckets of deleted functions and stages are removed"),
        Err(error) => tracing::error!(%error, "buckets of deleted functions and stages were not removed"),
    }
}

/// Opens buckets for the runtime, which starts before there are any.
#[derive(Default)]
pub(super) struct RuntimeBuckets(OnceLock<NodeBuckets>);

/// A bucket as the runtime sees it.
struct Opened<T> {
    bucket: FunctionBucket<T>,
    usual_wait: Option<Duration>,
}

impl RuntimeBuckets {
    /// Finds them in `buckets` from now on. Call this once, before the runtime gets a version.
    pub(super) fn find_in(&self, buckets: NodeBuckets) {
        assert!(self.0.set(buckets).is_ok(), "a node has one set of buckets");
    }
}

impl BucketStore for RuntimeBuckets {
    fn bucket(
        &self,
        function: &FunctionName,
        stage: &StageName,
        name: &BucketName,
        config: &BucketConfig,
    ) -> Arc<dyn GuestBucket> {
        match self.0.get().expect("the runtime gets versions after it has buckets") {
            NodeBuckets::Alone(buckets) => {
                Arc::new(Opened { bucket: buckets.open(function, stage, name, config), usual_wait: None })
            }
            NodeBuckets::Member(buckets) => {
                let usual_wait = Some(BROKER_WAIT);
                Arc::new(Opened { bucket: buckets.open(function, stage, name, config), usual_wait })
            }
        }
    }
}

impl<T: Bucket> Opened<T> {
    async fn run<R>(
        &self,
        kind: Kind,
        operation: impl Future<Output = Result<R, BucketError>> + Send,
    ) -> Result<R, BucketFailure> {
        self.bucket.run(kind, operation).await.map_err(failure)
    }

    fn bucket(&self) -> &T {
        self.bucket.bucket()
    }
}

/// What the guest is told. Where the node has its files is nothing for guests.
fn failure(error: BucketError) -> BucketFailure {
    let is_of_node = matches!(error, BucketError::Store(_));
    let reason = match error {
        BucketError::Store(StoreError::Released(_)) => {
            "the state moved to the node's next process before this request had ended".to_owned()
        }
        BucketError::Store(StoreError::DiskFull { .. }) => "the node has no space left".to_owned(),
        BucketError::Store(StoreError::OutOfTouch { .. }) => {
            "the node is out of touch with the cluster that has its buckets".to_owned()
        }
        BucketError::Store(StoreError::Unanswered { .. }) => {
            "the cluster that has the node's buckets did not answer in time".to_owned()
        }
        BucketError::Store(StoreError::Unknown { .. }) => {
            "it is not known whether the write was made: the cluster did not answer in time".to_owned()
        }
        BucketError::Store(error) => {
            tracing::error!(%error, "buckets cannot be used");
            "the node cannot read or write its buckets now".to_owned()
        }
        error => error.to_string(),
    };
    BucketFailure { reason, is_of_node }
}

fn value(found: KeyValue) -> BucketValue {
    BucketValue { revision: found.revision.0, value: found.value }
}

impl<T: Bucket> GuestBucket for Opened<T> {
    fn usual_wait(&self) -> Option<Duration> {
        self.usual_wait
    }

    fn get(&self, key: String) -> BucketFuture<'_, Option<BucketValue>> {
        Box::pin(async move { Ok(self.run(Kind::Read, self.bucket().get(&key)).await?.map(value)) })
    }

    fn get_many(&self, keys: Vec<String>) -> BucketFuture<'_, Vec<Option<(String, Bytes)>>> {
        Box::pin(async move {
            let found = self.run(Kind::Read, self.bucket().get_many(&keys)).await?;
            let entries = keys.into_iter().zip(found);
            Ok(entries.map(|(key, found)| found.map(|found| (key, found.value))).collect())
        })
    }

    fn exists(&self, key: String) -> BucketFuture<'_, bool> {
        Box::pin(async move { self.run(Kind::Read, self.bucket().exists(&key)).await })
    }

    fn list_keys(&self, cursor: Option<u64>) -> BucketFuture<'_, BucketKeys> {
        Box::pin(async move {
            let page = self.run(Kind::Read, self.bucket().list_keys(cursor, PAGE_KEYS_MAX)).await?;
            Ok((page.keys, page.cursor))
        })
    }

    fn set(&self, key: String, value: Bytes) -> BucketFuture<'_, ()> {
        Box::pin(async move { self.run(Kind::Write, self.bucket().set(key, value)).await.map(drop) })
    }

    fn set_many(&self, values: Vec<(String, Bytes)>) -> BucketFuture<'_, ()> {
        Box::pin(async move { self.run(Kind::Write, self.bucket().set_many(values)).await })
    }

    fn delete(&self, key: String) -> BucketFuture<'_, ()> {
        Box::pin(async move { self.run(Kind::Write, self.bucket().delete(key)).await.map(drop) })
    }

    fn delete_many(&self, keys: Vec<String>) -> BucketFuture<'_, ()> {
        Box::pin(async move { self.run(Kind::Write, self.bucket().delete_many(keys)).await.map(drop) })
    }

    fn add_unsigned(&self, key: String, delta: u64) -> BucketFuture<'_, u64> {
        Box::pin(async move {
            let sum = self.run(Kind::Write, self.bucket().increment(key, Delta::Unsigned(delta))).await?;
            Ok(u64::try_from(sum).expect("the sum is of the type of the delta"))
        })
    }

    fn add_signed(&self, key: String, delta: i64) -> BucketFuture<'_, i64> {
        Box::pin(async move {
            let sum = self.run(Kind::Write, self.bucket().increment(key, Delta::Signed(delta))).await?;
            Ok(i64::try_from(sum).expect("the sum is of the type of the delta"))
        })
    }

    fn swap(&self, key: String, expected: Option<u64>, value: Bytes) -> BucketFuture<'_, BucketSwap> {
        Box::pin(async move {
            let expected = expected.map(KeyRevision);
            let swap = self.bucket().compare_and_swap(key, expected, value);
            Ok(match self.run(Kind::Write, swap).await? {
                Swap::Swapped(_) => BucketSwap::Swapped,
                Swap::Unexpected(found) => BucketSwap::Unexpected(found.map(|found| found.0)),
            })
        })
    }
}
