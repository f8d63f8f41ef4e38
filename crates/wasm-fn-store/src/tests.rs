//! Tests of both stores: they keep what they are given. The embedded store survives a restart and refuses bad
//! state.

use std::{fs, path::Path};

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};

use super::*;

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

/// The commit of `function` after `revision`.
fn next(revision: Revision, function: &str) -> Commit {
    let revision = revision.next();
    Commit {
        revision,
        subject: Subject::Function(name(function)),
        document: Some(format!("{function} at {}", revision.0)),
        record: format!("record {}", revision.0),
        forgets_traps: false,
    }
}

async fn fill(store: &impl Store, functions: &[&str]) -> Loaded {
    for function in functions {
        let revision = store.load().await.unwrap().revision;
        store.commit(next(revision, function)).await.unwrap();
    }
    store.load().await.unwrap()
}

async fn keeps_traps(store: &impl Store) {
    let loaded = fill(store, &["a"]).await;
    let version =
        |function: &str, number| (name(function), StageName::live(), VersionNo::new(number).unwrap());
    let [of_a, of_b] = [version("a", 1), version("b", 7)];
    let traps = KnownTraps::from([(of_a.clone(), vec![1, u64::MAX]), (of_b.clone(), vec![2])]);
    store.keep_traps(traps).await.unwrap();
    store.keep_traps(KnownTraps::from([(of_a.clone(), vec![1, u64::MAX, 4])])).await.unwrap();
    let after = store.load().await.unwrap();
    assert_eq!(after.traps, KnownTraps::from([(of_a, vec![1, u64::MAX, 4]), (of_b.clone(), vec![2])]));
    assert_eq!((after.revision, after.last), (loaded.revision, loaded.last), "observations are no change");
    store.commit(Commit { forgets_traps: true, ..next(loaded.revision, "a") }).await.unwrap();
    assert_eq!(store.load().await.unwrap().traps, KnownTraps::from([(of_b, vec![2])]));
}

