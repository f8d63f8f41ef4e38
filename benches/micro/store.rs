//! What do the inbox and the buckets cost: a durable write of one writer and of 64, beside what the disk
//! takes for a flush, a read, and an event from the inbox?
//!
//! Budget: 20 µs a read; 64 writers together ten times the writes of one, because they share its flushes.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use tokio::{runtime::Runtime, task::JoinSet};
use wasm_fn_store::{
    Bucket as _, BucketAccess, BucketAddress, BucketDurability, BucketQuota, Buckets as _, EmbeddedBucket,
    EmbeddedBuckets, EmbeddedInbox, EventKey, Finish, Inbox as _, InboxLimits, NewEvent, Take,
};

const QUOTA: BucketQuota = BucketQuota { bytes_max: 1 << 30, keys_max: 1 << 20, value_bytes_max: 1 << 20 };

/// Bytes of a value and of an event's body.
const BYTES: usize = 256;

fn bucket(folder: &std::path::Path, durability: BucketDurability) -> EmbeddedBucket {
    let (function, stage) = ("hello".parse().expect("a valid name"), "live".parse().expect("a valid name"));
    let address = BucketAddress { function, stage, name: "state".to_owned() };
    let store = EmbeddedBuckets::open(folder).expect("the folder is ours");
    let access = BucketAccess { durability, ..BucketAccess::default() };
    store.open(address, QUOTA, access).expect("a short name")
}

fn event(id: u64) -> NewEvent {
    let key = EventKey { trigger: "hello/live/hourly".to_owned(), id: id.to_string() };
    NewEvent { key, due_ms: 0, ordering_key: None, body: Bytes::from(vec![7; BYTES]) }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Times `count` calls of `write`, made by `writers` at once, each with a number of its own.
fn by_writers<F>(
    runtime: &Runtime,
    writers: u32,
    count: u64,
    write: impl Fn(u64) -> F + Copy + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send,
{
    let began = now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            tasks.spawn(async move {
                let mut n = u64::from(writer);
                while n < count {
                    write(n).await;
                    n += u64::from(writers);
                }
            });
        }
        tasks.join_all().await;
    });
    began.elapsed()
}

fn writes(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let committed: &'static EmbeddedBucket =
        Box::leak(Box::new(bucket(&folder.path().join("committed"), BucketDurability::Committed)));
    let relaxed: &'static EmbeddedBucket =
        Box::leak(Box::new(bucket(&folder.path().join("relaxed"), BucketDurability::Relaxed)));
    let limits = InboxLimits { trigger_events_max: 1 << 30, remembered_max: 1000, ..InboxLimits::STANDARD };
    let inbox: &'static EmbeddedInbox = Box::leak(Box::new(
        EmbeddedInbox::open(&folder.path().join("inbox"), limits).expect("the folder is ours"),
    ));
    let set = move |bucket: &'static EmbeddedBucket| {
        move |n: u64| async move {
            let key = format!("key-{}", n % 1000);
            bucket.set(key, Bytes::from(vec![7; BYTES])).await.expect("the quota is large");
        }
    };

    let mut group = criterion.benchmark_group("store");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(1));
    group.bench_function("fdatasync-4KiB", |bencher| fdatasync(bencher, &folder.path().join("file")));
    for writers in [1, 64] {
        group.bench_function(format!("bucket-set/{writers}-writers"), |bencher| {
            bencher.iter_custom(|count| by_writers(&runtime, writers, count, set(committed)));
        });
    }
    group.bench_function("bucket-set/relaxed", |bencher| {
        bencher.iter_custom(|count| by_writers(&runtime, 1, count, set(relaxed)));
    });
    let mut id = 0;
    for writers in [1, 64] {
        group.bench_function(format!("inbox-put/{writers}-writers"), |bencher| {
            bencher.iter_custom(|count| {
                let first = id;
                id += count;
                let took = by_writers(&runtime, writers, count, move |n| async move {
                    inbox.put(0, vec![event(first + n)], Vec::new()).await.expect("the bounds are large");
                });
                runtime.block_on(drain(inbox));
                took
            });
        });
    }
    group.bench_function("inbox-put-take-acknowledge/100-a-call", |bencher| {
        bencher.iter_custom(|count| {
            let first = id;
            id += count;
            let began = now();
            runtime.block_on(async {
                for at in (first..first + count).step_by(100) {
                    let events = (at..(at + 100).min(first + count)).map(event).collect();
                    inbox.put(0, events, Vec::new()).await.expect("the bounds are large");
                    drain(inbox).await;
                }
            });
            began.elapsed()
        });
    });
    group.finish();
}

/// Acknowledges all that waits.
async fn drain(inbox: &EmbeddedInbox) {
    loop {
        let take = Take { events_max: 256, bytes_max: u64::MAX, admit: |_: &str, _| true };
        let taken = inbox.take(1, take).await.expect("the inbox works");
        if taken.is_empty() {
            return;
        }
        for event in taken {
            let finish = Finish::Acknowledged { text: "200 v1".to_owned() };
            inbox.finish(1, event.receipt, finish).await.expect("it is in flight");
        }
    }
}

/// What the disk takes for the smallest durable write.
fn fdatasync(bencher: &mut Bencher<'_>, path: &std::path::Path) {
    let file = File::create(path).expect("the folder is ours");
    file.write_all_at(&[0; 4096], 0).expect("the disk has room");
    let mut round = 0_u8;
    bencher.iter(|| {
        round = round.wrapping_add(1);
        file.write_all_at(&[round; 4096], 0).expect("the disk has room");
        file.sync_data().expect("the disk works");
    });
}

fn reads(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let bucket = bucket(folder.path(), BucketDurability::Committed);
    runtime.block_on(async {
        for n in 0..100_u64 {
            let values = (0..1000).map(|m| (format!("key-{}", n * 1000 + m), Bytes::from(vec![7; BYTES])));
            bucket.set_many(values.collect()).await.expect("the quota is large");
        }
    });
    let mut n = 0_u64;
    criterion.bench_function("store/bucket-get/of-100000", |bencher| {
        bencher.iter(|| {
            n = (n + 7919) % 100_000;
            let found = runtime.block_on(bucket.get(&format!("key-{n}"))).expect("the bucket works");
            assert!(found.is_some());
        });
    });
}

criterion_group!(benches, writes, reads);
criterion_main!(benches);
