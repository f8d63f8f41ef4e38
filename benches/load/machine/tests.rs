//! Two cores are found, and fewer are refused.

use super::Cores;

#[test]
fn first_two_cores_are_taken() {
    for (list, server, client) in [("0-1", 0, 1), ("0-63", 0, 1), ("3,7", 3, 7), ("2,4-6", 2, 4)] {
        assert_eq!(Cores::of(list).unwrap(), Cores { server, client }, "{list}");
    }
}

#[test]
fn one_core_is_refused_by_count_and_name() {
    let refused = Cores::of("5").unwrap_err().to_string();
    assert!(refused.starts_with("1 core found (5), expected at least 2: "), "{refused}");
}

#[test]
fn text_that_lists_no_cores_is_refused() {
    assert_eq!(Cores::of("").unwrap_err().to_string(), "`` is no list of cores");
    assert_eq!(Cores::of("0-x").unwrap_err().to_string(), "`0-x` is no list of cores");
}
