//! Snapshots of the state, from which a node goes on that the log does not reach back to: which one is the
//! newest, and how it is written and had.
//!
//! A snapshot is a whole store, so the journal up to it is in it. It is a component of the bucket, and a text
//! of the bucket names the newest one. This part knows neither when one is due nor what a record says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncReadExt as _, task::spawn_blocking};
use wasm_fn_core::{Digest, Revision};
use wasm_fn_store::{EmbeddedStore, Record, Store as _, StoreError};

use crate::{Chain, ComponentError, Replica, components::Bucket, link::Api, setup::Base};

/// The name of the text that says which snapshot is the newest.
const NAME: &str = "snapshot";

/// The format of that text.
const FORMAT: u64 = 1;

/// The folder in the data directory in which a snapshot is written or received.
const FOLDER: &str = "snapshot";

/// Records that are checked at a time.
const RECORDS: usize = 1000;

/// The newest snapshot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) base: Base,
    /// Its size.
    pub(crate) bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Said {
    format: u64,
    #[serde(flatten)]
    base: Base,
    bytes: u64,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

/// Why there is no snapshot to go on from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// What says which one is the newest cannot be read.
    #[error("what the cluster says of its snapshot cannot be read: {0}")]
    Malformed(String),
    /// A newer program wrote it.
    #[error("snapshot of the cluster has format {found}, expected at most {FORMAT}")]
    Newer { found: u64 },
    /// It does not go on from what the node has.
    #[error("snapshot of the cluster differs at revision {revision}: {reason}")]
    Diverged { revision: Revision, reason: String },
    /// It cannot be opened, or the node's own state cannot be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Snapshots in the bucket of components.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    bucket: Bucket,
}

/// A store that was received, in a folder that is removed on drop.
pub(crate) struct Received {
    pub(crate) store: EmbeddedStore,
    pub(crate) last: Record,
    folder: Folder,
}

/// A folder that is empty in the beginning, and removed on drop.
struct Folder(PathBuf);

impl Snapshots {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// The newest snapshot; `None` if there is none.
    pub(crate) async fn newest(&self, api: &Api) -> Result<Option<Snapshot>, SnapshotError> {
        self.bucket.text(api, NAME).await?.text.as_deref().map(read).transpose()
    }

    /// Writes a snapshot of `replica`, and makes it the newest one, unless there is one of that revision or a
    /// later one. Whoever is stopped in between leaves the one before, or this one; what else is left is
    /// collected with the components that nobody needs.
    pub(crate) async fn write(&self, api: &Api, replica: &impl Replica) -> Result<Snapshot, SnapshotError> {
        let folder = Folder::make(replica.folder())?;
        replica.copy(folder.0.clone(), || {}).await?;
        let Some(last) = open(&folder.0).await?.load().await?.last else {
            return Err(SnapshotError::Malformed("state has no record".to_owned()));
        };
        let path = folder.0.join(EmbeddedStore::FILE);
        let (digest, bytes) = sha256_of(&path).await.map_err(|source| {
            let path = path.clone();
            ComponentError::File { path, source }
        })?;
        let snapshot = Snapshot { base: Base::new(&last, digest), bytes };
        loop {
            let there = self.bucket.text(api, NAME).await?;
            let before = there.text.as_deref().map(read).transpose()?;
            if let Some(before) = &before
                && before.base.revision() >= last.revision
            {
                return Ok(before.clone());
            }
            self.bucket.put(api, digest, &path).await?;
            if self.bucket.put_text(api, NAME, write(&snapshot), there.sequence).await? {
                if let Some(Ok(before)) = before.map(|before| before.base.snapshot()) {
                    self.bucket.delete(api, before).await?;
                }
                return Ok(snapshot);
            }
        }
    }

    /// Whether the bytes of `snapshot` are there.
    pub(crate) async fn has(&self, api: &Api, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
        Ok(self.bucket.contains(api, digest_of(&snapshot.base)?).await?)
    }

