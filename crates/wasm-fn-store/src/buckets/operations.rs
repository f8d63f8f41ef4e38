//! What people do with the buckets of functions, whatever keeps them: one type for those who need not know.

use std::pin::Pin;

use bytes::Bytes;
use wasm_fn_core::{BucketConfig, BucketName, FunctionName, StageName};

use super::{
    Bucket as _, BucketAddress, BucketError, BucketOperation, BucketOperationCounts, BucketUsage, Buckets,
    FunctionBucket, FunctionBuckets, KeyRevision, KeyValue,
};

/// What is answered some time.
pub type ValueFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BucketError>> + Send + 'a>>;

/// A bucket of a function in a stage, both of which exist, and how it is configured.
#[derive(Clone, Copy, Debug)]
pub struct BucketPlace<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// The stage.
    pub stage: &'a StageName,
    /// The name of the bucket.
    pub name: &'a BucketName,
    /// Its configuration.
    pub config: &'a BucketConfig,
}

/// What people do with buckets. Each operation is counted, and refused like those of functions.
pub trait ValueOperations: Send + Sync + 'static {
    /// At most `limit` keys that begin with `prefix`, in order, those behind `after`; and what the bucket
    /// holds.
    fn find_keys<'a>(
        &'a self,
        place: BucketPlace<'a>,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> ValueFuture<'a, (Vec<String>, BucketUsage)>;

    /// The value of `key`.
    fn get<'a>(&'a self, place: BucketPlace<'a>, key: &'a str) -> ValueFuture<'a, Option<KeyValue>>;

    /// Sets the value of `key`.
    fn set<'a>(&'a self, place: BucketPlace<'a>, key: String, value: Bytes) -> ValueFuture<'a, KeyRevision>;

    /// Deletes `key`. Says whether it was there.
    fn delete<'a>(&'a self, place: BucketPlace<'a>, key: String) -> ValueFuture<'a, bool>;

    /// Every bucket that exists, with what it holds.
    fn usage(&self) -> ValueFuture<'_, Vec<(BucketAddress, BucketUsage)>>;

    /// How many operations there were.
    fn operations(&self) -> BucketOperationCounts;
}

impl<B: Buckets> FunctionBuckets<B> {
    fn at(&self, place: BucketPlace<'_>) -> FunctionBucket<B::Bucket> {
        let BucketPlace { function, stage, name, config } = place;
        self.open(function, stage, name, config)
    }
}

impl<B: Buckets> ValueOperations for FunctionBuckets<B> {
    fn find_keys<'a>(
        &'a self,
        place: BucketPlace<'a>,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> ValueFuture<'a, (Vec<String>, BucketUsage)> {
        Box::pin(async move {
            let opened = self.at(place);
            let found = opened.bucket().find_keys(prefix, after, limit);
            let keys = opened.run(BucketOperation::Read, found).await?;
            let usage = opened.run(BucketOperation::Read, opened.bucket().usage()).await?;
            Ok((keys, usage))
        })
    }

    fn get<'a>(&'a self, place: BucketPlace<'a>, key: &'a str) -> ValueFuture<'a, Option<KeyValue>> {
        Box::pin(async move {
            let opened = self.at(place);
            opened.run(BucketOperation::Read, opened.bucket().get(key)).await
        })
    }

    fn set<'a>(&'a self, place: BucketPlace<'a>, key: String, value: Bytes) -> ValueFuture<'a, KeyRevision> {
        Box::pin(async move {
            let opened = self.at(place);
            opened.run(BucketOperation::Write, opened.bucket().set(key, value)).await
        })
    }

    fn delete<'a>(&'a self, place: BucketPlace<'a>, key: String) -> ValueFuture<'a, bool> {
        Box::pin(async move {
            let opened = self.at(place);
            opened.run(BucketOperation::Write, opened.bucket().delete(key)).await
        })
    }

    fn usage(&self) -> ValueFuture<'_, Vec<(BucketAddress, BucketUsage)>> {
        Box::pin(Self::usage(self))
    }

    fn operations(&self) -> BucketOperationCounts {
        Self::operations(self)
    }
}
