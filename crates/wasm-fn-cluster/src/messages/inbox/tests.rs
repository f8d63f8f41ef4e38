//! Tests for `inbox`.

use bytes::Bytes;

use super::*;

fn message(number: usize, bytes: usize) -> NodeMessage {
    let mut body = number.to_string().into_bytes();
    body.resize(body.len().max(bytes), b' ');
    NodeMessage { from: "a".parse().unwrap(), body: body.into() }
}

async fn next(inbox: &Inbox) -> usize {
    let body: Bytes = inbox.take().await.body;
    String::from_utf8(body.to_vec()).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn the_oldest_are_lost() {
    let inbox = Inbox::default();
    for number in 0..MESSAGES_MAX + 3 {
        inbox.put(message(number, 0));
    }
    assert_eq!((next(&inbox).await, inbox.lost()), (3, 3));
    for number in 0..40 {
        inbox.put(message(number, 1 << 20));
    }
    // What is left fits, the small ones being gone.
    assert_eq!(next(&inbox).await, 8);
}

#[tokio::test]
async fn who_waits_is_woken() {
    let inbox = std::sync::Arc::new(Inbox::default());
    let waiting = std::sync::Arc::clone(&inbox);
    let taken = tokio::spawn(async move { next(&waiting).await });
    tokio::task::yield_now().await;
    inbox.put(message(7, 0));
    assert_eq!(taken.await.unwrap(), 7);
}
