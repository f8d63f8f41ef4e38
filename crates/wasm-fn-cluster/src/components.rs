//! Components in the broker's object store, by the SHA-256 of their bytes.

mod bucket;
mod collection;
mod error;

use std::{collections::HashSet, path::Path, time::Duration};

use tokio::time::timeout;
use wasm_fn_core::Digest;

pub(crate) use self::bucket::Bucket;
pub use self::{
    collection::{Collected, Collection},
    error::ComponentError,
};
use crate::link::{Link, Session};

/// For how long a connection is waited for.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// Components in the broker's object store.
#[derive(Clone, Debug)]
pub struct Components {
    link: Link,
    bucket: Bucket,
}

impl Components {
    pub(crate) fn new(link: Link, bucket: Bucket) -> Self {
        Self { link, bucket }
    }

    /// Puts the file at `path`, which has the SHA-256 `digest`. If it is there, it is known to be wanted from
    /// now on, and is [collected](crate::Cluster::collect) a grace later at the earliest.
    ///
    /// # Errors
    /// The file cannot be read, has another digest, or the broker does not take it. It is not there then, or
    /// as a whole.
    pub async fn put(&self, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        self.bucket.put(&*self.session().await?, digest, path).await
    }

    /// Gets a component into a new file at `path`, and checks its digest. An existing file is replaced.
    ///
    /// # Errors
    /// It is not there, has other bytes, or the file cannot be written. There is no file then.
    pub async fn get(&self, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        self.bucket.get(&*self.session().await?, digest, path).await
    }

    /// Whether a component is there, as a whole.
    ///
    /// # Errors
    /// The broker does not say.
    pub async fn contains(&self, digest: Digest) -> Result<bool, ComponentError> {
        self.bucket.contains(&*self.session().await?, digest).await
    }

    /// Deletes a component. It is no error if it is not there.
    ///
    /// # Errors
    /// The broker does not do it.
    pub async fn delete(&self, digest: Digest) -> Result<(), ComponentError> {
        self.bucket.delete(&*self.session().await?, digest).await
    }

    /// Deletes what was not `needed`, nor put, for `grace`, as far as `collection` has seen.
    pub(crate) async fn collect(
        &self,
        collection: &mut Collection,
        needed: &HashSet<Digest>,
        grace: Duration,
    ) -> Result<Collected, ComponentError> {
        collection.pass(&self.bucket, &*self.session().await?, needed, grace).await
    }

    async fn session(&self) -> Result<Session, ComponentError> {
        let session = timeout(SESSION_WAIT, self.link.session_after(0)).await;
        session.map_err(|_| ComponentError::Broker { reason: self.link.reason() })
    }
}
