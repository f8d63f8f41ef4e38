//! A full disk fails writes, and nothing else.

use std::path::Path;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use wasm_fn_store::{Bucket as _, BucketError, EventPage, Finish, Inbox as _, InboxError, StoreError, Take};

use crate::child::{CHILD, bucket, child, event, inbox, runtime, said, say};

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::DiskFull { .. })
}

/// Fills both stores until no file may grow, lifts that, and goes on.
async fn fill_the_disk(folder: &Path) {
    let limit = |bytes| Rlimit { current: bytes, maximum: None };
    let (inbox, bucket) = (inbox(folder), bucket(folder));
    setrlimit(Resource::Fsize, limit(Some(4 << 20))).unwrap();
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for n in 0.. {
        let id = format!("event-{n}");
        match inbox.put(0, vec![event(&id, 50_000)], Vec::new()).await {
            Ok(_) => accepted.push(id),
            Err(InboxError::Store(error)) if is_full(&error) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        // Small ones may still find room for a while.
        if refused > 20 {
            break;
        }
    }
    let (mut set, mut refused) = (Vec::new(), 0);
    for n in 0.. {
        let key = format!("key-{n}");
        match bucket.set(key.clone(), Bytes::from(vec![7; 50_000])).await {
            Ok(_) => set.push(key),
            Err(BucketError::Store(error)) if is_full(&error) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if refused > 20 {
            break;
        }
    }
    assert!(!accepted.is_empty() && !set.is_empty());
    assert_eq!(bucket.usage().await.unwrap().keys, set.len() as u64);
    // Reading and taking go on. What was handled meanwhile is remembered once there is room.
    let take = Take { events_max: 1, bytes_max: 1, admit: |_: &str, _| true };
    let taken = inbox.take(1, take).await.unwrap();
    inbox.finish(1, taken[0].receipt, Finish::Acknowledged { text: String::new() }).await.unwrap();
    setrlimit(Resource::Fsize, limit(None)).unwrap();
    // Refused for as long as opening the file took.
    while inbox.put(0, vec![event("later", 50_000)], Vec::new()).await.is_err() {}
    while bucket.set("later".to_owned(), Bytes::from(vec![7; 50_000])).await.is_err() {}
    accepted.push("later".to_owned());
    set.push("later".to_owned());
    accepted.remove(0);
    let all = EventPage { after: None, limit: usize::MAX };
    let waiting = inbox.waiting("t", all).await.unwrap().into_iter().map(|event| event.id);
    assert_eq!(Vec::from_iter(waiting), accepted);
    assert_eq!(bucket.list_keys(None, usize::MAX).await.unwrap().keys, set);
    say("done", &accepted.len().to_string());
}

#[test]
fn full_disk_fails_writes_and_the_stores_go_on_when_there_is_room() {
    if let Some(folder) = std::env::var_os(CHILD) {
        runtime().block_on(fill_the_disk(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "full::full_disk_fails_writes_and_the_stores_go_on_when_there_is_room";
    // Without the signal, writing beyond the limit is an error, as on a full disk.
    let output = child(name, folder.path(), "XFSZ").wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let accepted = text.lines().find_map(said).unwrap().1.parse::<usize>().unwrap();
    let waiting = runtime().block_on(async {
        let all = EventPage { after: None, limit: usize::MAX };
        inbox(folder.path()).waiting("t", all).await.unwrap()
    });
    assert_eq!(waiting.len(), accepted);
}
