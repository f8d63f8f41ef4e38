//! Tests of the embedded buckets: quotas are exact, comparisons are sound, and deleting is complete.

mod model;

use std::collections::BTreeSet;

use super::*;
use crate::buckets::BucketConsistency;

const RELAXED: BucketAccess =
    BucketAccess { durability: BucketDurability::Relaxed, consistency: BucketConsistency::Strong };

const QUOTA: BucketQuota = BucketQuota { bytes_max: 100, keys_max: 4, value_bytes_max: 50 };

fn address(name: &str) -> BucketAddress {
    BucketAddress {
        function: "hello".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: name.to_owned(),
    }
}

fn open(folder: &Path) -> EmbeddedBuckets {
    EmbeddedBuckets::open(folder).unwrap()
}

fn bucket(store: &EmbeddedBuckets, quota: BucketQuota) -> EmbeddedBucket {
    store.open(address("state"), quota, BucketAccess::default()).unwrap()
}

/// A bucket that holds a thousand times more.
fn large_bucket(store: &EmbeddedBuckets) -> EmbeddedBucket {
    bucket(store, BucketQuota { bytes_max: 100_000, keys_max: 4000, value_bytes_max: 50_000 })
}

async fn set(bucket: &EmbeddedBucket, key: &str, value: &'static str) -> Result<KeyRevision, BucketError> {
    bucket.set(key.to_owned(), Bytes::from_static(value.as_bytes())).await
}

async fn value(bucket: &EmbeddedBucket, key: &str) -> Option<String> {
    let found = bucket.get(key).await.unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}

fn refused<T>(result: Result<T, BucketError>) -> String {
    result.err().expect("it is refused").to_string()
}

#[tokio::test]
async fn values_are_kept_by_bucket_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ours = bucket(&store, QUOTA);
    assert_eq!(value(&ours, "k").await, None);
    assert_eq!(ours.usage().await.unwrap(), BucketUsage::default());
    set(&ours, "k", "one").await.unwrap();
    set(&ours, "k", "two").await.unwrap();
    set(&ours, "", "empty key").await.unwrap();
    set(&ours, "e", "").await.unwrap();
    let other = store.open(address("other"), QUOTA, BucketAccess::default()).unwrap();
    set(&other, "k", "theirs").await.unwrap();
    drop((ours, other, store));

    let store = open(folder.path());
    let ours = bucket(&store, QUOTA);
    assert_eq!(value(&ours, "k").await.as_deref(), Some("two"));
    let many = ["e", "nothing", "", "k"].map(str::to_owned);
    let found = ours.get_many(&many).await.unwrap();
    let found = found.into_iter().map(|found| found.map(|found| found.value)).collect::<Vec<_>>();
    assert_eq!(found, [Some("".into()), None, Some("empty key".into()), Some("two".into())]);
    assert!(ours.exists("e").await.unwrap() && !ours.exists("nothing").await.unwrap());
    assert_eq!(ours.usage().await.unwrap(), BucketUsage { bytes: 1 + 3 + 9 + 1, keys: 3 });
    assert!(ours.delete("k".to_owned()).await.unwrap() && !ours.delete("k".to_owned()).await.unwrap());
    let gone = ["e", "", "", "nothing"].map(str::to_owned).to_vec();
    assert_eq!(ours.delete_many(gone).await.unwrap(), 2);
    assert_eq!(ours.usage().await.unwrap(), BucketUsage::default());
    let buckets = store.buckets(Some(&"hello".parse().unwrap())).await.unwrap();
    let expected =
        [(address("other"), BucketUsage { bytes: 7, keys: 1 }), (address("state"), BucketUsage::default())];
    assert_eq!(buckets, expected);
    assert_eq!(store.buckets(Some(&"hell".parse().unwrap())).await.unwrap(), []);
}

