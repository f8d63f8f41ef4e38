//! Copies of the inbox on the broker, from which a node begins that the log does not reach back to.
//!
//! The holder of the first shard makes one when the log has grown by much more than a copy has, and then
//! deletes the part of the log that the copy has. So the broker keeps a small multiple of what the inbox has.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncReadExt as _, time::sleep};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::Digest;
use wasm_fn_store::{EmbeddedInbox, Inbox as _, StoreError};

use super::inner::Inner;
use crate::{
    ClusterError, ComponentError,
    link::{Api, AskError, EXPECTED_LAST_OF_SUBJECT, Kept, is_overtaken},
    names::Names,
};

/// The format of what says which snapshot there is.
const FORMAT: u64 = 1;

/// The log grows at least so far before a snapshot is made.
const GROWTH_MIN: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// And by so many times what the last snapshot has.
const GROWTH: u64 = 2;

/// Messages that are kept although a snapshot has them, for nodes that are a little behind.
const MESSAGES_KEPT: u64 = if cfg!(test) { 4 } else { 1000 };

/// How often the size of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which snapshot there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    format: u64,
    /// The last change that it has; 0 if it is what the cluster began with.
    pub(super) sequence: u64,
    /// The SHA-256 of the file, which is in the bucket of components.
    digest: String,
    bytes: u64,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("what the broker has of it cannot be read: {0}")]
    Malformed(String),
    #[error(transparent)]
    Unanswered(#[from] AskError),
    #[error("broker refused it: {0}")]
    Refused(String),
    #[error("file cannot be written or read: {0}")]
    File(#[from] std::io::Error),
}

/// Has the cluster begin with the inbox in the file with the SHA-256 `digest`, which is in the bucket.
pub(crate) async fn begin_with(
    api: &Api,
    names: &Names,
    digest: Digest,
    bytes: u64,
) -> Result<(), ClusterError> {
    let snapshot = Snapshot { format: FORMAT, sequence: 0, digest: digest.to_string(), bytes };
    let refused = |reason| ClusterError::Refused { what: "snapshot of the inbox".to_owned(), reason };
    let payload = serde_json::to_vec(&snapshot).map_err(|error| refused(error.to_string()))?;
    let put = api.put(&names.snapshot, &[], payload.into(), PATIENCE).await?;
    put.map(drop).map_err(|error| refused(error.to_string()))
}

/// Which snapshot there is, if there is one.
pub(super) async fn read(api: &Api, names: &Names) -> Result<Option<Snapshot>, SnapshotError> {
    Ok(read_kept(api, names).await?.map(|(snapshot, _)| snapshot))
}

async fn read_kept(api: &Api, names: &Names) -> Result<Option<(Snapshot, Kept)>, SnapshotError> {
    let Some(kept) = api.last_of(&names.coordination, &names.snapshot, PATIENCE).await? else {
        return Ok(None);
    };
    let malformed = |reason: String| SnapshotError::Malformed(reason);
    let snapshot: Snapshot =
        serde_json::from_slice(&kept.payload).map_err(|error| malformed(error.to_string()))?;
    if snapshot.format > FORMAT {
        let found = snapshot.format;
        return Err(malformed(format!("it has format {found}, expected at most {FORMAT}")));
    }
    Ok(Some((snapshot, kept)))
}

/// Replaces what this node has with `snapshot`.
pub(super) async fn install(inner: &Arc<Inner>, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let options = &inner.options;
    let partial = options.folder.join(EmbeddedInbox::FILE).with_extension("part");
    let digest = snapshot.digest.parse::<Digest>();
    let digest =
        digest.map_err(|error: wasm_fn_core::DigestError| SnapshotError::Malformed(error.to_string()))?;
    options.components.get(digest, &partial).await?;
    options.replica.replace_with(partial).await?;
    inner.flights().clear();
    let place = options.replica.applied().await?;
    if place.sequence != snapshot.sequence {
        let (found, expected) = (place.sequence, snapshot.sequence);
        let reason = format!("it has everything up to change {found}, expected {expected}");
        return Err(SnapshotError::Malformed(reason));
    }
    tracing::info!(sequence = place.sequence, bytes = snapshot.bytes, "inbox begins from a snapshot");
    inner.place.send_replace(place);
    Ok(())
}

/// Makes snapshots when it is time, until `stop`.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    // What the log had at the last snapshot, if this process made it.
    let mut before: Option<u64> = None;
    loop {
        let wait = LOOK_EVERY.mul_f64(0.9 + 0.2 * rand::random::<f64>());
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
        if inner.holdings.of(0).is_none() {
            before = None;
            continue;
        }
        let bytes = *inner.log_bytes.borrow();
        let grown = bytes.saturating_sub(*before.get_or_insert(0));
        if grown < GROWTH_MIN {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            made = make(&inner, grown) => match made {
                Ok(true) => {
                    sleep(LOOK_EVERY).await;
                    before = Some(*inner.log_bytes.borrow());
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "no snapshot of the inbox was made"),
            }
        }
    }
}

