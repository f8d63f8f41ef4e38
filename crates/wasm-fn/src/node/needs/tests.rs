//! Tests of the list that one process leaves for another.

use super::*;

fn need(byte: u8, function: &str, version: u32) -> Need {
    let version = VersionNo::new(version).unwrap();
    Need { component: Digest([byte; 32]), function: function.parse().unwrap(), version }
}

#[test]
fn a_list_is_read_by_whom_its_writer_started_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let needs = [need(1, "hello", 2), need(0xff, "a-b_c", 4_000_000_000)];
    let list = leave(folder.path(), &needs).unwrap();
    let text = fs::read_to_string(&list.0).unwrap();
    assert_eq!(parse(&text, std::process::id()).unwrap(), needs);
    assert_eq!(parse(&text, std::process::id() + 1), None);
    drop(list);
    assert_eq!(take(folder.path()), None, "the list is gone with the swap");
}

#[test]
fn text_that_is_no_list_is_none() {
    for text in ["", "7", "seven\n", "7\nhello\n", "7\n00 hello v1\n", "8\n"] {
        assert_eq!(parse(text, 7), None, "{text:?}");
    }
    assert_eq!(parse("7\n", 7), Some(Vec::new()));
}

#[test]
fn a_list_that_cannot_be_written_is_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(leave(&folder.path().join("missing"), &[]).is_none());
}
