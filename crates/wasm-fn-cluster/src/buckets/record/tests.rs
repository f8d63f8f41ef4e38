//! Tests of records: what became of a write is told for certain, or not at all.

use super::*;

const NOTHING: Head = Head { sequence: 0, record: None };

fn after(head: &Head, write: &str, sequence: u64) -> Head {
    let usage = BucketUsage { bytes: sequence, keys: 1 };
    let record = head.next(write, usage, Revision(7), || "id".to_owned()).unwrap();
    Head::read(sequence, &record.to_bytes()).unwrap()
}

#[test]
fn fate_of_a_write_is_told_as_long_as_it_is_known() {
    assert_eq!(NOTHING.fate("a", 0), Fate::Open);
    let first = after(&NOTHING, "a", 10);
    assert_eq!(first.fate("a", 0), Fate::Made(10));
    assert_eq!(first.fate("b", 0), Fate::Overtaken);
    assert_eq!(first.fate("b", 10), Fate::Open);
    let second = after(&first, "b", 20);
    assert_eq!((second.fate("a", 0), second.fate("b", 10)), (Fate::Made(10), Fate::Made(20)));
    assert_eq!(second.fate("c", 10), Fate::Overtaken);
    let mut head = second;
    for sequence in 21..21 + WRITES_MAX as u64 {
        head = after(&head, &format!("w{sequence}"), sequence);
    }
    assert_eq!((head.fate("b", 10), head.fate("c", 10)), (Fate::Forgotten, Fate::Forgotten));
    assert_eq!(head.usage().bytes, head.sequence);
    assert_eq!(head.record.unwrap().writes.len(), WRITES_MAX);
}

#[test]
fn a_deleted_bucket_comes_back_only_for_who_knows_that_it_is_gone() {
    let live = after(&NOTHING, "a", 10);
    assert_eq!(live.deleted(Revision(6)), None, "it was made later");
    let record = live.deleted(Revision(9)).unwrap();
    let gone = Head::read(11, &record.to_bytes()).unwrap();
    assert_eq!((gone.live(), gone.usage()), (None, BucketUsage::default()));
    assert_eq!(gone.deleted(Revision(9)), None);
    let usage = BucketUsage::default();
    assert_eq!(gone.next("b", usage, Revision(8), || "new".to_owned()), None);
    let anew = gone.next("b", usage, Revision(9), || "new".to_owned()).unwrap();
    assert_eq!((&*anew.id, anew.made), ("new", 9));
    assert_eq!(gone.fate("a", 10), Fate::Forgotten);
}

/// Records as this format has been written; another release may read them, or may have written them.
const WRITTEN: &str = include_str!("../../../formats/1/bucket.json");
const WRITTEN_GONE: &str = include_str!("../../../formats/1/bucket-gone.json");

#[test]
fn records_of_this_format_are_written_and_read_as_ever() {
    let live = after(&after(&NOTHING, "a", 10), "b", 20);
    assert_eq!(live.record.as_ref().unwrap().to_bytes(), WRITTEN.trim_end());
    let gone = live.deleted(Revision(9)).unwrap();
    assert_eq!(gone.to_bytes(), WRITTEN_GONE.trim_end());
    for (written, expected) in [(WRITTEN, live.record.as_ref().unwrap()), (WRITTEN_GONE, &gone)] {
        // A later release that keeps the format may say more.
        let more = written.replacen('{', "{\"later\":[1],", 1);
        for text in [written, &more] {
            assert_eq!(Head::read(20, text.as_bytes()).unwrap().record.as_ref(), Some(expected));
        }
    }
}

#[test]
fn a_newer_format_is_named() {
    let text = r#"{"format":2,"id":"x","made":1,"bytes":1,"keys":1}"#;
    assert_eq!(Head::read(1, text.as_bytes()).unwrap_err(), "it has format 2, expected at most 1");
}
