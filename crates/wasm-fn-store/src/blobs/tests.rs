//! Tests of blobs: they are stored and removed as a whole.

use futures_util::stream;

use super::*;

const BYTES_MAX: u64 = 100;

fn blobs(folder: &Path) -> Arc<Blobs> {
    Arc::new(Blobs::open(folder, BYTES_MAX).unwrap())
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn chunks(bytes: &'static [u8]) -> impl Stream<Item = Result<Bytes, String>> {
    stream::iter(bytes.chunks(7).map(|chunk| Ok(Bytes::from_static(chunk))))
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder.join("blobs")).unwrap().count()
}

#[tokio::test]
async fn stored_bytes_are_found_by_their_digest() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let digest = digest(b"hello, component");
    assert_eq!(blobs.find(digest).await.unwrap(), None);
    assert_eq!(blobs.size_bytes(digest).await.unwrap(), None);
    for _ in 0..2 {
        assert_eq!(blobs.put(digest, chunks(b"hello, component")).await.unwrap(), 16);
    }
    let path = blobs.find(digest).await.unwrap().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"hello, component");
    assert_eq!(blobs.size_bytes(digest).await.unwrap(), Some(16));
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn refused_uploads_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let right = digest(b"right");
    let error = blobs.put(right, chunks(b"wrong")).await.unwrap_err();
    assert!(matches!(error, PutError::Digest { expected, .. } if expected == right));
    let error = blobs.put(right, chunks(&[0; 101])).await.unwrap_err();
    assert!(matches!(error, PutError::TooLarge { bytes_max: BYTES_MAX }));
    let broken = stream::iter([Ok(Bytes::from_static(b"ri")), Err("reset")]);
    let error = blobs.put(right, broken).await.unwrap_err();
    assert_eq!(error.to_string(), "upload ended early: reset");
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn largest_blob_fits() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(blobs(folder.path()).put(digest(&[0; 100]), chunks(&[0; 100])).await.unwrap(), 100);
}

#[tokio::test]
async fn dropped_upload_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let endless = chunks(b"some").chain(stream::pending());
    {
        let mut put = std::pin::pin!(blobs.put(digest(b"some"), endless));
        // Polled until the draft is on disk.
        while files(folder.path()) == 0 {
            tokio::select! {
                biased;
                _ = put.as_mut() => panic!("the upload never ends"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    assert_eq!(files(folder.path()), 0);
}

#[tokio::test]
async fn drafts_of_a_crash_are_removed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let first = blobs(folder.path());
    first.put(digest(b"kept"), chunks(b"kept")).await.unwrap();
    fs::write(folder.path().join("blobs/draft-0123"), b"half").unwrap();
    blobs(folder.path());
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn pinned_blobs_are_not_collected() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let (pinned, other) = (digest(b"pinned"), digest(b"other"));
    blobs.put(pinned, chunks(b"pinned")).await.unwrap();
    blobs.put(other, chunks(b"other")).await.unwrap();
    let (one, two) = (blobs.pin(pinned), blobs.pin(pinned));
    drop(one);
    blobs.collect([pinned, other, digest(b"never there")]).unwrap();
    assert!(blobs.find(pinned).await.unwrap().is_some());
    assert_eq!(blobs.find(other).await.unwrap(), None);
    drop(two);
    blobs.collect([pinned]).unwrap();
    assert_eq!(blobs.find(pinned).await.unwrap(), None);
}

#[tokio::test]
async fn spared_blobs_are_collected_later_unless_somebody_wants_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let all = [&b"never"[..], b"spared", b"stored", b"found", b"measured"];
    let [never, spared, stored, found, measured] = all.map(digest);
    for contents in all {
        blobs.put(digest(contents), chunks(contents)).await.unwrap();
    }
    let pins: Vec<_> = all.iter().map(|contents| blobs.pin(digest(contents))).collect();
    blobs.collect([spared, stored, found, measured]).unwrap();
    blobs.collect_spared([spared].into()).await.unwrap();
    assert_eq!(files(folder.path()), all.len(), "they are still pinned");
    drop(pins);
    blobs.put(stored, chunks(b"stored")).await.unwrap();
    blobs.find(found).await.unwrap();
    blobs.size_bytes(measured).await.unwrap();
    blobs.collect_spared(all.map(digest).into()).await.unwrap();
    assert_eq!(blobs.find(spared).await.unwrap(), None);
    for kept in [never, stored, found, measured] {
        assert!(blobs.find(kept).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn sweep_removes_what_nobody_uses_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let used = digest(b"used");
    blobs.put(used, chunks(b"used")).await.unwrap();
    blobs.put(digest(b"unused"), chunks(b"unused")).await.unwrap();
    fs::write(folder.path().join("blobs/README"), b"not ours").unwrap();
    blobs.sweep(|digest| digest == used).unwrap();
    assert_eq!(files(folder.path()), 2);
    assert!(blobs.find(used).await.unwrap().is_some());
}

#[test]
fn scratch_folders_are_removed_on_drop_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = blobs(folder.path());
    let scratch = blobs.scratch().unwrap();
    fs::write(scratch.path().join("file"), b"for a while").unwrap();
    drop(scratch);
    assert_eq!(files(folder.path()), 0);
    std::mem::forget(blobs.scratch().unwrap());
    assert_eq!(files(folder.path()), 1);
    Blobs::open(folder.path(), BYTES_MAX).unwrap();
    assert_eq!(files(folder.path()), 0);
}
