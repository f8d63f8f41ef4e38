//! Tests for `log`.

mod fuzzing;

use super::*;

fn commit(subject: Subject) -> Commit {
    Commit {
        revision: Revision(7),
        subject,
        document: Some("{\"a\":\"ä\"}".to_owned()),
        record: "record 7".to_owned(),
        forgets_traps: true,
    }
}

#[test]
fn what_was_written_is_read() {
    let plain = Commit { document: None, forgets_traps: false, ..commit(Subject::Access) };
    for commit in [commit(Subject::Function("hello".parse().unwrap())), commit(Subject::Access), plain] {
        assert_eq!(read(7, &write(&commit)), Ok(commit));
    }
}

#[test]
fn what_is_no_commit_is_named() {
    let check = |payload: &str, expected: &str| {
        let error = read(7, payload.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    check("", "message is no commit: ");
    check("{}", "message is no commit: missing field `format`");
    check(r#"{"format":2,"else":1}"#, "message has format 2, expected at most 1");
    check(
        r#"{"format":1,"revision":6,"subject":"access","record":""}"#,
        "message is no commit: it is of revision 6, expected 7",
    );
    check(
        r#"{"format":1,"revision":7,"subject":{"function":"A"},"record":""}"#,
        "message is no commit: function name",
    );
}

/// A commit as this format has been written; another release may read it, or may have written it.
const WRITTEN: &str = include_str!("../../formats/1/commit.json");

#[test]
fn commits_of_this_format_are_written_and_read_as_ever() {
    let commit = commit(Subject::Function("hello".parse().unwrap()));
    assert_eq!(write(&commit), WRITTEN.trim_end());
    assert_eq!(read(7, WRITTEN.as_bytes()), Ok(commit.clone()));
    // A later release that keeps the format may say more.
    let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
    assert_eq!(read(7, more.as_bytes()), Ok(commit));
}
