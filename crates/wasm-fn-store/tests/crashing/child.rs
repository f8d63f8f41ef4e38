//! The process that writes: this test's own program, started again with `STORE_CHILD` in its environment.

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use wasm_fn_store::{
    BucketAccess, BucketAddress, BucketQuota, Buckets as _, EmbeddedBucket, EmbeddedBuckets, EmbeddedInbox,
    EventKey, InboxLimits, NewEvent,
};

/// The folder of the stores, for a process that is to write to them.
pub(crate) const CHILD: &str = "STORE_CHILD";

const QUOTA: BucketQuota = BucketQuota { bytes_max: 1 << 30, keys_max: 1 << 30, value_bytes_max: 1 << 20 };

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

pub(crate) fn inbox(folder: &Path) -> EmbeddedInbox {
    let limits =
        InboxLimits { trigger_events_max: 1 << 30, trigger_bytes_max: 1 << 30, ..InboxLimits::STANDARD };
    EmbeddedInbox::open(folder, limits).unwrap()
}

pub(crate) fn bucket(folder: &Path) -> EmbeddedBucket {
    let (function, stage) = ("hello".parse().unwrap(), "live".parse().unwrap());
    let address = BucketAddress { function, stage, name: "state".to_owned() };
    let store = EmbeddedBuckets::open(folder).unwrap();
    store.open(address, QUOTA, BucketAccess::default()).unwrap()
}

pub(crate) fn event(id: &str, bytes: usize) -> NewEvent {
    let key = EventKey { trigger: "t".to_owned(), id: id.to_owned() };
    NewEvent { key, due_ms: 0, ordering_key: None, body: Bytes::from(vec![7; bytes]) }
}

/// Runs the test `name` of this program with `CHILD` in its environment, where signals of `trapped` are
/// ignored.
pub(crate) fn child(name: &str, folder: &Path, trapped: &str) -> Child {
    let script = format!("trap '' {trapped}; exec \"$0\" --exact {name} --nocapture --test-threads 1");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
    command.env(CHILD, folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// What the child says: a line that begins with a word, which lines of the test harness may precede.
pub(crate) fn said(line: &str) -> Option<(&str, &str)> {
    let at = line.find("put ").or_else(|| line.find("done ")).or_else(|| line.find("set "))?;
    line[at..].split_once(' ')
}

pub(crate) fn say(what: &str, id: &str) {
    // One write, so that a line is there as a whole or not at all.
    let line = format!("{what} {id}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}
