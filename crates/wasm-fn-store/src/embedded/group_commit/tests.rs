//! Tests of group commit: operations are applied in order, share transactions, and fail alone or together.

use std::sync::{
    Mutex,
    atomic::AtomicUsize,
    mpsc::{SyncSender, sync_channel},
};

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::*;

const ROWS: TableDefinition<'static, &str, u64> = TableDefinition::new("rows");

fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(ROWS)?;
    Ok(())
}

fn open(folder: &std::path::Path) -> GroupCommit {
    open_counting(folder, &Arc::new(AtomicUsize::new(0)))
}

/// Opens the database in `folder`, and counts in `reopened` how often the writer opens it again.
fn open_counting(folder: &std::path::Path, reopened: &Arc<AtomicUsize>) -> GroupCommit {
    let file = DatabaseFile { path: folder.join("rows.redb"), format: 1, prepare };
    let (database, reopened) = (file.open().unwrap(), Arc::clone(reopened));
    let reopened = Box::new(move |_: &Database| {
        reopened.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    GroupCommit::start(file, database, Hooks { sweep: |_| Ok(Swept::All), reopened }).unwrap()
}

fn insert(
    name: &'static str,
    value: u64,
) -> impl FnMut(&WriteTransaction) -> Result<(), redb::Error> + Send + 'static {
    move |transaction| {
        transaction.open_table(ROWS)?.insert(name, value)?;
        Ok(())
    }
}

fn get(group: &GroupCommit, name: &str) -> Option<u64> {
    let read = |database: &Database| {
        let rows = database.begin_read()?.open_table(ROWS)?;
        Ok(rows.get(name)?.map(|value| value.value()))
    };
    group.read(read).unwrap()
}

/// An operation that holds the writer until the sender is dropped, so that others wait together.
async fn hold(group: &GroupCommit) -> (tokio::task::JoinHandle<Result<(), StoreError>>, SyncSender<()>) {
    let (release, held) = sync_channel(0);
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (group, held, mut begun) = (group.clone(), Mutex::new(held), Some(begun));
    let apply = move |_: &WriteTransaction| {
        begun.take().map(|begun| begun.send(()));
        let _ = held.lock().unwrap().recv();
        Ok(())
    };
    let task = tokio::spawn(async move { group.write(Urgency::Durable, 0, apply, |()| {}).await });
    begins.await.unwrap();
    (task, release)
}

/// Polls `future` until it is queued.
async fn queue<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let task = tokio::spawn(future);
    // The task runs until it waits for its reply.
    tokio::task::yield_now().await;
    task
}

fn corrupt() -> redb::Error {
    redb::StorageError::Corrupted("a test".to_owned()).into()
}

#[tokio::test]
async fn file_is_for_its_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let _group = open(folder.path());
    let metadata = std::fs::metadata(folder.path().join("rows.redb")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn conditions_hold_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path());
    let added = (0..64).map(|_| {
        let group = group.clone();
        tokio::spawn(async move {
            let apply = |transaction: &WriteTransaction| {
                let mut rows = transaction.open_table(ROWS)?;
                let found = rows.get("n")?.map_or(0, |value| value.value());
                rows.insert("n", found + 1)?;
                Ok(found)
            };
            group.write(Urgency::Durable, 0, apply, |_| {}).await.unwrap()
        })
    });
    let mut found = futures_util::future::try_join_all(added).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(0..64));
    drop(group);
    assert_eq!(get(&open(folder.path()), "n"), Some(64));
}

#[tokio::test]
async fn broken_transaction_fails_whole_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let reopened = Arc::new(AtomicUsize::new(0));
    let group = open_counting(folder.path(), &reopened);
    let write = |name, value| {
        let group = group.clone();
        queue(async move { group.write(Urgency::Durable, 0, insert(name, value), |()| {}).await })
    };
    let (held, release) = hold(&group).await;
    let good = write("a", 1).await;
    let broken = {
        let group = group.clone();
        let apply = |_: &WriteTransaction| Err::<(), _>(corrupt());
        queue(async move { group.write(Urgency::Durable, 0, apply, |()| {}).await }).await
    };
    drop(release);
    held.await.unwrap().unwrap();
    for failed in [good, broken] {
        let error = failed.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("rows.redb") && error.contains("a test"), "{error}");
    }
    assert_eq!(get(&group, "a"), None);
    assert_eq!(reopened.load(Ordering::Relaxed), 1);
    // Refused as long as opening took, which is over by the time that a few of these have failed.
    while let Err(error) = group.write(Urgency::Durable, 0, insert("a", 2), |()| {}).await {
        assert!(error.to_string().contains("a test"), "{error}");
    }
    assert_eq!(get(&group, "a"), Some(2));
}

