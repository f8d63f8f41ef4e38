//! When batches are finished, and that nothing is lost.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::{runtime::Builder, task::yield_now};

use super::*;

type Item = (SyncSender<Vec<u32>>, u32);

const ITEMS_MAX: usize = 32;

thread_local! {
    static ONE: TaskBatch<Item> = const { TaskBatch::new(ITEMS_MAX) };
    static OTHER: TaskBatch<Item> = const { TaskBatch::new(ITEMS_MAX) };
}

/// Tells whoever listens which items were finished together.
fn tell(items: Vec<Item>) {
    let names = items.iter().map(|(_, name)| *name).collect();
    items[0].0.send(names).unwrap();
}

fn add(sender: &SyncSender<Vec<u32>>, name: u32) {
    ONE.with(|one| one.add((sender.clone(), name), tell));
}

fn told(receiver: &Receiver<Vec<u32>>) -> Vec<Vec<u32>> {
    receiver.try_iter().collect()
}

async fn all_were_polled(receiver: &Receiver<Vec<u32>>, count: usize) -> Vec<Vec<u32>> {
    let mut batches = Vec::new();
    for _ in 0..100 {
        yield_now().await;
        batches.extend(told(receiver));
        if batches.len() >= count {
            break;
        }
    }
    batches
}

#[tokio::test]
async fn what_ready_tasks_add_is_finished_together() {
    let (sender, receiver) = sync_channel(100);
    for name in 0..5 {
        let sender = sender.clone();
        tokio::spawn(async move { add(&sender, name) });
    }
    assert_eq!(all_were_polled(&receiver, 1).await, [[0, 1, 2, 3, 4]]);
}

#[tokio::test]
async fn nothing_is_finished_within_the_poll_that_added_it() {
    let (sender, receiver) = sync_channel(100);
    add(&sender, 1);
    assert!(told(&receiver).is_empty());
    assert_eq!(all_were_polled(&receiver, 1).await, [[1]]);
    add(&sender, 2);
    assert_eq!(all_were_polled(&receiver, 1).await, [[2]]);
}

#[tokio::test]
async fn full_batch_is_finished_at_once() {
    let (sender, receiver) = sync_channel(100);
    (0..70).for_each(|name| add(&sender, name));
    let full = told(&receiver);
    assert_eq!(full.iter().map(Vec::len).collect::<Vec<_>>(), [ITEMS_MAX, ITEMS_MAX]);
    assert!(full.concat().into_iter().eq(0..64));
    assert_eq!(all_were_polled(&receiver, 1).await, [[64, 65, 66, 67, 68, 69]]);
}

#[tokio::test]
async fn full_batch_leaves_nothing_to_finish() {
    let (sender, receiver) = sync_channel(100);
    (0..32).for_each(|name| add(&sender, name));
    assert_eq!(told(&receiver).len(), 1);
    assert!(all_were_polled(&receiver, 1).await.is_empty());
    add(&sender, 32);
    assert_eq!(all_were_polled(&receiver, 1).await, [[32]]);
}

#[tokio::test]
async fn batches_begun_in_one_poll_are_finished_in_that_order() {
    let (sender, receiver) = sync_channel(100);
    let adds = sender.clone();
    tokio::spawn(async move {
        add(&adds, 1);
        OTHER.with(|other| other.add((adds.clone(), 2), tell));
    });
    tokio::spawn(async move { OTHER.with(|other| other.add((sender.clone(), 3), tell)) });
    assert_eq!(all_were_polled(&receiver, 2).await, [vec![1], vec![2, 3]]);
}

#[test]
fn what_a_runtime_leaves_unfinished_is_dropped() {
    let (sender, receiver) = sync_channel(100);
    let runtime = || Builder::new_current_thread().build().unwrap();
    let first = runtime();
    first.block_on(async { add(&sender, 1) });
    drop(first);
    let second = runtime();
    second.block_on(async {
        add(&sender, 2);
        assert_eq!(all_were_polled(&receiver, 1).await, [[2]]);
    });
    drop(second);
    drop(sender);
    assert!(receiver.recv().is_err(), "the item of the first runtime is still there");
}
