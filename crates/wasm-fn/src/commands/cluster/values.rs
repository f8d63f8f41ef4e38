//! Copies what functions keep in buckets: into a cluster, and out of it.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wasm_fn_store::{
    Bucket, BucketAccess, BucketConsistency, BucketDurability, BucketError, BucketQuota, Buckets,
};

/// What is there already was allowed when it was written.
const ANY: BucketQuota = BucketQuota { bytes_max: u64::MAX, keys_max: u64::MAX, value_bytes_max: u64::MAX };

/// The copy is durable once it is whole.
const ACCESS: BucketAccess =
    BucketAccess { durability: BucketDurability::Relaxed, consistency: BucketConsistency::Strong };

/// Keys that are asked for at once.
const PAGE: usize = 1000;

/// Values that are copied at a time.
const CONCURRENT: usize = 16;

/// Copies every key of `from` that `to` does not have. Each is copied as it is at its moment. Returns how
/// many were copied.
pub(super) async fn copy(from: &impl Buckets, to: &impl Buckets) -> Result<u64, BucketError> {
    let mut copied = 0;
    for (address, _) in from.buckets(None).await? {
        let source = from.open(address.clone(), ANY, ACCESS)?;
        let target = to.open(address, ANY, ACCESS)?;
        let mut cursor = None;
        loop {
            let page = source.list_keys(cursor, PAGE).await?;
            let keys: Vec<_> = page.keys.into_iter().map(|key| copy_key(&source, &target, key)).collect();
            let count = |count, is_copied| async move { Ok(count + u64::from(is_copied)) };
            copied += stream::iter(keys).buffer_unordered(CONCURRENT).try_fold(0, count).await?;
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(copied)
}

async fn copy_key(from: &impl Bucket, to: &impl Bucket, key: String) -> Result<bool, BucketError> {
    let Some(found) = from.get(&key).await? else { return Ok(false) };
    let swap = to.compare_and_swap(key, None, found.value).await?;
    Ok(matches!(swap, wasm_fn_store::Swap::Swapped(_)))
}
