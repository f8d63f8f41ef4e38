//! Backups of a node that changes meanwhile.

use std::io::Read as _;

use wasm_fn_store::EmbeddedStore;

use super::*;
use crate::documents;

/// The state in a backup's file, opened as a node would.
async fn opened(backup: &mut Backup) -> State {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    backup.state.read_to_end(&mut bytes).unwrap();
    std::fs::write(folder.path().join(EmbeddedStore::FILE), bytes).unwrap();
    let store = EmbeddedStore::open(folder.path()).unwrap();
    assert_eq!(documents::verify_journal(&store, None).await.unwrap().revision, backup.revision);
    documents::stored_state(&store).await.unwrap()
}

#[tokio::test]
async fn backup_is_the_state_at_its_revision_with_every_component() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("other", b"2", ReleaseStrategy::AllAtOnce).await.unwrap();
    let before = node.control.state();
    let mut backup = node.control.backup().await.unwrap();
    node.deploy("hello", b"3", ReleaseStrategy::AllAtOnce).await.unwrap();
    assert_eq!((backup.revision, backup.functions), (before.revision(), 2));
    assert_eq!(opened(&mut backup).await, *before);
    let contents: Vec<_> = backup.components.iter().map(|(_, path)| std::fs::read(path).unwrap()).collect();
    assert_eq!(contents.len(), 2);
    assert!(contents.contains(&b"1".to_vec()) && contents.contains(&b"2".to_vec()), "{contents:?}");
}

#[tokio::test]
async fn components_of_a_backup_stay_until_it_is_dropped() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let backup = node.control.backup().await.unwrap();
    node.control.delete(name("hello"), note()).await.unwrap();
    assert!(backup.components[0].1.exists());
    drop(backup);
    while node.components() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn component_that_is_used_again_stays_after_the_backup() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    let backup = node.control.backup().await.unwrap();
    node.control.delete(name("hello"), note()).await.unwrap();
    node.deploy("other", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("third", b"3", ReleaseStrategy::AllAtOnce).await.unwrap();
    drop(backup);
    // A second backup has its place only after the first one is over.
    let places = [node.control.backup().await.unwrap(), node.control.backup().await.unwrap()];
    assert_eq!(places[0].components.len(), 2);
    assert!(places[0].components.iter().all(|(_, path)| path.exists()));
}

#[tokio::test]
async fn more_backups_than_allowed_are_refused() {
    let node = Node::start().await;
    let first = node.control.backup().await.unwrap();
    let _second = node.control.backup().await.unwrap();
    let refused = node.control.backup().await.unwrap_err();
    assert_eq!(refused.to_string(), "2 backups are under way, expected at most 2");
    drop(first);
    while node.control.backup().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn node_that_handed_its_state_over_makes_no_backup() {
    let node = Node::start().await;
    node.control.hand_over().await;
    assert!(matches!(node.control.backup().await, Err(ControlError::HandedOver)));
    assert_eq!(node.components(), 0, "the folder for the copy is left");
}
