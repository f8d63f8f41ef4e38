//! Components on disk, named by their SHA-256.
//!
//! A blob is stored completely or not at all: it is written to a draft in the same folder, hashed meanwhile,
//! synced and renamed. This module does not look into blobs.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use wasm_fn_core::Digest;

/// The prefix of draft names. No digest starts with it.
const DRAFT: &str = "draft-";

/// Files that are named by their digests.
#[derive(Debug)]
pub struct Blobs {
    folder: PathBuf,
    bytes_max: u64,
    /// Whether blocking calls run on the calling thread.
    in_place: bool,
    pins: Mutex<Pins>,
}

/// What is kept although no version uses it.
#[derive(Debug, Default)]
struct Pins {
    /// Blobs that something other than a version uses, with the number of users.
    counts: HashMap<Digest, usize>,
    /// Blobs that were to be removed while they were pinned, and that nobody has stored or asked for since.
    spared: HashSet<Digest>,
}

/// Keeps a blob from being collected.
#[derive(Debug)]
#[must_use = "a blob is pinned only as long as this lives"]
pub struct Pin {
    blobs: Arc<Blobs>,
    digest: Digest,
}

/// A folder for files that are needed for a while, on the same disk as the blobs. Removed on drop, or after
/// a crash when the blobs are opened again.
#[derive(Debug)]
pub struct Scratch(PathBuf);

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The component is too large.
    #[error("component has more than {bytes_max} bytes, expected at most {bytes_max}")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The component does not match its digest.
    #[error("component has the digest {found}, expected {expected}")]
    Digest {
        /// The announced digest.
        expected: Digest,
        /// The digest of the bytes received.
        found: Digest,
    },
    /// The sender broke off.
    #[error("upload ended early: {0}")]
    Broken(String),
    /// The disk failed.
    #[error("component cannot be stored: {0}")]
    Disk(#[from] io::Error),
}

impl Blobs {
    /// The name of the folder within the data directory.
    pub const FOLDER: &str = "blobs";

    /// Opens the blobs in `data_dir`, of at most `bytes_max` bytes each. Removes drafts left by a crash.
    /// Blocks.
    ///
    /// # Errors
    /// If the folder cannot be created or read.
    pub fn open(data_dir: &Path, bytes_max: u64) -> io::Result<Self> {
        let folder = data_dir.join(Self::FOLDER);
        fs::create_dir_all(&folder)?;
        let blobs = Self { folder, bytes_max, in_place: false, pins: Mutex::default() };
        blobs.remove_where(|name| name.starts_with(DRAFT))?;
        Ok(blobs)
    }

