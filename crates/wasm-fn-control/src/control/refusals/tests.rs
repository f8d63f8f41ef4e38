//! Refusals come into the journal, counted, and no more often than is allowed.

use wasm_fn_store::JournalRange;

use super::*;
use crate::{fake::Node, state::Change};

async fn entries(node: &Node) -> Vec<Change> {
    let range = JournalRange { function: None, before: None, limit: 99 };
    node.control.journal(range).await.unwrap().into_iter().map(|entry| entry.change).collect()
}

/// Lets the task that records refusals run until nothing is left to do without waiting.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn first_refusal_is_recorded_at_once_and_a_flood_once_a_minute() {
    let node = Node::start().await;
    node.control.refused(None, "192.0.2.1".to_owned(), "wrong token".to_owned());
    settle().await;
    assert_eq!(entries(&node).await.len(), 1);
    for number in 0..10_000 {
        node.control.refused(None, format!("192.0.2.{}", number % 256), "wrong token".to_owned());
    }
    settle().await;
    assert_eq!(entries(&node).await.len(), 1, "the next is due in a minute");
    tokio::time::advance(EVERY).await;
    settle().await;
    let journal = entries(&node).await;
    assert_eq!(journal.len(), 2);
    let Change::Access(AccessChange::Refuse { refusals, others }) = &journal[0] else {
        panic!("found {:?}, expected refusals", journal[0]);
    };
    assert_eq!(refusals.len(), ROWS_MAX);
    assert_eq!(refusals.iter().map(|row| row.times).sum::<u64>() + others, 10_000, "all are counted");
}
