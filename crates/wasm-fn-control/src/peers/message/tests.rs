//! What travels is what was told, and garbled bytes are refused.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasm_fn_rollout::Class;

use super::*;

fn id() -> GateId {
    let version = |no| VersionNo::new(no).unwrap();
    let rollout = RolloutId { canary: version(2), base: version(1), started_ms: 77 };
    GateId { key: ("hello".parse().unwrap(), "live".parse().unwrap()), rollout, gate_no: 3 }
}

fn message() -> JointMessage {
    let weight = |points| Weight::from_basis_points(points).unwrap();
    let mut batch = Batch::new(weight(100), weight(100));
    batch.canary = Counts::of(9).with(Event::FailedAtAll, Bad { requests: 3, units: 1 });
    batch.clustered = Counts::of(2);
    batch.stable = Counts::of(900).with(Event::Failed(Class::Trap), Bad::each(1));
    batch.baseline.sampled = 4;
    batch.cohort = Counts::of(1).with(Event::AboveMedian, Bad::each(1));
    (batch.voices, batch.stalled) = (5, true);
    batch.add_user_events(u64::MAX, Arm::Canary, true, 0b10_0001);
    batch.add_user_events(7, Arm::Cohort, false, 0b10_0000);
    let piece = Piece { place: 1, by_cohort: true, batch };
    let voices = (2, VoiceBits([1, 0, u64::MAX, 3]));
    let trap = Trapped { arm: Arm::Cohort, fingerprint: u64::MAX, user: Some(1), share: weight(1), begun: 6 };
    JointMessage {
        instance: u64::MAX,
        is_fresh: true,
        round: 12,
        wanted: 13,
        terms: 2,
        begun: [11, 1],
        oldest: 4,
        first: 5,
        entries: vec![
            JointEntry::Round(RoundReport { round: 10, next: 11, pieces: vec![piece], voices }),
            JointEntry::Trap(trap),
            JointEntry::Known(vec![1, u64::MAX]),
        ],
        end: 8,
        asks: vec![(3, 4)],
        failed: Some("broken".to_owned()),
        withheld: true,
    }
}

#[test]
fn what_is_read_is_what_was_told() {
    let (found, read) = decode(&encode(&id(), message())).unwrap();
    assert_eq!((found, read), (id(), message()));
}

#[test]
fn fields_of_a_later_release_are_ignored_and_its_entries_count_for_nothing() {
    let told = String::from_utf8(encode(&id(), message()).to_vec()).unwrap();
    let later = told.replacen("{\"function\"", "{\"new\":[1],\"function\"", 1);
    let later = later.replacen("\"entries\":[", "\"entries\":[{\"other\":{\"a\":1}},", 1);
    let (_, read) = decode(later.as_bytes()).unwrap();
    let mut expected = message();
    expected.entries.insert(0, JointEntry::Known(Vec::new()));
    assert_eq!(read, expected);
}

#[test]
fn another_format_a_large_message_and_values_out_of_bounds_are_refused() {
    let told = encode(&id(), message());
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(told.to_vec()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        decode(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(decode(b"e\x02{}").unwrap_err().to_string(), "message has format Some(2), expected 1");
    assert_eq!(decode(b"e").unwrap_err().to_string(), "message has format None, expected 1");
    let large = vec![b'e'; BYTES_MAX + 1];
    assert_eq!(decode(&large).unwrap_err().to_string(), "message has 524289 bytes, expected at most 524288");
    assert_eq!(changed("\"share\":100", "\"share\":10001"), "share of the message is out of bounds");
    assert_eq!(changed("\"canary\":2", "\"canary\":0"), "version of the message is out of bounds");
    assert_eq!(
        changed("\"function\":\"hello\"", "\"function\":\"?\""),
        "function of the message is out of bounds"
    );
    assert_eq!(
        changed("\"requests\":9,", "\"requests\":281474976710657,"),
        "number of the message is out of bounds"
    );
    assert_eq!(changed("\"arm\":3", "\"arm\":4"), "arm of the message is out of bounds");
    assert!(changed("\"end\":8", "\"end\":-8").starts_with("message cannot be read: invalid value"));
}

#[test]
fn garbled_bytes_are_never_more_than_refused() {
    let told = encode(&id(), message()).to_vec();
    let mut random = StdRng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut bytes = told.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        bytes.truncate(random.random_range(0..=bytes.len()));
        refused += usize::from(decode(&bytes).is_err());
    }
    assert!(refused > 1_900, "{refused} of 2000 were refused");
}

/// A message as this format has been written; another release may hear it, or may have told it.
const WRITTEN: &str = include_str!("../../../formats/1/evidence");

#[test]
fn messages_of_this_format_are_written_and_read_as_ever() {
    assert_eq!(String::from_utf8(encode(&id(), message()).to_vec()).unwrap(), WRITTEN.trim_end());
    assert_eq!(decode(WRITTEN.trim_end().as_bytes()).unwrap(), (id(), message()));
}
