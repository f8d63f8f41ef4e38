//! Messages of a broker that anybody may have written to.

use super::*;
use crate::fuzzing;

#[test]
fn any_record_is_a_commit_or_refused() {
    fuzzing::fuzz("records of the log", &fuzzing::corpus("tests/corpus/log"), |case| {
        if let Ok(commit) = read(7, case) {
            assert_eq!(read(7, &write(&commit)), Ok(commit));
        }
    });
}
