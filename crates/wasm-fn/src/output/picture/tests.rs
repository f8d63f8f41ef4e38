//! How much of a text fits on a terminal.

use super::fit;

#[test]
fn lines_are_cut_before_the_terminal_breaks_them() {
    assert_eq!(fit("12345\n1234\n\n", 5, 10), ["123…", "1234", ""]);
    assert_eq!(fit("größe und mehr", 6, 10), ["größ…"]);
}

#[test]
fn no_more_lines_than_can_be_taken_back() {
    assert_eq!(fit("a\nb\nc\nd", 80, 3), ["a", "b"]);
    assert_eq!(fit("ab\nc", 0, 0), ["…"]);
    assert!(fit("", 80, 24).is_empty());
}
