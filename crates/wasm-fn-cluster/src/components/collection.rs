//! Deletes what the bucket has and nobody needs: components that no version uses any more, what is left of
//! uploads that broke off, and the messages that say that a component is gone.
//!
//! Something is deleted once it was not needed for the whole of a grace, by the monotonic clock of the node
//! that looks, and only if nobody has put it since. This part does not know what a version is.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;
use wasm_fn_core::Digest;

use super::{Bucket, ComponentError};
use crate::link::Api;

/// Chunks without an object are kept for so many graces: an upload that is slow has them all the time.
const CHUNK_GRACES: u32 = 24;

/// Since when the objects of a bucket are not needed, as far as it was looked.
#[derive(Debug, Default)]
pub struct Collection {
    /// By the digest: the number of the message that says what it is, and since when.
    components: HashMap<Digest, (u64, Instant)>,
    /// By the id of the chunks.
    chunks: HashMap<String, Instant>,
    /// The ids of chunks that were found to belong to an object.
    owned: HashSet<String>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many components.
    pub components: u64,
    /// Of how many uploads that broke off the remains.
    pub remains: u64,
}

impl Collection {
    /// Looks at everything that `bucket` has, and deletes what was not needed for `grace`.
    pub(super) async fn pass(
        &mut self,
        bucket: &Bucket,
        api: &Api,
        needed: &HashSet<Digest>,
        grace: Duration,
    ) -> Result<Collected, ComponentError> {
        let mut collected = Collected::default();
        let names = bucket.names(api).await?;
        let there: HashSet<Digest> = names.iter().filter_map(|name| name.parse().ok()).collect();
        self.components.retain(|digest, _| there.contains(digest) && !needed.contains(digest));
        for digest in there.difference(needed) {
            let sequence = bucket.sequence(api, *digest).await?;
            let now = Instant::now();
            let (known, since) = *self.components.entry(*digest).or_insert((sequence, now));
            if known != sequence {
                self.components.insert(*digest, (sequence, now));
            } else if now.saturating_duration_since(since) >= grace {
                collected.components += u64::from(bucket.collect(api, *digest, sequence).await?);
            }
        }
        let chunks = bucket.chunk_ids(api).await?;
        self.owned.retain(|id| chunks.contains(id));
        self.chunks.retain(|id, _| chunks.contains(id));
        let now = Instant::now();
        let mut old = Vec::new();
        for id in chunks.difference(&self.owned) {
            let since = *self.chunks.entry(id.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= grace * CHUNK_GRACES {
                old.push(id.clone());
            }
        }
        if old.is_empty() {
            return Ok(collected);
        }
        // What has them may have come meanwhile.
        for name in bucket.names(api).await? {
            self.owned.extend(bucket.chunks_of(api, &name).await?);
        }
        for id in old {
            self.chunks.remove(&id);
            if !self.owned.contains(&id) {
                bucket.discard(api, &id).await;
                collected.remains += 1;
            }
        }
        Ok(collected)
    }
}