#[tokio::test]
async fn quota_is_exact_and_what_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let full = bucket(&store, QUOTA);
    let filling: &'static str = "0123456789012345678901234567890123456789012345678";
    set(&full, "a", filling).await.unwrap();
    set(&full, "b", filling).await.unwrap();
    assert_eq!(full.usage().await.unwrap().bytes, 100);
    let error = refused(set(&full, "c", "").await);
    assert_eq!(error, "bucket `state` is full: 101 bytes with this write, expected at most 100");
    let error = refused(full.compare_and_swap("c".to_owned(), None, Bytes::new()).await);
    assert!(error.contains("101 bytes"), "{error}");
    let error = refused(full.increment("c".to_owned(), Delta::Unsigned(1)).await);
    assert!(error.contains("102 bytes"), "{error}");
    set(&full, "a", "").await.unwrap();
    let values = ["c", "d", "e"].map(|key| (key.to_owned(), Bytes::new())).to_vec();
    let error = refused(full.set_many(values).await);
    assert_eq!(error, "bucket `state` is full: 5 keys with this write, expected at most 4");
    assert_eq!(full.usage().await.unwrap(), BucketUsage { bytes: 51, keys: 2 });
    let error = refused(set(&full, "a", "012345678901234567890123456789012345678901234567890").await);
    assert_eq!(error, "value has 51 bytes, expected at most 50");
    let error = refused(set(&full, &"k".repeat(10 << 10), "").await);
    assert_eq!(error, "key has 10240 bytes, expected at most 1024");
    let keys = vec![String::new(); 1001];
    assert_eq!(refused(full.get_many(&keys).await), "1001 keys in one call, expected at most 1000");
    let name = address(&"n".repeat(257));
    let error = refused(store.open(name, QUOTA, BucketAccess::default()));
    assert_eq!(error, "name of a bucket has 257 bytes, expected at most 256");

    let smaller = bucket(&store, BucketQuota { bytes_max: 10, keys_max: 1, ..QUOTA });
    set(&smaller, "b", "less, though still too much").await.unwrap();
    let error = refused(set(&smaller, "a", "x").await);
    assert_eq!(error, "bucket `state` is full: 30 bytes with this write, expected at most 10");
}

#[tokio::test]
async fn values_of_one_call_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (bytes_max, value_bytes_max) = (u64::MAX, 17 << 20);
    let large = bucket(&store, BucketQuota { bytes_max, value_bytes_max, keys_max: 9 });
    let value = Bytes::from(vec![0; 17 << 20]);
    for key in ["a", "b"] {
        large.set(key.to_owned(), value.clone()).await.unwrap();
    }
    let error = refused(large.get_many(&["a", "b"].map(str::to_owned)).await);
    assert_eq!(error, "values of one call have more than 33554432 bytes");
    let values = ["a", "b"].map(|key| (key.to_owned(), value.clone())).to_vec();
    assert_eq!(refused(large.set_many(values).await), error);
}

#[tokio::test]
async fn comparison_notices_a_value_that_came_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    let swap = async |expected, value: &'static str| {
        bucket.compare_and_swap("k".to_owned(), expected, Bytes::from(value)).await.unwrap()
    };
    let Swap::Swapped(first) = swap(None, "a").await else { panic!("there was no value") };
    assert_eq!(swap(None, "b").await, Swap::Unexpected(Some(first)));
    set(&bucket, "k", "b").await.unwrap();
    let back = set(&bucket, "k", "a").await.unwrap();
    assert_eq!(swap(Some(first), "c").await, Swap::Unexpected(Some(back)));
    bucket.delete("k".to_owned()).await.unwrap();
    assert_eq!(swap(Some(back), "c").await, Swap::Unexpected(None));
    let again = set(&bucket, "k", "a").await.unwrap();
    assert_eq!(swap(Some(back), "c").await, Swap::Unexpected(Some(again)));
    assert!(store.delete_bucket(address("state"), Revision(1)).await.unwrap());
    let anew = set(&bucket, "k", "a").await.unwrap();
    assert_eq!(swap(Some(again), "c").await, Swap::Unexpected(Some(anew)));
    let Swap::Swapped(last) = swap(Some(anew), "c").await else { panic!("it was unchanged") };
    let expected = KeyValue { revision: last, value: Bytes::from("c") };
    assert_eq!(bucket.get("k").await.unwrap(), Some(expected));
    let revisions = BTreeSet::from([first, back, again, anew, last]);
    assert_eq!(revisions.len(), 5);
}