#[tokio::test]
async fn deferred_operation_waits_for_another_and_outlives_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path());
    let (done, is_done) = tokio::sync::oneshot::channel();
    let (held, release) = hold(&group).await;
    group.defer(insert("late", 1), move |()| done.send(()).unwrap()).await.unwrap();
    let broken = {
        let group = group.clone();
        let apply = |_: &WriteTransaction| Err::<(), _>(corrupt());
        queue(async move { group.write(Urgency::Durable, 0, apply, |()| {}).await }).await
    };
    drop(release);
    held.await.unwrap().unwrap();
    broken.await.unwrap().unwrap_err();
    is_done.await.unwrap();
    assert_eq!(get(&group, "late"), Some(1));
}

#[tokio::test]
async fn what_may_not_wait_goes_ahead_of_many_that_may() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path());
    let (mut went_ahead, mut tries) = (false, 0);
    // On a machine that is slow enough, the time of those that may wait can be over as well.
    while !went_ahead && tries < 20 {
        tries += 1;
        let (done, mut is_done) = tokio::sync::oneshot::channel();
        let (held, release) = hold(&group).await;
        for _ in 0..DEFERRED_ALONG_MAX {
            group.defer(insert("some", tries), |()| {}).await.unwrap();
        }
        group.defer(insert("late", tries), move |()| done.send(()).unwrap()).await.unwrap();
        let urgent = {
            let group = group.clone();
            queue(async move { group.write(Urgency::Durable, 0, insert("urgent", 1), |()| {}).await }).await
        };
        drop(release);
        held.await.unwrap().unwrap();
        urgent.await.unwrap().unwrap();
        went_ahead = is_done.try_recv().is_err();
        if went_ahead {
            is_done.await.unwrap();
        }
        assert_eq!((get(&group, "some"), get(&group, "late")), (Some(tries), Some(tries)));
    }
    assert!(went_ahead, "in none of {tries} tries");
}

#[tokio::test]
async fn deferred_operation_that_cannot_work_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path());
    group.defer(|_: &WriteTransaction| Err::<(), _>(corrupt()), |()| {}).await.unwrap();
    while group.write(Urgency::Durable, 0, insert("a", 1), |()| {}).await.is_err() {}
    assert_eq!(get(&group, "a"), Some(1));
}

#[tokio::test]
async fn closing_writes_what_could_have_waited() {
    let folder = tempfile::tempdir().unwrap();
    let group = open(folder.path());
    group.write(Urgency::Visible, 0, insert("seen", 1), |()| {}).await.unwrap();
    assert_eq!(get(&group, "seen"), Some(1));
    group.defer(insert("late", 2), |()| {}).await.unwrap();
    drop(group);
    let group = open(folder.path());
    assert_eq!((get(&group, "seen"), get(&group, "late")), (Some(1), Some(2)));
}

#[tokio::test]
async fn released_file_is_free_for_others_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let reopened = Arc::new(AtomicUsize::new(0));
    let group = open_counting(folder.path(), &reopened);
    group.write(Urgency::Visible, 0, insert("ours", 1), |()| {}).await.unwrap();
    group.release().await;
    let error = group.write(Urgency::Durable, 0, insert("ours", 2), |()| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::Released(_)), "{error}");
    let other = open(folder.path());
    assert_eq!(get(&other, "ours"), Some(1));
    assert!(matches!(group.take_back().await.unwrap_err(), StoreError::InUse(_)));
    other.write(Urgency::Durable, 0, insert("theirs", 3), |()| {}).await.unwrap();
    drop(other);
    group.take_back().await.unwrap();
    assert_eq!(reopened.load(Ordering::Relaxed), 1);
    assert_eq!((get(&group, "ours"), get(&group, "theirs")), (Some(1), Some(3)));
    group.write(Urgency::Durable, 0, insert("ours", 4), |()| {}).await.unwrap();
}

#[tokio::test]
async fn newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let file = DatabaseFile { path: folder.path().join("rows.redb"), format: 0, prepare };
    let Err(error) = file.open() else { panic!("a newer format was opened") };
    assert!(
        error.to_string().ends_with("has format 1, expected at most 0, the newest that this program knows")
    );
}