/// Makes a snapshot, if the log has grown by enough. Returns whether it did.
async fn make(inner: &Arc<Inner>, grown: u64) -> Result<bool, SnapshotError> {
    let options = &inner.options;
    let session = options.link.session().ok_or(AskError::Lost)?;
    let former = read_kept(&session, &options.names).await?;
    if former.as_ref().is_some_and(|(former, _)| grown < GROWTH.saturating_mul(former.bytes)) {
        return Ok(false);
    }
    let folder = options.folder.join("snapshot.part");
    let copied = copy(inner, &folder, former.as_ref().map_or(0, |(_, kept)| kept.sequence)).await;
    let _ = tokio::fs::remove_dir_all(&folder).await;
    let snapshot = copied?;
    let purge = serde_json::json!({ "seq": snapshot.sequence.saturating_sub(MESSAGES_KEPT) + 1 });
    let what = format!("STREAM.PURGE.{}", options.names.events);
    let purged = session.ask::<serde_json::Value>(&what, &purge, PATIENCE).await?;
    purged.map_err(|error| SnapshotError::Refused(error.to_string()))?;
    if let Some((former, _)) = former.filter(|(former, _)| former.digest != snapshot.digest)
        && let Ok(digest) = former.digest.parse()
    {
        options.components.delete(digest).await?;
    }
    tracing::info!(sequence = snapshot.sequence, bytes = snapshot.bytes, "snapshot of the inbox is made");
    Ok(true)
}

async fn copy(inner: &Arc<Inner>, folder: &Path, former: u64) -> Result<Snapshot, SnapshotError> {
    let options = &inner.options;
    let session = options.link.session().ok_or(AskError::Lost)?;
    let _ = tokio::fs::remove_dir_all(folder).await;
    options.replica.copy(folder.to_owned(), || {}).await?;
    let (opened, limits) = (folder.to_owned(), options.limits.clone());
    let opened = tokio::task::spawn_blocking(move || EmbeddedInbox::open(&opened, limits)).await;
    let opened = opened.map_err(|error| SnapshotError::Malformed(error.to_string()))??;
    let place = opened.applied().await?;
    opened.release().await;
    let path = folder.join(EmbeddedInbox::FILE);
    let (digest, bytes) = sha256_of(&path).await?;
    options.components.put(digest, &path).await?;
    let snapshot = Snapshot { format: FORMAT, sequence: place.sequence, digest: digest.to_string(), bytes };
    let payload =
        serde_json::to_vec(&snapshot).map_err(|error| SnapshotError::Malformed(error.to_string()))?;
    let headers = [(EXPECTED_LAST_OF_SUBJECT, former.to_string())];
    match session.put(&options.names.snapshot, &headers, payload.into(), PATIENCE).await? {
        Ok(_) => Ok(snapshot),
        Err(error) => {
            if is_overtaken(&error) {
                options.components.delete(digest).await?;
            }
            Err(SnapshotError::Refused(error.to_string()))
        }
    }
}

async fn sha256_of(path: &Path) -> Result<(Digest, u64), std::io::Error> {
    let (mut file, mut hash, mut piece) =
        (tokio::fs::File::open(path).await?, Sha256::new(), vec![0; 64 << 10]);
    let mut bytes = 0;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Which snapshot there is, as this format has been written; another release may read it, or may have
    /// written it.
    const WRITTEN: &str = include_str!("../../formats/1/inbox.json");

    #[test]
    fn what_is_said_of_a_snapshot_is_written_and_read_as_ever() {
        let snapshot = Snapshot { format: FORMAT, sequence: 7, digest: "0".repeat(64), bytes: 4096 };
        assert_eq!(serde_json::to_string(&snapshot).unwrap(), WRITTEN.trim_end());
        // A later release that keeps the format may say more.
        let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
        for text in [WRITTEN, &more] {
            assert_eq!(serde_json::from_str::<Snapshot>(text).unwrap(), snapshot);
        }
    }
}
