//! Components on disk, named by their SHA-256.
//!
//! A blob is there completely or not at all: it is written to a draft beside its place, hashed on the
//! way, synced and renamed. Nothing here knows what is in it.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use wasm_fn_core::Digest;

/// The folder in the data directory.
const FOLDER: &str = "blobs";

/// What the names of drafts start with; no digest does.
const DRAFT: &str = "draft-";

/// Files named by their digest.
#[derive(Debug)]
pub struct Blobs {
    folder: PathBuf,
    bytes_max: u64,
    /// Whether calls that block are made where they are asked for.
    in_place: bool,
    /// Blobs in use by somebody besides versions, and by how many.
    pins: Mutex<HashMap<Digest, usize>>,
}

/// Keeps a blob from being collected.
#[derive(Debug)]
#[must_use = "a blob is pinned only as long as this lives"]
pub struct Pin {
    blobs: Arc<Blobs>,
    digest: Digest,
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// More bytes than allowed.
    #[error("component is larger than {bytes_max} bytes, expected at most that")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Other bytes than announced.
    #[error("component has the digest {found}, expected {expected}")]
    Digest {
        /// What was announced.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// The sender broke off.
    #[error("upload ended early: {0}")]
    Broken(String),
    /// The disk.
    #[error("component cannot be stored: {0}")]
    Disk(#[from] io::Error),
}

impl Blobs {
    /// Blobs of at most `bytes_max` bytes in `data_dir`. Drafts that a crash left are removed. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(data_dir: &Path, bytes_max: u64) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let blobs = Self { folder, bytes_max, in_place: false, pins: Mutex::default() };
        blobs.remove_where(|name| name.starts_with(DRAFT))?;
        Ok(blobs)
    }

    /// The same without threads for calls that block: a simulation must not depend on when another
    /// thread comes round to something.
    #[must_use]
    pub fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }

    /// Largest blob, bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Where the blob is; `None` when it is not there.
    pub async fn find(&self, digest: Digest) -> io::Result<Option<PathBuf>> {
        let path = self.path(digest);
        let there = if self.in_place { path.try_exists() } else { tokio::fs::try_exists(&path).await };
        Ok(there?.then_some(path))
    }

    /// Size of the blob; `None` when it is not there.
    pub async fn size_bytes(&self, digest: Digest) -> io::Result<Option<u64>> {
        match tokio::fs::metadata(self.path(digest)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores what `chunks` bring as `digest`; gives its size. Storing one that is there is fine.
    ///
    /// # Errors
    /// Too many bytes, other bytes than announced, a sender that broke off, or the disk; nothing is
    /// left behind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn put<E: std::fmt::Display>(
        &self,
        digest: Digest,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, PutError> {
        let draft = self.folder.join(format!("{DRAFT}{}", hex::encode(rand::random::<[u8; 16]>())));
        let draft = Draft(draft);
        let mut file = tokio::fs::File::create_new(&draft.0).await?;
        let mut chunks = std::pin::pin!(chunks);
        let (mut size, mut hasher) = (0, Sha256::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| PutError::Broken(error.to_string()))?;
            size += chunk.len() as u64;
            if size > self.bytes_max {
                return Err(PutError::TooLarge { bytes_max: self.bytes_max });
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await?;
        }
        let found = Digest(hasher.finalize().into());
        if found != digest {
            return Err(PutError::Digest { expected: digest, found });
        }
        file.flush().await?;
        file.sync_all().await?;
        tokio::fs::rename(&draft.0, self.path(digest)).await?;
        tokio::fs::File::open(&self.folder).await?.sync_all().await?;
        Ok(size)
    }

    /// Keeps `digest` from being collected while the pin lives, whether it is there or not.
    pub fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        *self.pins().entry(digest).or_default() += 1;
        Pin { blobs: Arc::clone(self), digest }
    }

    /// Removes those of `candidates` that are not pinned.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub async fn collect_apart(self: &Arc<Self>, candidates: HashSet<Digest>) -> io::Result<()> {
        if self.in_place {
            return self.collect(candidates);
        }
        let blobs = Arc::clone(self);
        tokio::task::spawn_blocking(move || blobs.collect(candidates)).await?
    }

    /// Removes those of `candidates` that are not pinned. Blocks.
    ///
    /// # Errors
    /// The disk; what could not be removed is found by [`sweep`](Self::sweep) at the next start.
    pub fn collect(&self, candidates: impl IntoIterator<Item = Digest>) -> io::Result<()> {
        // Held to the end, so that nobody pins a blob between the look and the removal.
        let pins = self.pins();
        for digest in candidates.into_iter().filter(|digest| !pins.contains_key(digest)) {
            match fs::remove_file(self.path(digest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes every blob that `used` does not name; for a node that is starting. Blocks.
    ///
    /// # Errors
    /// The disk.
    pub fn sweep(&self, used: impl Fn(Digest) -> bool) -> io::Result<()> {
        self.remove_where(|name| name.parse().is_ok_and(|digest| !used(digest)))
    }

    fn remove_where(&self, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            if file.file_name().to_str().is_some_and(&unwanted) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        // Nothing panics while it is locked.
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is removed unless it was renamed.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // Fails after the rename, as it should.
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.blobs.pins();
        if let Some(count) = pins.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.digest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
