//! The buckets of functions that come and go: what is deleted with a function stays deleted.
//!
//! Versions that are about to end may still write while their function is deleted. Each operation holds its
//! stage meanwhile, deleting waits for operations in flight, and whoever opened a bucket before is refused
//! from then on. So a function that is created again, under the same name, finds nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::sync::RwLock;
use wasm_fn_core::{BucketConfig, BucketName, Consistency, Durability, FunctionName, Revision, StageName};

use super::{
    BucketAccess, BucketAddress, BucketConsistency, BucketDurability, BucketError, BucketQuota, BucketUsage,
    Buckets,
};

/// Maximum time that deleting waits for operations in flight.
const OPERATIONS_WAIT: Duration = Duration::from_secs(2);

/// Buckets by function and stage.
pub struct FunctionBuckets<B> {
    buckets: B,
    stages: Mutex<HashMap<(FunctionName, StageName), Arc<Stage>>>,
    operations: Arc<Operations>,
}

/// A bucket, as long as its function and its stage are there.
pub struct FunctionBucket<T> {
    bucket: T,
    stage: Arc<Stage>,
    operations: Arc<Operations>,
}

/// A stage of a function.
#[derive(Default)]
struct Stage {
    is_deleted: AtomicBool,
    /// Operations in flight hold it for reading.
    in_use: RwLock<()>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketOperation {
    /// It reads.
    Read,
    /// It writes.
    Write,
}

#[derive(Default)]
struct Operations {
    reads: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// How many operations there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketOperationCounts {
    /// Reads that were answered.
    pub reads: u64,
    /// Writes that happened, or for which there was nothing to do.
    pub writes: u64,
    /// Operations that were refused: by a quota, for their key, or because the bucket is gone.
    pub refused: u64,
    /// Operations that the store failed.
    pub failed: u64,
}

impl<B: Buckets> FunctionBuckets<B> {
    /// Buckets that `buckets` keeps.
    pub fn new(buckets: B) -> Self {
        Self { buckets, stages: Mutex::default(), operations: Arc::default() }
    }

    /// What keeps them.
    pub fn buckets(&self) -> &B {
        &self.buckets
    }

    /// Opens a bucket of a function in a stage, both of which exist.
    pub fn open(
        &self,
        function: &FunctionName,
        stage: &StageName,
        name: &BucketName,
        config: &BucketConfig,
    ) -> FunctionBucket<B::Bucket> {
        let address = BucketAddress {
            function: function.clone(),
            stage: stage.clone(),
            name: name.as_str().to_owned(),
        };
        let &BucketConfig { bytes_max, keys_max, value_bytes_max, durability, consistency } = config;
        let quota = BucketQuota { bytes_max, keys_max, value_bytes_max };
        let durability = match durability {
            Durability::Committed => BucketDurability::Committed,
            Durability::Relaxed => BucketDurability::Relaxed,
        };
        let consistency = match consistency {
            Consistency::Strong => BucketConsistency::Strong,
            Consistency::Eventual => BucketConsistency::Eventual,
        };
        let opened = self.buckets.open(address, quota, BucketAccess { durability, consistency });
        let bucket = opened.expect("a name is shorter than names of buckets may be");
        let stage = self.stages().entry((function.clone(), stage.clone())).or_default().clone();
        FunctionBucket { bucket, stage, operations: Arc::clone(&self.operations) }
    }

    /// Deletes the buckets of `function` in `stage`, or in all stages, which the state does not have since
    /// the revision `gone`. Returns how many there were.
    ///
    /// # Errors
    /// The store failed. Some of them may be left, but nobody who has them open can use them.
    pub async fn delete(
        &self,
        function: &FunctionName,
        stage: Option<&StageName>,
        gone: Revision,
    ) -> Result<u64, BucketError> {
        let is_meant = |name: &StageName| stage.is_none_or(|stage| stage == name);
        let mut stages = Vec::new();
        self.stages().retain(|(of_function, name), stage| {
            let is_deleted = of_function == function && is_meant(name);
            if is_deleted {
                stages.push(Arc::clone(stage));
            }
            !is_deleted
        });
        for stage in &stages {
            stage.is_deleted.store(true, SeqCst);
        }
        let ended = async {
            for stage in &stages {
                drop(stage.in_use.write().await);
            }
        };
        // What takes longer is in the queue of the store already, unless nobody polls it: a client that does
        // not read its answer must not keep others from deleting.
        if tokio::time::timeout(OPERATIONS_WAIT, ended).await.is_err() {
            tracing::warn!(%function, "buckets are deleted while operations on them are in flight");
        }
        let mut deleted = 0;
        for (address, _) in self.buckets.buckets(Some(function)).await? {
            if is_meant(&address.stage) {
                deleted += u64::from(self.buckets.delete_bucket(address, gone).await?);
            }
        }
        Ok(deleted)
    }

    /// Deletes the buckets of functions and stages that do not exist at the revision `at`. Call this before
    /// any of them can be created. Returns how many there were.
    ///
    /// # Errors
    /// The store failed.
    pub async fn retain(
        &self,
        at: Revision,
        exists: impl Fn(&FunctionName, &StageName) -> bool,
    ) -> Result<u64, BucketError> {
        let mut deleted = 0;
        for (address, _) in self.buckets.buckets(None).await? {
            if !exists(&address.function, &address.stage) {
                deleted += u64::from(self.buckets.delete_bucket(address, at).await?);
            }
        }
        Ok(deleted)
    }

    /// Every bucket that exists, with what it holds.
    ///
    /// # Errors
    /// The store failed.
    pub async fn usage(&self) -> Result<Vec<(BucketAddress, BucketUsage)>, BucketError> {
        self.buckets.buckets(None).await
    }

    /// How many operations there were.
    pub fn operations(&self) -> BucketOperationCounts {
        let Operations { reads, writes, refused, failed } = &*self.operations;
        BucketOperationCounts {
            reads: reads.load(Relaxed),
            writes: writes.load(Relaxed),
            refused: refused.load(Relaxed),
            failed: failed.load(Relaxed),
        }
    }

    fn stages(&self) -> MutexGuard<'_, HashMap<(FunctionName, StageName), Arc<Stage>>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> FunctionBucket<T> {
    /// The bucket, to make an operation for [`run`](Self::run).
    pub fn bucket(&self) -> &T {
        &self.bucket
    }

    /// Runs an operation of the bucket.
    ///
    /// # Errors
    /// Those of the operation; [`BucketError::Deleted`].
    pub async fn run<R>(
        &self,
        kind: BucketOperation,
        operation: impl Future<Output = Result<R, BucketError>>,
    ) -> Result<R, BucketError> {
        let _in_use = self.stage.in_use.read().await;
        let is_deleted = self.stage.is_deleted.load(SeqCst);
        let result = if is_deleted { Err(BucketError::Deleted) } else { operation.await };
        let counter = match (&result, kind) {
            (Ok(_), BucketOperation::Read) => &self.operations.reads,
            (Ok(_), BucketOperation::Write) => &self.operations.writes,
            (Err(BucketError::Store(_)), _) => &self.operations.failed,
            (Err(_), _) => &self.operations.refused,
        };
        counter.fetch_add(1, Relaxed);
        result
    }
}

#[cfg(test)]
mod tests;
