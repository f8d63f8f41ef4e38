//! A process that is killed at any moment has lost nothing that it acknowledged.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
};

use bytes::Bytes;
use wasm_fn_store::{Bucket as _, EventPage, Finish, Inbox as _, Put, Take};

use crate::child::{CHILD, bucket, child, event, inbox, runtime, said, say};

/// How often a writing process is killed, if not 30 times.
const KILLS: &str = "STORE_KILLS";

const WRITERS: usize = 8;

/// Writes as fast as it can until it is killed, and says what was acknowledged.
fn write_until_killed(folder: &Path) {
    let runtime = runtime();
    let (inbox, bucket, round) = (inbox(folder), bucket(folder), std::process::id());
    let writers = (0..WRITERS).map(|writer| {
        let (inbox, bucket) = (inbox.clone(), bucket.clone());
        runtime.spawn(async move {
            for n in 0_u64.. {
                let id = format!("{round}-{writer}-{n}");
                assert_eq!(inbox.put(0, vec![event(&id, 100)], Vec::new()).await.unwrap(), [Put::Accepted]);
                say("put", &id);
                bucket.set(id.clone(), Bytes::from(id.clone())).await.unwrap();
                say("set", &id);
                if writer == 0 {
                    let take = Take { events_max: 1, bytes_max: 1, admit: |_: &str, _| true };
                    for taken in inbox.take(1, take).await.unwrap() {
                        let finish = Finish::Dead { reason: String::new() };
                        if inbox.finish(1, taken.receipt, finish).await.is_ok() {
                            say("done", &taken.id);
                        }
                    }
                }
            }
        })
    });
    for writer in Vec::from_iter(writers) {
        runtime.block_on(writer).unwrap();
    }
}

#[test]
fn killed_process_loses_nothing_that_was_acknowledged() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&folder));
    }
    let kills = std::env::var(KILLS).map_or(30, |kills| kills.parse().expect("STORE_KILLS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for kill in 0..kills {
        let name = "killed::killed_process_loses_nothing_that_was_acknowledged";
        let mut writer = child(name, folder.path(), "XFSZ");
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // At another place of the work each time, down to its very beginning.
        for line in lines.by_ref().take(3 + kill * 37 % 211) {
            acknowledged.add(&line.unwrap());
        }
        writer.kill().unwrap();
        // What was said before the kill, and not read yet. The last line may be torn.
        let rest = Vec::from_iter(lines.map_while(Result::ok));
        rest.iter().rev().skip(1).for_each(|line| acknowledged.add(line));
        let ended = writer.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "it ended of itself: {ended}");
        runtime().block_on(nothing_is_lost(folder.path(), &acknowledged));
    }
    let Acknowledged { put, set, done } = acknowledged;
    assert!(put.len() > kills && set.len() > kills && !done.is_empty());
}

/// Ids of what the children said that it is on disk.
#[derive(Default)]
struct Acknowledged {
    /// Events that were put.
    put: BTreeSet<String>,
    /// Events that were given up.
    done: BTreeSet<String>,
    /// Keys that were set.
    set: BTreeSet<String>,
}

impl Acknowledged {
    fn add(&mut self, line: &str) {
        match said(line) {
            Some(("put", id)) => self.put.insert(id.to_owned()),
            Some(("done", id)) => self.done.insert(id.to_owned()),
            Some((_, id)) => self.set.insert(id.to_owned()),
            None => false,
        };
    }
}

async fn nothing_is_lost(folder: &Path, acknowledged: &Acknowledged) {
    let Acknowledged { put, done, set } = acknowledged;
    let inbox = inbox(folder);
    let all = EventPage { after: None, limit: usize::MAX };
    let waiting: BTreeSet<_> =
        inbox.waiting("t", all).await.unwrap().into_iter().map(|event| event.id).collect();
    let dead: BTreeSet<_> =
        inbox.dead_letters("t", all).await.unwrap().into_iter().map(|event| event.id).collect();
    let lost: Vec<_> = put.iter().filter(|id| !waiting.contains(*id) && !dead.contains(*id)).collect();
    assert_eq!(lost, [""; 0], "of {}", put.len());
    let undone: Vec<_> = done.iter().filter(|id| !dead.contains(*id)).collect();
    assert_eq!(undone, [""; 0], "of {}", done.len());
    let counts = inbox.counts().await.unwrap();
    if let Some(counts) = counts.first() {
        assert_eq!((counts.waiting, counts.dead), (waiting.len() as u64, dead.len() as u64));
    }
    let bucket = bucket(folder);
    for id in set {
        let found = bucket.get(id).await.unwrap();
        assert_eq!(found.map(|found| found.value), Some(Bytes::from(id.clone())));
    }
    let usage = bucket.usage().await.unwrap();
    assert_eq!(usage.keys, bucket.find_keys("", None, usize::MAX).await.unwrap().len() as u64);
}