    /// Makes blocking calls run on the calling thread. A simulation must not depend on when another thread
    /// gets to run.
    #[must_use]
    pub fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }

    /// Largest size of a blob, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Where the blob is, if it is stored.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// The path of the blob; `None` if it is not stored.
    pub async fn find(&self, digest: Digest) -> io::Result<Option<PathBuf>> {
        self.pins().spared.remove(&digest);
        let path = self.path(digest);
        let there = if self.in_place { path.try_exists() } else { tokio::fs::try_exists(&path).await };
        Ok(there?.then_some(path))
    }

    /// The size of the blob; `None` if it is not stored.
    pub async fn size_bytes(&self, digest: Digest) -> io::Result<Option<u64>> {
        self.pins().spared.remove(&digest);
        match tokio::fs::metadata(self.path(digest)).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the bytes of `chunks` as `digest`. Returns their size. It is not an error if the blob is
    /// already stored.
    ///
    /// # Errors
    /// If there are too many bytes, if they do not match the digest, if the sender breaks off, or if the disk
    /// fails. Leaves nothing behind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn put<E: std::fmt::Display>(
        &self,
        digest: Digest,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, PutError> {
        let draft = Draft(self.draft());
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
        {
            // Held for the rename, so that nobody removes what was just stored for an earlier reason.
            let mut pins = self.pins();
            fs::rename(&draft.0, self.path(digest))?;
            pins.spared.remove(&digest);
        }
        tokio::fs::File::open(&self.folder).await?.sync_all().await?;
        Ok(size)
    }

    /// Stores the file at `path` as `digest`, which its sender has checked. The file must be in a
    /// [scratch folder](Self::scratch) and durable; it is moved. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn adopt(&self, digest: Digest, path: &Path) -> io::Result<()> {
        {
            let mut pins = self.pins();
            fs::rename(path, self.path(digest))?;
            pins.spared.remove(&digest);
        }
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Creates an empty folder for temporary files, with access only for its owner. Blocks.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn scratch(&self) -> io::Result<Scratch> {
        let path = self.draft();
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }

    /// Keeps `digest` from being collected as long as the pin lives, whether it is stored or not.
    pub fn pin(self: &Arc<Self>, digest: Digest) -> Pin {
        *self.pins().counts.entry(digest).or_default() += 1;
        Pin { blobs: Arc::clone(self), digest }
    }

    /// Removes the `candidates` that are not pinned.
    ///
    /// # Errors
    /// The errors of [`collect`](Self::collect).
    pub async fn collect_apart(self: &Arc<Self>, candidates: HashSet<Digest>) -> io::Result<()> {
        if self.in_place {
            return self.collect(candidates);
        }
        let blobs = Arc::clone(self);
        tokio::task::spawn_blocking(move || blobs.collect(candidates)).await?
    }

    /// Removes those of the `candidates` that were to be removed before, while they were pinned. What
    /// somebody has stored or asked for since then may be about to be deployed, and stays.
    ///
    /// # Errors
    /// The errors of [`collect`](Self::collect).
    pub async fn collect_spared(self: &Arc<Self>, candidates: HashSet<Digest>) -> io::Result<()> {
        let blobs = Arc::clone(self);
        let collect = move || blobs.remove(candidates, |pins, digest| pins.spared.contains(digest));
        if self.in_place { collect() } else { tokio::task::spawn_blocking(collect).await? }
    }

    /// Removes the `candidates` that are not pinned. Blocks.
    ///
    /// # Errors
    /// If the disk fails. [`sweep`](Self::sweep) removes what is left at the next start.
    pub fn collect(&self, candidates: impl IntoIterator<Item = Digest>) -> io::Result<()> {
        self.remove(candidates, |_, _| true)
    }

    fn remove(
        &self,
        candidates: impl IntoIterator<Item = Digest>,
        is_unwanted: impl Fn(&Pins, &Digest) -> bool,
    ) -> io::Result<()> {
        // Held to the end, so that nothing can be pinned or stored between the check and the removal.
        let mut pins = self.pins();
        for digest in candidates {
            if !is_unwanted(&pins, &digest) {
                continue;
            }
            if pins.counts.contains_key(&digest) {
                pins.spared.insert(digest);
                continue;
            }
            pins.spared.remove(&digest);
            match fs::remove_file(self.path(digest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes every blob for which `used` is false. Called when a node starts. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sweep(&self, used: impl Fn(Digest) -> bool) -> io::Result<()> {
        self.remove_where(|name| name.parse().is_ok_and(|digest| !used(digest)))
    }

    fn remove_where(&self, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            if file.file_name().to_str().is_some_and(&unwanted) {
                let remove = if file.file_type()?.is_dir() { fs::remove_dir_all } else { fs::remove_file };
                remove(file.path())?;
            }
        }
        Ok(())
    }

    /// A path that no other draft has.
    fn draft(&self) -> PathBuf {
        self.folder.join(format!("{DRAFT}{}", hex::encode(rand::random::<[u8; 16]>())))
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        // Nothing panics while holding the lock.
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is removed on drop, unless it was renamed.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // Fails after the rename, which is intended.
        let _ = fs::remove_file(&self.0);
    }
}

impl Scratch {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "temporary files were not removed");
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.blobs.pins();
        if let Some(count) = pins.counts.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pins.counts.remove(&self.digest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