async fn keeps_everything(store: &impl Store) {
    let empty = Loaded {
        revision: Revision(0),
        functions: BTreeMap::new(),
        access: None,
        token_uses: TokenUses::new(),
        traps: KnownTraps::new(),
        last: None,
    };
    assert_eq!(store.load().await.unwrap(), empty);
    let expected = fill(store, &["a", "b", "a", "a-b"]).await;
    let documents = [("a", "a at 3"), ("a-b", "a-b at 4"), ("b", "b at 2")];
    let documents = documents.map(|(function, document)| (name(function), document.to_owned()));
    assert_eq!(expected.functions, BTreeMap::from(documents));
    let last = Record { revision: Revision(4), text: "record 4".to_owned() };
    assert_eq!((expected.revision, &expected.last), (Revision(4), &Some(last)));

    let revisions = async |function: Option<&str>, before: Option<u64>, limit| {
        let range = JournalRange { function: function.map(name), before: before.map(Revision), limit };
        let records = store.journal(range).await.unwrap();
        assert!(records.iter().all(|record| record.text == format!("record {}", record.revision.0)));
        records.iter().map(|record| record.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(revisions(None, None, 9).await, [4, 3, 2, 1]);
    assert_eq!(revisions(None, Some(3), 1).await, [2]);
    assert_eq!(revisions(Some("a"), None, 9).await, [3, 1]);
    assert_eq!(revisions(Some("a"), None, 1).await, [3]);
    assert_eq!(revisions(Some("a"), Some(3), 9).await, [1]);
    assert_eq!(revisions(Some("a"), Some(0), 9).await, [0; 0]);
    assert_eq!(revisions(Some("zzz"), None, 9).await, [0; 0]);
    let after = async |revision, limit| {
        let records = store.journal_after(Revision(revision), limit).await.unwrap();
        records.iter().map(|record| record.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(after(0, 3).await, [1, 2, 3]);
    assert_eq!(after(2, 9).await, [3, 4]);
    assert_eq!(after(4, 9).await, [0; 0]);

    let conflict = store.commit(next(Revision(0), "a")).await.unwrap_err();
    assert_eq!(conflict.to_string(), "state is at revision 4, expected 0");
    assert_eq!(store.load().await.unwrap(), expected);
}

/// The commit about access after `revision`.
fn next_access(revision: Revision, document: Option<&str>) -> Commit {
    let revision = revision.next();
    Commit {
        revision,
        subject: Subject::Access,
        document: document.map(str::to_owned),
        record: format!("record {}", revision.0),
        forgets_traps: false,
    }
}

async fn keeps_access(store: &impl Store) {
    let loaded = fill(store, &["a"]).await;
    assert_eq!(loaded.access, None);
    store.commit(next_access(loaded.revision, Some("tokens"))).await.unwrap();
    store.commit(next_access(Revision(2), None)).await.unwrap();
    let after = store.load().await.unwrap();
    assert_eq!(after.access.as_deref(), Some("tokens"), "a record alone changes no document");
    assert_eq!((after.revision, after.functions), (Revision(3), loaded.functions));
    let uses = TokenUses::from([("0a".to_owned(), 5), ("0b".to_owned(), 6)]);
    store.keep_token_uses(uses).await.unwrap();
    let uses = TokenUses::from([("0b".to_owned(), 7)]);
    store.keep_token_uses(uses.clone()).await.unwrap();
    assert_eq!(store.load().await.unwrap().token_uses, uses);

    let revisions = async |function: Option<&str>| {
        let range = JournalRange { function: function.map(name), before: None, limit: 9 };
        let records = store.journal(range).await.unwrap();
        records.iter().map(|record| record.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(revisions(None).await, [3, 2, 1]);
    assert_eq!(revisions(Some("a")).await, [1]);
    let (expected, folder) = (store.load().await.unwrap(), tempfile::tempdir().unwrap());
    store.copy(folder.path().to_owned(), || {}).await.unwrap();
    assert_eq!(EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap(), expected);
}

#[tokio::test]
async fn memory_store_keeps_access() {
    keeps_access(&MemoryStore::new()).await;
}

#[tokio::test]
async fn embedded_store_keeps_access() {
    let folder = tempfile::tempdir().unwrap();
    keeps_access(&EmbeddedStore::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn only_a_change_of_access_needs_the_newer_format() {
    let folder = tempfile::tempdir().unwrap();
    let format = || {
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        let database = Database::create(folder.path().join("state.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = transaction.open_table(meta).unwrap();
        let format = meta.get("format").unwrap().unwrap();
        format.value()
    };
    let loaded = fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a"]).await;
    assert_eq!(format(), 1, "an earlier program can still open it");
    let store = EmbeddedStore::open(folder.path()).unwrap();
    store.commit(next_access(loaded.revision, Some("tokens"))).await.unwrap();
    drop(store);
    assert_eq!(format(), 2);
}

/// Checks that a copy holds what was there at its moment, whatever is committed meanwhile.
async fn is_copied(store: &impl Store) {
    let expected = fill(store, &["a", "b", "a"]).await;
    let key = (name("a"), StageName::live(), VersionNo::new(1).unwrap());
    store.keep_traps(KnownTraps::from([(key, vec![7, 8])])).await.unwrap();
    let expected = Loaded { traps: store.load().await.unwrap().traps, ..expected };
    let folder = tempfile::tempdir().unwrap();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let copied = store.copy(folder.path().to_owned(), move || begun.send(()).unwrap());
    let committed = async {
        begins.await.unwrap();
        fill(store, &["c", "a"]).await
    };
    let (copied, after) = tokio::join!(copied, committed);
    copied.unwrap();
    assert_eq!(after.revision, Revision(5));

    let copy = EmbeddedStore::open(folder.path()).unwrap();
    assert_eq!(copy.load().await.unwrap(), expected);
    let of_a = JournalRange { function: Some(name("a")), before: None, limit: 9 };
    let records = copy.journal(of_a).await.unwrap();
    assert_eq!(records.iter().map(|record| record.revision.0).collect::<Vec<_>>(), [3, 1]);
    fill(&copy, &["d"]).await;
}

#[tokio::test]
async fn embedded_store_is_copied_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    is_copied(&EmbeddedStore::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn memory_store_is_copied_as_an_embedded_one() {
    let store = MemoryStore::new();
    let expected = fill(&store, &["a", "b", "a"]).await;
    let folder = tempfile::tempdir().unwrap();
    store.copy(folder.path().to_owned(), || {}).await.unwrap();
    assert_eq!(EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap(), expected);
}

#[tokio::test]
async fn copy_does_not_replace_a_store() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, used) =
        (EmbeddedStore::open(folder.path()).unwrap(), EmbeddedStore::open(other.path()).unwrap());
    fill(&store, &["a"]).await;
    let error = store.copy(other.path().to_owned(), || {}).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert_eq!(used.load().await.unwrap().revision, Revision(0));
}

#[tokio::test]
async fn memory_store_keeps_everything() {
    keeps_everything(&MemoryStore::new()).await;
}

#[tokio::test]
async fn memory_store_keeps_traps() {
    keeps_traps(&MemoryStore::new()).await;
}

#[tokio::test]
async fn embedded_store_keeps_traps() {
    let folder = tempfile::tempdir().unwrap();
    keeps_traps(&EmbeddedStore::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn embedded_store_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    keeps_everything(&EmbeddedStore::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn committed_changes_are_there_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let expected = fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a", "b"]).await;
    assert_eq!(EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap(), expected);
}

/// The file as a crash leaves it: copied while the database is open.
#[tokio::test]
async fn committed_changes_survive_a_process_that_never_closed() {
    let (folder, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let expected = fill(&store, &["a", "b", "a"]).await;
    fs::copy(folder.path().join("state.redb"), crashed.path().join("state.redb")).unwrap();
    let recovered = EmbeddedStore::open(crashed.path()).unwrap();
    assert_eq!(recovered.load().await.unwrap(), expected);
    fill(&recovered, &["c"]).await;
}

#[tokio::test]
async fn file_torn_short_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a", "b"]).await;
    let path = folder.path().join("state.redb");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1000).unwrap();
    assert!(EmbeddedStore::open(folder.path()).is_err());
    fs::write(&path, b"this is no database").unwrap();
    assert!(matches!(EmbeddedStore::open(folder.path()), Err(StoreError::Database { .. })));
}

/// A byte that is not what it was, wherever it is: the file is refused, or holds what it held. It is never at
/// an earlier revision.
#[tokio::test]
async fn flipped_byte_is_found_or_changes_nothing() {
    let [folder, crashed, flipped] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let expected = fill(&store, &["a", "b", "a", "c"]).await;
    let (file, copy) = (folder.path().join("state.redb"), crashed.path().join("state.redb"));
    fs::copy(&file, &copy).unwrap();
    drop(store);
    let range = || JournalRange { function: None, before: None, limit: 9 };
    let journal = EmbeddedStore::open(folder.path()).unwrap().journal(range()).await.unwrap();
    for (what, path) in [("closed", file), ("crashed", copy)] {
        let bytes = fs::read(path).unwrap();
        let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        let mut found = 0;
        for (number, at) in used.iter().copied().enumerate().step_by(used.len() / 120 + 1) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (number % 8);
            fs::write(flipped.path().join("state.redb"), damaged).unwrap();
            let Ok(store) = EmbeddedStore::open(flipped.path()) else {
                found += 1;
                continue;
            };
            assert_eq!(store.load().await.unwrap(), expected, "{what}: bit of byte {at}");
            assert_eq!(store.journal(range()).await.unwrap(), journal, "{what}: bit of byte {at}");
        }
        println!("{what}: {found} of about 120 flipped bytes are refused");
        assert!(found > 0, "{what}: nothing was refused");
    }
}

#[tokio::test]
async fn directory_in_use_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let _first = EmbeddedStore::open(folder.path()).unwrap();
    let error = EmbeddedStore::open(folder.path()).err().unwrap();
    let expected = format!("data directory {} is in use by another node", folder.path().display());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn released_store_refuses_until_it_is_taken_back_with_what_others_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let before = fill(&store, &["a"]).await;
    store.release().await;
    let commit = next(before.revision, "a");
    assert!(matches!(store.load().await, Err(StoreError::Released(_))));
    assert!(matches!(store.commit(commit).await, Err(StoreError::Released(_))));

    let other = EmbeddedStore::open(folder.path()).unwrap();
    let after = fill(&other, &["b"]).await;
    assert!(matches!(store.take_back().await, Err(StoreError::InUse(_))));
    assert!(matches!(store.load().await, Err(StoreError::Released(_))));
    drop(other);
    store.take_back().await.unwrap();
    assert_eq!(store.load().await.unwrap(), after);
    fill(&store, &["c"]).await;
}

#[tokio::test]
async fn directory_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = EmbeddedStore::open(&file.join("data")).err().unwrap();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn denied_writes_are_told_apart() {
    for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem] {
        let error = embedded::unusable(Path::new("/data"), kind.into());
        let expected = "data directory /data is not writable, expected permission to create files in it";
        assert_eq!(error.to_string(), expected);
    }
}

fn write(folder: &Path, work: impl FnOnce(&WriteTransaction)) {
    let database = Database::create(folder.join("state.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    work(&transaction);
    transaction.commit().unwrap();
}

fn write_meta(folder: &Path, key: &str, value: u64) {
    let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    write(folder, |transaction| {
        transaction.open_table(meta).unwrap().insert(key, value).unwrap();
    });
}

#[tokio::test]
async fn newer_format_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(folder.path()).unwrap());
    write_meta(folder.path(), "format", 7);
    let error = EmbeddedStore::open(folder.path()).err().unwrap().to_string();
    assert!(
        error.ends_with("has format 7, expected at most 2, the newest that this program knows"),
        "{error}"
    );
}

#[tokio::test]
async fn name_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a"]).await;
    let functions: TableDefinition<'_, &str, &str> = TableDefinition::new("functions");
    write(folder.path(), |transaction| {
        transaction.open_table(functions).unwrap().insert("A", "").unwrap();
    });
    let error = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap_err().to_string();
    assert!(error.starts_with("table functions, key \"A\": "), "{error}");
}

#[tokio::test]
async fn revision_that_the_journal_does_not_have_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a"]).await;
    write_meta(folder.path(), "revision", 5);
    let error = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap_err().to_string();
    assert_eq!(error, "table meta, key \"revision\": found 5, expected 1, where the journal ends");
}

#[tokio::test]
async fn what_another_store_is_ahead_is_taken_and_what_was_observed_stays() {
    let [behind, ahead] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (behind, ahead) =
        (EmbeddedStore::open(behind.path()).unwrap(), EmbeddedStore::open(ahead.path()).unwrap());
    fill(&behind, &["a", "b"]).await;
    fill(&ahead, &["a", "b", "a", "c"]).await;
    let last = ahead.load().await.unwrap().revision;
    ahead.commit(next_access(last, Some("tokens"))).await.unwrap();
    let key = (name("a"), StageName::live(), VersionNo::new(1).unwrap());
    let (own, theirs) = (KnownTraps::from([(key.clone(), vec![1])]), KnownTraps::from([(key, vec![2])]));
    behind.keep_traps(own.clone()).await.unwrap();
    ahead.keep_traps(theirs).await.unwrap();
    behind.advance_to(&ahead).await.unwrap();
    let expected = Loaded { traps: own, ..ahead.load().await.unwrap() };
    assert_eq!(behind.load().await.unwrap(), expected);
    for function in [None, Some(name("a"))] {
        let range = JournalRange { function, before: None, limit: 9 };
        assert_eq!(behind.journal(range.clone()).await.unwrap(), ahead.journal(range).await.unwrap());
    }
    let error = behind.advance_to(&ahead).await.unwrap_err();
    assert_eq!(error.to_string(), "state is at revision 5, expected 6");
}

#[tokio::test]
async fn commits_of_one_transaction_are_all_made_or_none_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let [first, second] = [next(Revision(0), "a"), next(Revision(1), "b")];
    let gap = store.commit_all(vec![first.clone(), second.clone(), next(Revision(3), "c")]).await;
    let expected = (Revision(3), Revision(2));
    assert!(
        matches!(gap, Err(StoreError::Conflict { expected: e, found }) if (e, found) == expected),
        "{gap:?}"
    );
    assert_eq!(store.load().await.unwrap().revision, Revision(0));
    store.commit_all(vec![first, second]).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.revision, loaded.functions.len()), (Revision(2), 2));
    store.commit_all(vec![]).await.unwrap();
}
