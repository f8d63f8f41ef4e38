//! The reference has every key, and its examples are valid.

use expect_test::expect_file;

use super::{keys::tables, markdown, read};

#[test]
fn the_page_is_what_the_program_does() {
    expect_file!["../../../../../docs/reference/config.md"].assert_eq(&markdown());
}

#[test]
fn every_key_is_there() {
    for table in tables() {
        // The parser lists the keys that it knows when it meets one that it does not.
        let unknown = format!("{}\n{}\n\"?\" = 1\n", table.above, table.header);
        let error = read(&unknown).unwrap_err();
        let (_, known) = error.split_once(", expected ").unwrap_or_else(|| panic!("{unknown}{error}"));
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        let names: Vec<_> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(names, known, "{}", table.header);
    }
}

#[test]
fn every_example_is_valid() {
    for table in tables() {
        for key in &table.keys {
            let file = table.file(key, key.example);
            assert_eq!(read(&file), Ok(()), "{file}");
        }
    }
}
