//! Documents and records that are not what was written: each is read or refused, and what is read is written
//! as it was read.

use super::*;
use crate::journal::Walk;

#[path = "../../../../../tests/fuzzing.rs"]
mod engine;

#[test]
fn documents_of_functions_are_read_or_refused() {
    engine::fuzz("documents of functions", &engine::corpus("tests/corpus/stored"), |case| {
        let text = String::from_utf8_lossy(case).into_owned();
        let name: FunctionName = "hello".parse().unwrap();
        let Ok(read) = read_function(&text) else { return };
        let written = serde_json::to_string(&stored::StoredFunction::from(&read)).unwrap();
        let again = read_functions(BTreeMap::from([(name, written.clone())])).unwrap();
        let written_again = serde_json::to_string(&stored::StoredFunction::from(&again[0].1)).unwrap();
        assert_eq!(written, written_again);
    });
}

#[test]
fn documents_of_access_are_read_or_refused() {
    let corpus = [br#"{"tokens":{}}"#.to_vec(), br#"{"tokens":{},"data_keys":["a"]}"#.to_vec()];
    engine::fuzz("documents of access", &corpus, |case| {
        let _ = read_access(&String::from_utf8_lossy(case));
    });
}

#[test]
fn records_of_the_journal_are_read_or_refused() {
    engine::fuzz("records of the journal", &engine::corpus("tests/corpus/journal"), |case| {
        let text = String::from_utf8_lossy(case);
        let _ = Walk::new().step(1, &text);
        let _ = Entry::verify_next(None, &text);
        if let Ok(entry) = Entry::parse(&text) {
            let written = entry.to_json();
            assert_eq!(Entry::parse(&written).map(|entry| entry.to_json()).ok(), Some(written));
        }
    });
}
