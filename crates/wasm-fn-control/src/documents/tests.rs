//! Tests that states survive their documents, and that errors name a damaged document.

mod fuzzing;

use wasm_fn_core::{Digest, FunctionConfig};
use wasm_fn_router::Salt;
use wasm_fn_store::{EmbeddedStore, MemoryStore};

use super::*;
use crate::{
    journal::Entry,
    state::{Deployment, ReleaseStrategy},
};

/// The next commit, of a new version of `function`.
fn next(loaded: &LoadedState, function: &str) -> (Commit, LoadedState) {
    let name: FunctionName = function.parse().unwrap();
    let revision = loaded.state.revision().next();
    let plan = loaded.state.plan_deploy(&Deployment {
        function: &name,
        stage: &StageName::live(),
        digest: Digest([u8::try_from(revision.0).unwrap(); 32]),
        kind: "cgi",
        config: &Arc::new(FunctionConfig::default()),
        stage_config: None,
        strategy: &ReleaseStrategy::AllAtOnce,
        past: None,
        report: None,
        replace: false,
        allow_new: false,
        provenance: None,
        imports: None,
        salt: Salt([u64::MAX, 1]),
        now_ms: 0,
    });
    let entry = Entry {
        revision,
        at_ms: 0,
        actor: "ann".to_owned(),
        token: None,
        origin: String::new(),
        node: None,
        message: None,
        change: plan.unwrap().change.unwrap().into(),
        previous_hash: loaded.head,
        hash: GENESIS,
    }
    .sealed();
    let mut state = loaded.state.clone();
    state.apply(&entry.change, &entry.meta());
    let head = entry.hash;
    let (commit, traps, token_uses) = (commit(&entry, &state), loaded.traps.clone(), TokenUses::new());
    (commit, LoadedState { state, traps, token_uses, head })
}

async fn fill(store: &impl Store, functions: &[&str]) -> LoadedState {
    let mut loaded = load(store).await.unwrap();
    for function in functions {
        let (next, after) = next(&loaded, function);
        store.commit(next).await.unwrap();
        loaded = after;
    }
    loaded
}

/// Traps are kept only as long as their version exists. Here one version exists, one does not, and one
/// belonged to a function that is gone.
async fn keeps_traps(store: &impl Store) {
    let loaded = fill(store, &["a"]).await;
    let version =
        |name: &str, number| (name.parse().unwrap(), StageName::live(), VersionNo::new(number).unwrap());
    let [known, missing, gone] = [version("a", 1), version("a", 7), version("b", 1)];
    let traps = KnownTraps::from([(known.clone(), vec![1, u64::MAX]), (missing, vec![2]), (gone, vec![3])]);
    store.keep_traps(traps).await.unwrap();
    store.keep_traps(KnownTraps::from([(known.clone(), vec![1, u64::MAX, 4])])).await.unwrap();
    let after = load(store).await.unwrap();
    assert_eq!(after.traps, KnownTraps::from([(known, vec![1, u64::MAX, 4])]));
    assert_eq!((after.state, after.head), (loaded.state, loaded.head), "observations are no change");
}

#[tokio::test]
async fn traps_are_kept_as_long_as_their_version_is() {
    keeps_traps(&MemoryStore::new()).await;
    let folder = tempfile::tempdir().unwrap();
    keeps_traps(&EmbeddedStore::open(folder.path()).unwrap()).await;
}

#[tokio::test]
async fn state_is_what_its_journal_replays_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    let empty = load(&store).await.unwrap();
    let (state, traps, token_uses) = (State::default(), KnownTraps::new(), TokenUses::new());
    assert_eq!(empty, LoadedState { state, traps, token_uses, head: GENESIS });
    let expected = fill(&store, &["a", "b", "a", "a-b"]).await;
    assert_eq!(load(&store).await.unwrap(), expected);
    assert_eq!(verify_journal(&store, None).await.unwrap().revision, Revision(4));

    let mut replayed = State::default();
    let all = JournalRange { function: None, before: None, limit: 9 };
    for entry in journal(&store, all).await.unwrap().iter().rev() {
        replayed.apply(&entry.change, &entry.meta());
    }
    assert_eq!(replayed, expected.state);
}

#[tokio::test]
async fn corrupt_function_is_named() {
    let store = MemoryStore::new();
    let (commit, _) = next(&load(&store).await.unwrap(), "a");
    store.commit(Commit { document: Some("{\"next_version\":7".to_owned()), ..commit }).await.unwrap();
    let error = load(&store).await.unwrap_err().to_string();
    assert!(error.starts_with("table functions, key \"a\": invalid type"), "{error}");
}

#[tokio::test]
async fn tampered_journal_is_noticed() {
    let store = MemoryStore::new();
    let (first, after) = next(&load(&store).await.unwrap(), "a");
    let (second, _) = next(&after, "a");
    let record = first.record.replace("ann", "bob");
    store.commit(Commit { record, ..first }).await.unwrap();
    store.commit(second).await.unwrap();
    let error = verify_journal(&store, None).await.unwrap_err();
    assert_eq!(error.to_string(), "journal entry 1 does not match its hash: it was changed");
}