#[test]
fn concurrent_swaps_lose_no_increment() {
    const THREADS: usize = 64;
    const INCREMENTS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = store.open(address("n"), QUOTA, RELAXED).unwrap();
    let add = |bucket: &EmbeddedBucket| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..INCREMENTS {
                loop {
                    let found = bucket.get("n").await.unwrap();
                    let text = found.as_ref().map_or("0", |found| std::str::from_utf8(&found.value).unwrap());
                    let sum = text.parse::<usize>().unwrap() + 1;
                    let expected = found.as_ref().map(|found| found.revision);
                    let swap = bucket.compare_and_swap("n".to_owned(), expected, sum.to_string().into());
                    if let Swap::Swapped(_) = swap.await.unwrap() {
                        break;
                    }
                }
                bucket.increment("m".to_owned(), Delta::Signed(-1)).await.unwrap();
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let bucket = bucket.clone();
            scope.spawn(move || add(&bucket));
        }
    });
    drop((bucket, store));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = open(folder.path());
    let bucket = store.open(address("n"), QUOTA, BucketAccess::default()).unwrap();
    let total = (THREADS * INCREMENTS).to_string();
    assert_eq!(runtime.block_on(value(&bucket, "n")), Some(total.clone()));
    assert_eq!(runtime.block_on(value(&bucket, "m")), Some(format!("-{total}")));
}

#[tokio::test]
async fn increments_are_of_decimal_numbers_within_their_type() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    let add = async |key: &str, delta| bucket.increment(key.to_owned(), delta).await;
    assert_eq!(add("u", Delta::Unsigned(u64::MAX - 1)).await.unwrap(), i128::from(u64::MAX - 1));
    assert_eq!(add("u", Delta::Unsigned(1)).await.unwrap(), i128::from(u64::MAX));
    let error = refused(add("u", Delta::Unsigned(1)).await);
    assert_eq!(error, "sum is 18446744073709551616, expected 0 to 18446744073709551615");
    assert_eq!(value(&bucket, "u").await.unwrap(), u64::MAX.to_string());
    assert_eq!(add("i", Delta::Signed(-5)).await.unwrap(), -5);
    let error = refused(add("i", Delta::Unsigned(9)).await);
    assert_eq!(error, "value has 2 bytes that are no decimal number from 0 to 18446744073709551615");
    set(&bucket, "text", "12 apples").await.unwrap();
    let error = refused(add("text", Delta::Signed(1)).await);
    let range = "-9223372036854775808 to 9223372036854775807";
    assert_eq!(error, format!("value has 9 bytes that are no decimal number from {range}"));
}

#[tokio::test]
async fn keys_are_listed_once_each_while_others_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    let name = |n: u32| format!("key/{n:02}");
    bucket.set_many((0..25).map(|n| (name(n), Bytes::new())).collect()).await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor, 10).await.unwrap();
        seen.extend(page.keys);
        // What was seen is written and removed; more comes.
        set(&bucket, &name(3), "again").await.unwrap();
        bucket.delete(name(0)).await.unwrap();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, Vec::from_iter((0..25).map(name)));
    set(&bucket, "kez", "").await.unwrap();
    let found = async |prefix, after, limit| bucket.find_keys(prefix, after, limit).await.unwrap();
    assert_eq!(found("key/", None, 2).await, ["key/01", "key/02"]);
    assert_eq!(found("key/", Some("key/22"), 9).await, ["key/23", "key/24"]);
    assert_eq!(found("key/", Some("a"), 1).await, ["key/01"]);
    assert_eq!(found("", Some("key/24"), 9).await, ["kez"]);
    assert_eq!(found("l", None, 9).await, [""; 0]);
}

