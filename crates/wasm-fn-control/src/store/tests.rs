//! Both stores keep what they are given; the embedded one survives and refuses what it should.

use std::{fs, path::Path};

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use wasm_fn_core::{Digest, FunctionConfig, StageName};
use wasm_fn_router::Salt;

use super::*;
use crate::{
    journal::{Draft, GENESIS},
    state::{Deployment, Strategy},
};

/// The next commit: a new version of `function`.
fn next(loaded: &Loaded, function: &str) -> (Commit, Loaded) {
    let name: FunctionName = function.parse().unwrap();
    let revision = loaded.state.revision().next();
    let plan = loaded.state.plan_deploy(&Deployment {
        function: &name,
        stage: &StageName::live(),
        digest: Digest([u8::try_from(revision.0).unwrap(); 32]),
        kind: "cgi",
        config: &Arc::new(FunctionConfig::default()),
        strategy: &Strategy::AllAtOnce,
        past: None,
        report: None,
        replace: false,
        salt: Salt([u64::MAX, 1]),
        now_ms: 0,
    });
    let entry = Draft {
        revision,
        at_ms: 0,
        actor: "ann".to_owned(),
        origin: String::new(),
        message: None,
        change: plan.unwrap().change.unwrap(),
        previous_hash: loaded.head,
    }
    .seal();
    let mut state = loaded.state.clone();
    state.apply(&entry.change, &entry.meta());
    let function = state.stored_function(&name).unwrap().clone();
    let head = entry.hash;
    (Commit { entry, function }, Loaded { state, traps: loaded.traps.clone(), head })
}

async fn fill(store: &impl Store, functions: &[&str]) -> Loaded {
    let mut loaded = store.load().await.unwrap();
    for function in functions {
        let (commit, after) = next(&loaded, function);
        store.commit(commit).await.unwrap();
        loaded = after;
    }
    loaded
}

/// Traps of a version that there is, of one that there is not, and of a function that is gone, are kept as long as the
/// version is.
async fn keeps_traps(store: &impl Store) {
    let loaded = fill(store, &["a"]).await;
    let version =
        |name: &str, number| (name.parse().unwrap(), StageName::live(), VersionNo::new(number).unwrap());
    let [known, missing, gone] = [version("a", 1), version("a", 7), version("b", 1)];
    let traps = KnownTraps::from([(known.clone(), vec![1, u64::MAX]), (missing, vec![2]), (gone, vec![3])]);
    store.keep_traps(traps).await.unwrap();
    store.keep_traps(KnownTraps::from([(known.clone(), vec![1, u64::MAX, 4])])).await.unwrap();
    let after = store.load().await.unwrap();
    assert_eq!(after.traps, KnownTraps::from([(known, vec![1, u64::MAX, 4])]));
    assert_eq!((after.state, after.head), (loaded.state, loaded.head), "observations are no change");
}

async fn keeps_everything(store: &impl Store) {
    let empty = store.load().await.unwrap();
    assert_eq!(empty, Loaded { state: State::default(), traps: KnownTraps::new(), head: GENESIS });
    let expected = fill(store, &["a", "b", "a", "a-b"]).await;
    assert_eq!(store.load().await.unwrap(), expected);
    assert_eq!(store.verify().await.unwrap(), Revision(4));

    let revisions = async |function: Option<&str>, before: Option<u64>, limit| {
        let function = function.map(|name| name.parse().unwrap());
        let range = JournalRange { function, before: before.map(Revision), limit };
        let entries = store.journal(range).await.unwrap();
        entries.iter().map(|entry| entry.revision.0).collect::<Vec<_>>()
    };
    assert_eq!(revisions(None, None, 9).await, [4, 3, 2, 1]);
    assert_eq!(revisions(None, Some(3), 1).await, [2]);
    assert_eq!(revisions(Some("a"), None, 9).await, [3, 1]);
    assert_eq!(revisions(Some("a"), None, 1).await, [3]);
    assert_eq!(revisions(Some("a"), Some(3), 9).await, [1]);
    assert_eq!(revisions(Some("a"), Some(0), 9).await, [0; 0]);
    assert_eq!(revisions(Some("zzz"), None, 9).await, [0; 0]);

    let mut replayed = State::default();
    let all = JournalRange { function: None, before: None, limit: 9 };
    for entry in store.journal(all).await.unwrap().iter().rev() {
        replayed.apply(&entry.change, &entry.meta());
    }
    assert_eq!(replayed, expected.state);

    let (stale, _) = next(&empty, "a");
    let conflict = store.commit(stale).await.unwrap_err();
    assert_eq!(conflict.to_string(), "state is at revision 4, expected 0");
    assert_eq!(store.load().await.unwrap(), expected);
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

/// What a crash leaves: the file as it is while the database is open.
#[tokio::test]
async fn committed_changes_survive_a_process_that_never_closed() {
    let (folder, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let expected = fill(&store, &["a", "b", "a"]).await;
    fs::copy(folder.path().join("state.redb"), crashed.path().join("state.redb")).unwrap();
    let recovered = EmbeddedStore::open(crashed.path()).unwrap();
    assert_eq!(recovered.load().await.unwrap(), expected);
    assert_eq!(recovered.verify().await.unwrap(), Revision(3));
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
    let (commit, _) = next(&before, "a");
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
        let expected = "data directory /data is not writable, expected to be allowed to create files in it";
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
    assert!(error.ends_with("has format 7, this program knows formats up to 1"), "{error}");
}

#[tokio::test]
async fn corrupt_function_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a"]).await;
    let functions: TableDefinition<'_, &str, &str> = TableDefinition::new("functions");
    write(folder.path(), |transaction| {
        transaction.open_table(functions).unwrap().insert("a", "{\"next_version\":7").unwrap();
    });
    let error = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap_err().to_string();
    assert!(error.starts_with("table functions, key \"a\": invalid type"), "{error}");
}

#[tokio::test]
async fn revision_that_the_journal_does_not_have_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a"]).await;
    write_meta(folder.path(), "revision", 5);
    let error = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap_err().to_string();
    assert_eq!(error, "table meta, key \"revision\": is 5, but the journal ends at 1");
}

#[tokio::test]
async fn tampered_journal_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fill(&EmbeddedStore::open(folder.path()).unwrap(), &["a", "a"]).await;
    let journal: TableDefinition<'_, u64, &str> = TableDefinition::new("journal");
    write(folder.path(), |transaction| {
        let mut journal = transaction.open_table(journal).unwrap();
        let json = journal.get(1).unwrap().unwrap().value().replace("ann", "bob");
        journal.insert(1, json.as_str()).unwrap();
    });
    let error = EmbeddedStore::open(folder.path()).unwrap().verify().await.unwrap_err();
    assert_eq!(error.to_string(), "journal entry 1 does not have the hash it states: it was changed");
}