    /// Receives the snapshot that `base` is about into `data_dir`, and checks that it is that state.
    pub(crate) async fn receive(
        &self,
        api: &Api,
        base: &Base,
        data_dir: &Path,
    ) -> Result<Received, SnapshotError> {
        let folder = Folder::make(data_dir)?;
        self.bucket.get(api, digest_of(base)?, &folder.0.join(EmbeddedStore::FILE)).await?;
        let store = open(&folder.0).await?;
        let loaded = store.load().await?;
        match loaded.last {
            Some(last) if base.is_at(&last) => Ok(Received { store, last, folder }),
            _ => Err(SnapshotError::Diverged {
                revision: loaded.revision,
                reason: format!("it ends with another record than that of revision {}", base.revision()),
            }),
        }
    }
}

impl Received {
    /// Checks that the journal goes on from `end`, record by record.
    pub(crate) async fn verify(&self, chain: &dyn Chain, end: Option<&Record>) -> Result<(), SnapshotError> {
        let mut previous = None;
        // It has the last record of the replica, too, unless that has none.
        let mut after = end.map_or(Revision(0), |end| Revision(end.revision.0 - 1));
        loop {
            let records = self.store.journal_after(after, RECORDS).await?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                let revision = record.revision;
                let diverged = |reason| SnapshotError::Diverged { revision, reason };
                match end.filter(|end| end.revision >= revision) {
                    Some(end) if *end == record => {}
                    Some(_) => {
                        return Err(diverged("it has another record than this node".to_owned()));
                    }
                    None => chain.verify(previous.as_ref(), &record).map_err(diverged)?,
                }
                after = revision;
                previous = Some(record);
            }
        }
    }

    /// Gives it the name of the node's own store.
    pub(crate) async fn install(self, data_dir: &Path) -> Result<(), SnapshotError> {
        let Self { store, folder, .. } = self;
        store.release().await;
        let path = data_dir.join(EmbeddedStore::FILE);
        let renamed = tokio::fs::rename(folder.0.join(EmbeddedStore::FILE), &path).await;
        Ok(renamed.map_err(|source| ComponentError::File { path, source })?)
    }
}

fn read(text: &str) -> Result<Snapshot, SnapshotError> {
    let malformed = |error: serde_json::Error| SnapshotError::Malformed(error.to_string());
    let AnyFormat { format } = serde_json::from_str(text).map_err(malformed)?;
    if format > FORMAT {
        return Err(SnapshotError::Newer { found: format });
    }
    let Said { base, bytes, .. } = serde_json::from_str(text).map_err(malformed)?;
    Ok(Snapshot { base, bytes })
}

fn write(snapshot: &Snapshot) -> String {
    let Snapshot { base, bytes } = snapshot.clone();
    serde_json::to_string(&Said { format: FORMAT, base, bytes })
        .expect("a struct of texts and numbers is JSON")
}

fn digest_of(base: &Base) -> Result<Digest, SnapshotError> {
    base.snapshot().map_err(|error| SnapshotError::Malformed(error.to_string()))
}

async fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    let dir = folder.to_owned();
    let failed = |error: tokio::task::JoinError| StoreError::Database {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    spawn_blocking(move || EmbeddedStore::open(&dir)).await.map_err(failed)?
}

/// The SHA-256 of a file, and its size.
async fn sha256_of(path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok((Digest(hash.finalize().into()), bytes)),
            read => {
                hash.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}

impl Folder {
    /// The folder in `data_dir`, which a process that was killed may have left. Blocks.
    fn make(data_dir: &Path) -> Result<Self, ComponentError> {
        let path = data_dir.join(FOLDER);
        let _ = std::fs::remove_dir_all(&path);
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ComponentError::File { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is removed before the next one is made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a snapshot as this format has been written; another release may read it.
    const WRITTEN: &str = include_str!("../formats/1/snapshot.json");

    #[test]
    fn what_is_said_of_a_snapshot_is_written_and_read_as_ever() {
        let record = Record { revision: Revision(5), text: "record 5".to_owned() };
        let snapshot = Snapshot { base: Base::new(&record, Digest([0; 32])), bytes: 4096 };
        assert_eq!(write(&snapshot), WRITTEN.trim_end());
        // A later release that keeps the format may say more.
        let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
        for text in [WRITTEN, &more] {
            assert_eq!(read(text).unwrap(), snapshot);
        }
        let newer = WRITTEN.replacen("\"format\":1", "\"format\":2", 1);
        let text = "snapshot of the cluster has format 2, expected at most 1";
        assert_eq!(read(&newer).unwrap_err().to_string(), text);
    }
}
