//! Any sequence of operations leaves a bucket as a plain map would be, also across restarts.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<(u8, usize)>),
    Delete(Vec<u8>),
    Swap { key: u8, is_current: bool, bytes: usize },
    Increment { key: u8, delta: i64 },
    DeleteBucket,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u8..6;
    prop_oneof![
        6 => proptest::collection::vec((key.clone(), 0_usize..60), 1..4).prop_map(Step::Set),
        3 => proptest::collection::vec(key.clone(), 1..4).prop_map(Step::Delete),
        4 => (key.clone(), any::<bool>(), 0_usize..60)
            .prop_map(|(key, is_current, bytes)| Step::Swap { key, is_current, bytes }),
        3 => (key, -3_i64..4).prop_map(|(key, delta)| Step::Increment { key, delta }),
        1 => Just(Step::DeleteBucket),
        1 => Just(Step::Reopen),
    ]
}

type Map = BTreeMap<String, Vec<u8>>;

fn usage(map: &Map) -> BucketUsage {
    let bytes = map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    BucketUsage { bytes, keys: map.len() as u64 }
}

/// Makes `map` what `changed` is, unless that breaks the quota. Returns whether it did.
fn keep(map: &mut Map, changed: Map) -> bool {
    let (before, after) = (usage(map), usage(&changed));
    let fits = changed.values().all(|value| value.len() as u64 <= QUOTA.value_bytes_max)
        && (after.bytes <= QUOTA.bytes_max || after.bytes <= before.bytes)
        && (after.keys <= QUOTA.keys_max || after.keys <= before.keys);
    if fits {
        *map = changed;
    }
    fits
}

fn number(value: Option<&Vec<u8>>) -> Option<i64> {
    let Some(value) = value else { return Some(0) };
    std::str::from_utf8(value).ok()?.parse().ok()
}

async fn apply(bucket: &EmbeddedBucket, map: &mut Map, step: &Step) {
    let name = |key: &u8| format!("{key}");
    let filling = |bytes: usize| Bytes::from(vec![b'7'; bytes]);
    let mut changed = map.clone();
    match step {
        Step::Set(values) => {
            let values: Vec<_> = values.iter().map(|(key, bytes)| (name(key), filling(*bytes))).collect();
            // Each value has to fit, though another one follows.
            let fits = values.iter().all(|(_, value)| value.len() as u64 <= QUOTA.value_bytes_max);
            changed.extend(values.iter().map(|(key, value)| (key.clone(), value.to_vec())));
            let is_kept = fits && keep(map, changed);
            assert_eq!(bucket.set_many(values).await.is_ok(), is_kept);
        }
        Step::Delete(keys) => {
            changed.retain(|key, _| !keys.iter().map(name).any(|other| other == *key));
            let removed = map.len() - changed.len();
            *map = changed;
            let keys = keys.iter().map(name).collect();
            assert_eq!(bucket.delete_many(keys).await.unwrap(), removed as u64);
        }
        Step::Swap { key, is_current, bytes } => {
            let key = name(key);
            let found = bucket.get(&key).await.unwrap().map(|found| found.revision);
            let expected = if *is_current { found } else { Some(KeyRevision(u64::MAX)) };
            let swap = bucket.compare_and_swap(key.clone(), expected, filling(*bytes)).await;
            changed.insert(key, filling(*bytes).to_vec());
            let fits = *bytes as u64 <= QUOTA.value_bytes_max;
            match (fits, is_current) {
                (true, false) => assert_eq!(swap.unwrap(), Swap::Unexpected(found)),
                _ => assert_eq!(matches!(swap, Ok(Swap::Swapped(_))), keep(map, changed)),
            }
        }
        Step::Increment { key, delta } => {
            let key = name(key);
            let sum = number(map.get(&key)).and_then(|number| number.checked_add(*delta));
            let result = bucket.increment(key.clone(), Delta::Signed(*delta)).await;
            let Some(sum) = sum else {
                assert!(result.is_err(), "{result:?}");
                return;
            };
            changed.insert(key, sum.to_string().into_bytes());
            let is_kept = keep(map, changed);
            assert_eq!(result.ok(), is_kept.then_some(sum.into()));
        }
        Step::DeleteBucket | Step::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn bucket_is_a_map_within_its_quota(steps in proptest::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            let mut map = Map::new();
            for step in &steps {
                match step {
                    Step::Reopen => {
                        drop(store);
                        store = open(folder.path());
                    }
                    Step::DeleteBucket => {
                        store.delete_bucket(address("state"), Revision(1)).await.unwrap();
                        map.clear();
                    }
                    step => apply(&bucket(&store, QUOTA), &mut map, step).await,
                }
                let bucket = bucket(&store, QUOTA);
                assert_eq!(bucket.usage().await.unwrap(), usage(&map));
                let keys = bucket.find_keys("", None, 99).await.unwrap();
                assert_eq!(keys, Vec::from_iter(map.keys().cloned()));
                let mut listed = bucket.list_keys(None, 99).await.unwrap().keys;
                listed.sort();
                assert_eq!(listed, keys);
                for (key, value) in &map {
                    assert_eq!(bucket.get(key).await.unwrap().unwrap().value, value[..]);
                }
            }
        });
    }
}
