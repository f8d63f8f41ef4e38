//! Buckets that all nodes share: what one writes all see, and nothing is lost, whatever happens to the
//! broker.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use wasm_fn_core::Revision;
use wasm_fn_store::{
    Bucket as _, BucketAccess, BucketAddress, BucketConsistency, BucketError, BucketQuota, BucketUsage,
    Buckets as _, Delta, KeyRevision, StoreError, Swap,
};

use super::{Node, PATIENCE, Server, make, options};
use crate::{ClusterBucket, ClusterBuckets, ClusterOptions};

const QUOTA: BucketQuota = BucketQuota { bytes_max: 100, keys_max: 4, value_bytes_max: 50 };

const LARGE: BucketQuota = BucketQuota { bytes_max: 1 << 30, keys_max: 100_000, value_bytes_max: 8 << 20 };

fn address(name: &str) -> BucketAddress {
    let (function, stage) = ("hello".parse().unwrap(), "live".parse().unwrap());
    BucketAddress { function, stage, name: name.to_owned() }
}

fn open(buckets: &ClusterBuckets, name: &str, quota: BucketQuota) -> ClusterBucket {
    buckets.open(address(name), quota, BucketAccess::default()).unwrap()
}

async fn set(bucket: &ClusterBucket, key: &str, value: &'static str) -> Result<KeyRevision, BucketError> {
    bucket.set(key.to_owned(), Bytes::from_static(value.as_bytes())).await
}

