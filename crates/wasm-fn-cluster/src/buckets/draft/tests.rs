//! Tests of drafts: operations of one write see each other, and the quota is exact.

use super::*;

const QUOTA: BucketQuota = BucketQuota { bytes_max: 100, keys_max: 3, value_bytes_max: 50 };

fn found(entries: &[(&str, Option<(u64, &'static str)>)]) -> Found {
    let stored = |(revision, value): (u64, &'static str)| Stored {
        revision: KeyRevision(revision),
        bytes: value.len() as u64,
        first: Bytes::from_static(value.as_bytes()),
    };
    entries.iter().map(|(key, entry)| ((*key).to_owned(), entry.map(stored))).collect()
}

fn set(entries: &[(&str, Option<&'static str>)]) -> Change {
    let value = |value: &'static str| Bytes::from_static(value.as_bytes());
    Change::Set(entries.iter().map(|(key, entry)| ((*key).to_owned(), entry.map(value))).collect())
}

fn refused(taken: Taken) -> String {
    match taken {
        Taken::Refused(error) => error.to_string(),
        taken => panic!("{taken:?}"),
    }
}

fn told(taken: Taken) -> Told {
    match taken {
        Taken::Yes(told) => told,
        taken => panic!("{taken:?}"),
    }
}

#[test]
fn increments_go_on_from_each_other_and_nothing_else_does() {
    let found = found(&[("n", Some((5, "40"))), ("new", None), ("text", Some((6, "4x")))]);
    let mut draft = Draft::new("b", BucketUsage { bytes: 9, keys: 2 }, &found);
    let add = |key: &str, delta| Change::Increment(key.to_owned(), delta);
    assert_eq!(told(draft.take(&add("n", Delta::Unsigned(1)), &QUOTA)), Told::Sum(41));
    assert_eq!(told(draft.take(&add("n", Delta::Signed(1)), &QUOTA)), Told::Sum(42));
    assert_eq!(told(draft.take(&add("new", Delta::Signed(-7)), &QUOTA)), Told::Sum(-7));
    let error = refused(draft.take(&add("new", Delta::Unsigned(1)), &QUOTA));
    assert_eq!(error, "value has 2 bytes that are no decimal number from 0 to 18446744073709551615");
    assert!(refused(draft.take(&add("text", Delta::Unsigned(1)), &QUOTA)).starts_with("value has 2 bytes"));
    let error = refused(draft.take(&add("n", Delta::Unsigned(u64::MAX)), &QUOTA));
    assert_eq!(error, "sum is 18446744073709551657, expected 0 to 18446744073709551615");
    assert!(matches!(draft.take(&set(&[("n", None)]), &QUOTA), Taken::Later));
    let swap = Change::Swap { key: "n".to_owned(), expected: Some(KeyRevision(5)), value: Bytes::new() };
    assert!(matches!(draft.take(&swap, &QUOTA), Taken::Later));
    assert_eq!(told(draft.take(&set(&[("text", None)]), &QUOTA)), Told::Known(1));
    assert!(matches!(draft.take(&add("text", Delta::Unsigned(1)), &QUOTA), Taken::Later));
    let changes: Vec<_> = draft.changes().map(|(key, value)| (key, value.map(|value| &value[..]))).collect();
    assert_eq!(changes, [("n", Some(&b"42"[..])), ("new", Some(&b"-7"[..])), ("text", None)]);
    assert_eq!(draft.usage(), BucketUsage { bytes: 3 + 5, keys: 2 });
}

#[test]
fn quota_is_exact_and_what_shrinks_a_bucket_is_taken() {
    let found = found(&[("a", Some((1, "12345"))), ("b", None), ("c", None), ("d", None)]);
    let mut draft = Draft::new("b", BucketUsage { bytes: 94, keys: 3 }, &found);
    let error = refused(draft.take(&set(&[("b", Some(""))]), &QUOTA));
    assert_eq!(error, "bucket `b` is full: 4 keys with this write, expected at most 3");
    assert_eq!(told(draft.take(&set(&[("a", Some("0123456789"))]), &QUOTA)), Told::Known(1));
    assert_eq!(draft.usage(), BucketUsage { bytes: 99, keys: 3 });
    let swap = |expected, value: &'static str| Change::Swap {
        key: "b".to_owned(),
        expected,
        value: Bytes::from_static(value.as_bytes()),
    };
    let unexpected = draft.take(&swap(Some(KeyRevision(9)), "x"), &QUOTA);
    assert_eq!(told(unexpected), Told::Unexpected(None));
    let fewer = BucketQuota { keys_max: 9, ..QUOTA };
    let error = refused(draft.take(&swap(None, "x"), &fewer));
    assert_eq!(error, "bucket `b` is full: 101 bytes with this write, expected at most 100");
    assert_eq!(told(draft.take(&swap(None, ""), &fewer)), Told::Swapped);
    let small = BucketQuota { bytes_max: 10, keys_max: 1, ..QUOTA };
    assert!(matches!(draft.take(&set(&[("c", None), ("d", None)]), &small), Taken::Yes(Told::Known(0))));
    assert_eq!(draft.usage(), BucketUsage { bytes: 100, keys: 4 });
    assert_eq!(draft.changes().count(), 2);
}

#[test]
fn a_draft_takes_no_more_than_a_batch_does() {
    let keys: Vec<_> = (0..1100).map(|number| number.to_string()).collect();
    let found: Found = keys.iter().map(|key| (key.clone(), None)).collect();
    let quota = BucketQuota { bytes_max: u64::MAX, keys_max: 9999, value_bytes_max: 9 << 20 };
    let mut draft = Draft::new("b", BucketUsage::default(), &found);
    let taken = keys.iter().take_while(|key| {
        let change = Change::Set([((*key).clone(), Some(Bytes::new()))].into());
        matches!(draft.take(&change, &quota), Taken::Yes(_))
    });
    assert_eq!(taken.count(), 999);
    let mut draft = Draft::new("b", BucketUsage::default(), &found);
    let large = Bytes::from(vec![0; 8 << 20]);
    let taken = keys.iter().take_while(|key| {
        let change = Change::Set([((*key).clone(), Some(large.clone()))].into());
        matches!(draft.take(&change, &quota), Taken::Yes(_))
    });
    assert_eq!(taken.count(), 4);
}
