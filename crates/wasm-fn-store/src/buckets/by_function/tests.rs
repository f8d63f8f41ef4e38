//! Tests that what is deleted stays deleted.

use bytes::Bytes;

use super::{super::Bucket as _, *};
use crate::{EmbeddedBucket, EmbeddedBuckets};

fn open(
    buckets: &FunctionBuckets<EmbeddedBuckets>,
    function: &str,
    stage: &str,
) -> FunctionBucket<EmbeddedBucket> {
    let (function, stage) = (function.parse().unwrap(), stage.parse().unwrap());
    buckets.open(&function, &stage, &"state".parse().unwrap(), &BucketConfig::default())
}

async fn set(bucket: &FunctionBucket<EmbeddedBucket>) -> Result<(), BucketError> {
    let set = bucket.bucket().set("k".to_owned(), Bytes::from_static(b"v"));
    bucket.run(BucketOperation::Write, set).await.map(drop)
}

async fn is_empty(bucket: &FunctionBucket<EmbeddedBucket>) -> bool {
    !bucket.run(BucketOperation::Read, bucket.bucket().exists("k")).await.unwrap()
}

#[tokio::test]
async fn deleted_stage_takes_its_data_along_and_refuses_who_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = FunctionBuckets::new(EmbeddedBuckets::open(folder.path()).unwrap());
    let (live, staging) = (open(&buckets, "hello", "live"), open(&buckets, "hello", "staging"));
    let other = open(&buckets, "hello-2", "live");
    for bucket in [&live, &staging, &other] {
        assert!(is_empty(bucket).await);
        set(bucket).await.unwrap();
    }
    let hello: FunctionName = "hello".parse().unwrap();
    assert_eq!(buckets.delete(&hello, Some(&"staging".parse().unwrap()), Revision(1)).await.unwrap(), 1);
    assert!(matches!(set(&staging).await, Err(BucketError::Deleted)));
    assert!(is_empty(&open(&buckets, "hello", "staging")).await);
    set(&live).await.unwrap();

    assert_eq!(buckets.delete(&hello, None, Revision(1)).await.unwrap(), 1);
    assert!(matches!(set(&live).await, Err(BucketError::Deleted)));
    let again = open(&buckets, "hello", "live");
    assert!(is_empty(&again).await && !is_empty(&other).await);
    set(&again).await.unwrap();
    let counts = BucketOperationCounts { reads: 6, writes: 5, refused: 2, failed: 0 };
    assert_eq!(buckets.operations(), counts);
}

#[tokio::test]
async fn operation_in_flight_comes_before_the_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = FunctionBuckets::new(EmbeddedBuckets::open(folder.path()).unwrap());
    let bucket = open(&buckets, "hello", "live");
    let (hello, count) = ("hello".parse().unwrap(), 50);
    let writes = async {
        let mut done = 0;
        while done < count && set(&bucket).await.is_ok() {
            done += 1;
            tokio::task::yield_now().await;
        }
    };
    let (_, deleted) = tokio::join!(writes, buckets.delete(&hello, None, Revision(1)));
    deleted.unwrap();
    assert!(matches!(set(&bucket).await, Err(BucketError::Deleted)));
    assert_eq!(buckets.usage().await.unwrap(), []);
}

#[tokio::test]
async fn buckets_of_what_does_not_exist_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = FunctionBuckets::new(EmbeddedBuckets::open(folder.path()).unwrap());
    for (function, stage) in [("a", "live"), ("a", "staging"), ("b", "live")] {
        set(&open(&buckets, function, stage)).await.unwrap();
    }
    let exists = |function: &FunctionName, stage: &StageName| function.as_str() == "a" && stage.is_live();
    assert_eq!(buckets.retain(Revision(1), exists).await.unwrap(), 2);
    let left = buckets.usage().await.unwrap();
    let left: Vec<_> = left.iter().map(|(address, usage)| (address.function.as_str(), usage.keys)).collect();
    assert_eq!(left, [("a", 1)]);
}