async fn value(bucket: &ClusterBucket, key: &str) -> Option<String> {
    let found = bucket.get(key).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

fn refused<T>(result: Result<T, BucketError>) -> String {
    result.err().expect("it is refused").to_string()
}

/// Whether the node or the broker is at fault, and the same can be tried again.
fn is_of_node(error: &BucketError) -> bool {
    matches!(error, BucketError::Store(_))
}

/// Two nodes of a cluster on `servers`.
async fn two(servers: &[Server]) -> (Node, Node) {
    let brokers: Vec<_> = servers.iter().map(Server::url).collect();
    make(&brokers, u8::try_from(servers.len()).unwrap()).await;
    (Node::joined(options(&brokers, "a")).await, Node::joined(options(&brokers, "b")).await)
}

/// Waits until the leader of the buckets answers: it is chosen a moment after the stream is made.
async fn ready(buckets: &ClusterBuckets) {
    let ready = async { while buckets.buckets(None).await.is_err() {} };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_writes_all_see_at_once() {
    let Some(servers) = Server::three("what_one_node_writes_all_see_at_once") else { return };
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (a.cluster.buckets(), b.cluster.buckets());
    ready(&ours).await;
    let (ours, theirs) = (open(&ours, "state", LARGE), open(&theirs, "state", LARGE));
    assert_eq!(value(&theirs, "k").await, None);
    assert_eq!(theirs.usage().await.unwrap(), BucketUsage::default());
    for number in 0..50_u64 {
        let (writer, reader) = if number % 2 == 0 { (&ours, &theirs) } else { (&theirs, &ours) };
        let revision = writer.set("k".to_owned(), number.to_string().into()).await.unwrap();
        let found = reader.get("k").await.unwrap().unwrap();
        assert_eq!((found.revision, &found.value[..]), (revision, number.to_string().as_bytes()));
        assert!(reader.exists("k").await.unwrap());
    }
    assert!(ours.delete("k".to_owned()).await.unwrap() && !theirs.delete("k".to_owned()).await.unwrap());
    assert_eq!((value(&ours, "k").await, theirs.exists("k").await.unwrap()), (None, false));
    assert_eq!(theirs.usage().await.unwrap(), BucketUsage::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_is_a_key_and_a_value_may_be_large() {
    let Some(server) = Server::start("any_text_is_a_key_and_a_value_may_be_large") else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (open(&a.cluster.buckets(), "odd", LARGE), open(&b.cluster.buckets(), "odd", LARGE));
    let long = "ä".repeat(512);
    let odd = ["", ".", "a.b", "*", ">", "a b", " ", "\n\0", "ünï", "$JS.API", "_", &*long];
    for key in odd {
        ours.set(key.to_owned(), Bytes::from(format!("value of {key}"))).await.unwrap();
    }
    let keys: Vec<_> = odd.map(str::to_owned).into();
    let found = theirs.get_many(&keys).await.unwrap();
    for (key, found) in odd.iter().zip(found) {
        assert_eq!(found.unwrap().value, format!("value of {key}"));
    }
    let sorted = BTreeSet::from(odd);
    assert_eq!(theirs.find_keys("", None, 99).await.unwrap(), Vec::from_iter(sorted.clone()));
    assert_eq!(theirs.find_keys("a", Some("a b"), 99).await.unwrap(), ["a.b"]);
    assert_eq!(theirs.find_keys("", None, 2).await.unwrap(), ["", "\n\0"]);
    let listed = theirs.list_keys(None, 99).await.unwrap();
    assert_eq!((BTreeSet::from_iter(listed.keys.iter().map(String::as_str)), listed.cursor), (sorted, None));
    let error = refused(ours.set(format!("{long}k"), Bytes::new()).await);
    assert_eq!(error, "key has 1025 bytes, expected at most 1024");

    let large = |byte: u8, bytes: usize| {
        Bytes::from((0..bytes).map(|at| byte ^ u8::try_from(at / 7 % 251).unwrap()).collect::<Vec<_>>())
    };
    for bytes in [(8 << 20), (256 << 10) + 1, 256 << 10, 3, 0, 1 << 20] {
        let revision = ours.set("large".to_owned(), large(9, bytes)).await.unwrap();
        let found = theirs.get("large").await.unwrap().unwrap();
        assert!(found.value == large(9, bytes) && found.revision == revision, "{bytes} bytes");
    }
    let many: Vec<_> = (0..4_u8).map(|number| (number.to_string(), large(number, (8 << 20) - 1))).collect();
    ours.set_many(many.clone()).await.unwrap();
    let names: Vec<_> = many.iter().map(|(key, _)| key.clone()).collect();
    let found = theirs.get_many(&names).await.unwrap();
    assert!(found.into_iter().zip(&many).all(|(found, (_, value))| found.unwrap().value == *value));
    let more = [&*names, &["large".to_owned()]].concat();
    assert_eq!(refused(theirs.get_many(&more).await), "values of one call have more than 33554432 bytes");
    assert_eq!(ours.delete_many(more).await.unwrap(), 5);
    let left = keys.iter().map(|key| (key.len() * 2 + 9) as u64).sum::<u64>();
    assert_eq!(theirs.usage().await.unwrap(), BucketUsage { bytes: left, keys: odd.len() as u64 });
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_exact_whichever_nodes_write() {
    let Some(server) = Server::start("quota_is_exact_whichever_nodes_write") else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (open(&a.cluster.buckets(), "q", QUOTA), open(&b.cluster.buckets(), "q", QUOTA));
    let filling = "0123456789012345678901234567890123456789012345678";
    set(&ours, "a", filling).await.unwrap();
    set(&theirs, "b", filling).await.unwrap();
    let full = "bucket `q` is full: 101 bytes with this write, expected at most 100";
    assert_eq!(refused(set(&ours, "c", "").await), full);
    assert_eq!(refused(theirs.compare_and_swap("c".to_owned(), None, Bytes::new()).await), full);
    assert!(refused(ours.increment("c".to_owned(), Delta::Unsigned(1)).await).contains("102 bytes"));
    set(&theirs, "a", "").await.unwrap();
    let values = ["c", "d", "e"].map(|key| (key.to_owned(), Bytes::new())).to_vec();
    let error = refused(ours.set_many(values).await);
    assert_eq!(error, "bucket `q` is full: 5 keys with this write, expected at most 4");
    assert_eq!(theirs.usage().await.unwrap(), BucketUsage { bytes: 51, keys: 2 });
    let keys = vec![String::new(); 801];
    assert_eq!(refused(ours.delete_many(keys).await), "801 keys in one call, expected at most 800");

    // Many at once: never more than there is room for.
    let quota = BucketQuota { bytes_max: 1000, keys_max: 10, value_bytes_max: 50 };
    let (ours, theirs) = (open(&a.cluster.buckets(), "n", quota), open(&b.cluster.buckets(), "n", quota));
    let writes = (0..40).map(|number| {
        let bucket = if number % 2 == 0 { ours.clone() } else { theirs.clone() };
        tokio::spawn(async move { set(&bucket, &number.to_string(), "v").await.is_ok() })
    });
    let mut kept = 0;
    for write in writes.collect::<Vec<_>>() {
        kept += u64::from(write.await.unwrap());
    }
    assert_eq!((kept, theirs.usage().await.unwrap().keys), (10, 10));
    assert_eq!(ours.find_keys("", None, 99).await.unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn comparison_notices_a_value_that_came_back_from_another_node() {
    let test = "comparison_notices_a_value_that_came_back_from_another_node";
    let Some(server) = Server::start(test) else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (open(&a.cluster.buckets(), "c", LARGE), open(&b.cluster.buckets(), "c", LARGE));
    let swap = async |bucket: &ClusterBucket, expected, value: &'static str| {
        bucket.compare_and_swap("k".to_owned(), expected, Bytes::from(value)).await.unwrap()
    };
    let Swap::Swapped(first) = swap(&ours, None, "a").await else { panic!("there was no value") };
    assert_eq!(swap(&theirs, None, "b").await, Swap::Unexpected(Some(first)));
    set(&theirs, "k", "b").await.unwrap();
    let back = set(&theirs, "k", "a").await.unwrap();
    assert_eq!(swap(&ours, Some(first), "c").await, Swap::Unexpected(Some(back)));
    theirs.delete("k".to_owned()).await.unwrap();
    assert_eq!(swap(&ours, Some(back), "c").await, Swap::Unexpected(None));
    let again = set(&theirs, "k", "a").await.unwrap();
    assert_eq!(swap(&ours, Some(back), "c").await, Swap::Unexpected(Some(again)));
    let Swap::Swapped(last) = swap(&ours, Some(again), "d").await else { panic!("it was unchanged") };
    assert_eq!(BTreeSet::from([first, back, again, last]).len(), 4);
    assert_eq!(value(&theirs, "k").await.as_deref(), Some("d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_of_two_nodes_sum_up_exactly() {
    const TASKS: u64 = 16;
    const INCREMENTS: u64 = 10;
    let Some(servers) = Server::three("increments_of_two_nodes_sum_up_exactly") else { return };
    let (a, b) = two(&servers).await;
    let buckets = [a.cluster.buckets(), b.cluster.buckets()];
    ready(&buckets[0]).await;
    let [ours, theirs] = buckets.map(|buckets| open(&buckets, "n", LARGE));
    let tasks = (0..TASKS).map(|number| {
        let bucket = if number % 2 == 0 { ours.clone() } else { theirs.clone() };
        tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                bucket.increment("n".to_owned(), Delta::Unsigned(1)).await.unwrap();
                loop {
                    let found = bucket.get("m").await.unwrap();
                    let text = found.as_ref().map_or("0", |found| std::str::from_utf8(&found.value).unwrap());
                    let sum = text.parse::<u64>().unwrap() + 1;
                    let expected = found.as_ref().map(|found| found.revision);
                    let swap = bucket.compare_and_swap("m".to_owned(), expected, sum.to_string().into());
                    if let Swap::Swapped(_) = swap.await.unwrap() {
                        break;
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let total = (TASKS * INCREMENTS).to_string();
    assert_eq!((value(&theirs, "n").await, value(&ours, "m").await), (Some(total.clone()), Some(total)));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_keys_are_read_as_they_were_at_one_moment() {
    let Some(server) = Server::start("several_keys_are_read_as_they_were_at_one_moment") else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (open(&a.cluster.buckets(), "m", LARGE), open(&b.cluster.buckets(), "m", LARGE));
    let keys = ["x", "y", "z"].map(str::to_owned);
    let write = async {
        for number in 0..100_u64 {
            let values = keys.iter().map(|key| (key.clone(), number.to_string().into())).collect();
            ours.set_many(values).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let read = async {
        let mut seen = BTreeSet::new();
        while !seen.contains("99") {
            let found = match theirs.get_many(&keys).await {
                Ok(found) => found,
                // They changed all the time.
                Err(error) => {
                    assert!(is_of_node(&error), "{error}");
                    continue;
                }
            };
            let values: BTreeSet<_> =
                found.iter().map(|found| found.as_ref().map(|found| found.value.clone())).collect();
            assert_eq!(values.len(), 1, "{values:?}");
            seen.extend(values.into_iter().flatten().map(|value| String::from_utf8(value.to_vec()).unwrap()));
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(write, read) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_once_each_while_others_change() {
    let Some(server) = Server::start("keys_are_listed_once_each_while_others_change") else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (ours, theirs) = (open(&a.cluster.buckets(), "l", LARGE), open(&b.cluster.buckets(), "l", LARGE));
    let name = |number: u32| format!("key/{number:04}");
    // Enough that they are listed by parts.
    for start in [0, 800, 1600, 2400, 3200, 4000] {
        ours.set_many((start..start + 800).map(|number| (name(number), Bytes::new())).collect())
            .await
            .unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = theirs.list_keys(cursor, 1000).await.unwrap();
        assert!(page.keys.len() <= 1000);
        seen.extend(page.keys);
        // What is there all the time is written, and others come and go.
        set(&ours, &name(3), "again").await.unwrap();
        ours.delete(format!("other/{}", seen.len())).await.unwrap();
        set(&ours, &format!("other/{}", seen.len() + 1), "").await.unwrap();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    seen.retain(|key| key.starts_with("key/"));
    seen.sort();
    assert_eq!(seen, Vec::from_iter((0..4800).map(name)));
    ours.delete(name(0)).await.unwrap();
    assert_eq!(theirs.find_keys("key/", None, 1).await.unwrap(), [name(1)]);
    let listed = theirs.list_keys(None, 9999).await.unwrap();
    assert!(!listed.keys.contains(&name(0)) && listed.cursor.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_bucket_stays_deleted_also_for_a_node_that_is_behind() {
    let test = "deleted_bucket_stays_deleted_also_for_a_node_that_is_behind";
    let Some(server) = Server::start(test) else { return };
    let servers = [server];
    let (a, b) = two(&servers).await;
    let (behind, ahead) = (a.cluster.buckets(), b.cluster.buckets());
    let revision = Arc::new(AtomicU64::new(4));
    let known = Arc::clone(&revision);
    behind.work_by(move || Revision(known.load(SeqCst)));
    ahead.work_by(|| Revision(5));
    let bucket = open(&behind, "d", LARGE);
    set(&bucket, "k", "v").await.unwrap();
    set(&open(&behind, "e", LARGE), "k", "v").await.unwrap();
    let all = ahead.buckets(Some(&"hello".parse().unwrap())).await.unwrap();
    let usage = BucketUsage { bytes: 2, keys: 1 };
    assert_eq!(all, [(address("d"), usage), (address("e"), usage)]);
    assert!(!ahead.delete_bucket(address("d"), Revision(3)).await.unwrap(), "it was made later");
    assert!(ahead.delete_bucket(address("d"), Revision(5)).await.unwrap());
    assert!(!ahead.delete_bucket(address("d"), Revision(5)).await.unwrap());
    assert_eq!(value(&bucket, "k").await, None);
    assert!(matches!(set(&bucket, "k", "stray").await, Err(BucketError::Deleted)));
    // Once it knows, a function of the same name begins with nothing.
    revision.store(6, SeqCst);
    let anew = open(&behind, "d", LARGE);
    assert_eq!(value(&anew, "k").await, None);
    set(&anew, "l", "new").await.unwrap();
    assert!(!ahead.delete_bucket(address("d"), Revision(5)).await.unwrap(), "this is another one");
    assert_eq!(anew.find_keys("", None, 9).await.unwrap(), ["l"]);
    assert_eq!(ahead.buckets(None).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn eventual_reads_are_answered_by_any_server() {
    let Some(servers) = Server::three("eventual_reads_are_answered_by_any_server") else { return };
    let (a, b) = two(&servers).await;
    ready(&a.cluster.buckets()).await;
    let access = BucketAccess { consistency: BucketConsistency::Eventual, ..BucketAccess::default() };
    let eventual = b.cluster.buckets().open(address("e"), LARGE, access).unwrap();
    let ours = open(&a.cluster.buckets(), "e", LARGE);
    set(&ours, "k", "v").await.unwrap();
    let seen = async { while value(&eventual, "k").await.as_deref() != Some("v") {} };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    let large = Bytes::from(vec![7; 1 << 20]);
    ours.set("large".to_owned(), large.clone()).await.unwrap();
    let seen =
        async { while eventual.get("large").await.unwrap().is_none_or(|found| found.value != large) {} };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    // What it compares and adds up is never old.
    for number in 1..=20 {
        let bucket = if number % 2 == 0 { &ours } else { &eventual };
        assert_eq!(bucket.increment("n".to_owned(), Delta::Unsigned(1)).await.unwrap(), number);
    }
    assert_eq!(eventual.get("nothing").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_lost_when_servers_are_killed() {
    let Some(mut servers) = Server::three("no_write_is_lost_when_servers_are_killed") else { return };
    let (a, b) = two(&servers).await;
    ready(&a.cluster.buckets()).await;
    let [ours, theirs] = [&a, &b].map(|node| open(&node.cluster.buckets(), "n", LARGE));
    let (acknowledged, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ended = Arc::new(AtomicU64::new(0));
    let tasks = (0..4_usize).map(|number| {
        let bucket = if number % 2 == 0 { ours.clone() } else { theirs.clone() };
        let (acknowledged, unknown) = (Arc::clone(&acknowledged), Arc::clone(&unknown));
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            let mut last = 0;
            while ended.load(SeqCst) == 0 {
                match bucket.increment("n".to_owned(), Delta::Unsigned(1)).await {
                    Ok(sum) => {
                        assert!(sum > last, "{sum} after {last}");
                        last = sum;
                        acknowledged.fetch_add(1, SeqCst);
                    }
                    Err(BucketError::Store(StoreError::Unknown { .. })) => {
                        unknown.fetch_add(1, SeqCst);
                    }
                    Err(error) => assert!(is_of_node(&error), "{error}"),
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let progress = async |more: u64| {
        let until = acknowledged.load(SeqCst) + more;
        let reached = async {
            while acknowledged.load(SeqCst) < until {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    };
    for server in &mut servers {
        progress(20).await;
        server.kill();
        progress(20).await;
        server.start_again();
        a.in_touch(true).await;
        b.in_touch(true).await;
    }
    ended.store(1, SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let sum = async {
        loop {
            if let Ok(found) = theirs.get("n").await {
                return String::from_utf8(found.unwrap().value.to_vec()).unwrap().parse::<u64>().unwrap();
            }
        }
    };
    let sum = tokio::time::timeout(PATIENCE, sum).await.unwrap();
    let (acknowledged, unknown) = (acknowledged.load(SeqCst), unknown.load(SeqCst));
    println!("sum {sum}, acknowledged {acknowledged}, not known {unknown}");
    assert!((acknowledged..=acknowledged + unknown).contains(&sum));
}

#[tokio::test(flavor = "multi_thread")]
async fn node_out_of_touch_is_told_so_in_bounded_time() {
    let Some(mut server) = Server::start("node_out_of_touch_is_told_so_in_bounded_time") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let brief = ClusterOptions { lease: Duration::from_secs(2), ..options(&brokers, "a") };
    let node = Node::joined(brief).await;
    let bucket = open(&node.cluster.buckets(), "k", LARGE);
    set(&bucket, "k", "v").await.unwrap();
    server.kill();
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        let error = bucket.get("k").await.unwrap_err();
        assert!(is_of_node(&error), "{error}");
        let error = set(&bucket, "k", "w").await.unwrap_err();
        assert!(is_of_node(&error), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let out = |error: BucketError| matches!(error, BucketError::Store(StoreError::OutOfTouch { .. }));
    node.in_touch(false).await;
    assert!(out(bucket.get("k").await.unwrap_err()) && out(set(&bucket, "k", "w").await.unwrap_err()));
    server.start_again();
    node.in_touch(true).await;
    let found = value(&bucket, "k").await;
    assert!(["v", "w"].contains(&found.as_deref().unwrap()), "{found:?}");
    set(&bucket, "k", "x").await.unwrap();
    assert_eq!(value(&bucket, "k").await.as_deref(), Some("x"));
}

/// Times `operations` one after the other. Returns the median and the 99th of 100, in milliseconds.
async fn timed<T>(mut operation: impl AsyncFnMut(usize) -> T) -> (f64, f64) {
    const COUNT: usize = 300;
    let mut times = Vec::new();
    for number in 0..COUNT {
        let began = tokio::time::Instant::now();
        operation(number).await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    (times[COUNT / 2], times[COUNT * 99 / 100])
}

async fn tell_times(what: &str, bucket: &impl wasm_fn_store::Bucket) {
    let value = Bytes::from(vec![7; 256]);
    let key = |number: usize| (number % 10).to_string();
    let set = timed(async |number| bucket.set(key(number), value.clone()).await.unwrap()).await;
    let get = timed(async |number| bucket.get(&key(number)).await.unwrap()).await;
    let add = timed(async |_| bucket.increment("n".to_owned(), Delta::Unsigned(1)).await.unwrap()).await;
    let shown = |(median, rare): (f64, f64)| format!("{median:.2} ms, {rare:.2} ms");
    println!("{what}: get {}; set {}; increment {}", shown(get), shown(set), shown(add));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operations_take_is_told() {
    let test = "what_operations_take_is_told";
    let (Some(one), Some(three)) = (Server::start(test), Server::three(test)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let alone = wasm_fn_store::EmbeddedBuckets::open(folder.path()).unwrap();
    let bucket = alone.open(address("t"), LARGE, BucketAccess::default()).unwrap();
    tell_times("median and 99th of 100, a node alone", &bucket).await;
    for servers in [vec![one], three] {
        let (a, _b) = two(&servers).await;
        let buckets = a.cluster.buckets();
        ready(&buckets).await;
        tell_times(&format!("a broker of {}", servers.len()), &open(&buckets, "t", LARGE)).await;
    }
}