#[tokio::test]
async fn deleted_bucket_is_empty_at_once_and_leaves_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    bucket.set_many((0..900).map(|n| (n.to_string(), Bytes::new())).collect()).await.unwrap();
    assert!(store.delete_bucket(address("state"), Revision(1)).await.unwrap());
    assert!(!store.delete_bucket(address("state"), Revision(1)).await.unwrap());
    assert_eq!((value(&bucket, "1").await, bucket.usage().await.unwrap()), (None, BucketUsage::default()));
    assert_eq!(bucket.list_keys(None, 9).await.unwrap(), KeyPage { keys: Vec::new(), cursor: None });
    set(&bucket, "1", "new").await.unwrap();
    drop((bucket, store));
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    loop {
        set(&bucket, "1", "newer").await.unwrap();
        let rows = |database: &Database| {
            use redb::ReadableTableMetadata as _;
            let read = database.begin_read()?;
            let values = read.open_table(tables::VALUES)?.len()?;
            Ok((values, read.open_table(tables::KEYS)?.len()?, read.open_table(tables::DELETED)?.len()?))
        };
        if store.group.wait().await.unwrap().read(rows).unwrap() == (1, 1, 0) {
            break;
        }
    }
    assert_eq!(value(&bucket, "1").await.as_deref(), Some("newer"));
}

#[tokio::test]
async fn relaxed_write_is_seen_at_once_and_kept_when_the_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let relaxed = store.open(address("state"), QUOTA, RELAXED).unwrap();
    set(&relaxed, "k", "v").await.unwrap();
    assert_eq!(value(&relaxed, "k").await.as_deref(), Some("v"));
    store.release().await;
    let error = relaxed.get("k").await.unwrap_err();
    assert!(matches!(error, BucketError::Store(StoreError::Released(_))), "{error}");
    {
        let other = open(folder.path());
        assert_eq!(value(&bucket(&other, QUOTA), "k").await.as_deref(), Some("v"));
    }
    store.take_back().await.unwrap();
    set(&relaxed, "k", "w").await.unwrap();
    assert_eq!(value(&relaxed, "k").await.as_deref(), Some("w"));
}

#[tokio::test]
async fn operations_wait_until_the_process_before_has_released_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let before = open(folder.path());
    let ours = bucket(&before, QUOTA);
    set(&ours, "k", "v").await.unwrap();
    let impatient = EmbeddedBuckets::open_once_free(folder.path(), Duration::ZERO);
    let error = bucket(&impatient, QUOTA).get("k").await.unwrap_err();
    assert!(matches!(error, BucketError::Store(StoreError::InUse(_))), "{error}");

    let after = EmbeddedBuckets::open_once_free(folder.path(), Duration::from_secs(60));
    let theirs = bucket(&after, QUOTA);
    let swapped = theirs.increment("n".to_owned(), Delta::Unsigned(2));
    let mut swapped = std::pin::pin!(swapped);
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(swapped.as_mut().poll(&mut nobody).is_pending());
    set(&ours, "n", "40").await.unwrap();
    before.release().await;
    assert_eq!(swapped.await.unwrap(), 42);
    assert_eq!(value(&theirs, "k").await.as_deref(), Some("v"));
    let error = set(&ours, "k", "lost").await.unwrap_err();
    assert!(matches!(error, BucketError::Store(StoreError::Released(_))), "{error}");
    let all = after.buckets(None).await.unwrap();
    assert_eq!(all, [(address("state"), BucketUsage { bytes: 5, keys: 2 })]);
}

#[tokio::test]
async fn copy_holds_what_was_there_at_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bucket = large_bucket(&store);
    let revision = set(&bucket, "k", "before").await.unwrap();
    let (copy_to, (begun, begins)) = (tempfile::tempdir().unwrap(), tokio::sync::oneshot::channel());
    let copied = store.copy(copy_to.path().to_owned(), move || begun.send(()).unwrap());
    let later = async {
        begins.await.unwrap();
        set(&bucket, "k", "after").await.unwrap();
    };
    let (copied, ()) = tokio::join!(copied, later);
    copied.unwrap();
    let copy = large_bucket(&open(copy_to.path()));
    let expected = KeyValue { revision, value: Bytes::from("before") };
    assert_eq!(copy.get("k").await.unwrap(), Some(expected));
    set(&copy, "l", "more").await.unwrap();
    assert_eq!(copy.list_keys(None, 9).await.unwrap().keys, ["k", "l"]);
}
