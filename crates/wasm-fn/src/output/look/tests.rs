//! Wrapping and colours.

use super::Look;

#[test]
fn text_below_a_row_wraps_between_words() {
    let terminal = Look { columns: Some(30), colours: false };
    assert_eq!(
        terminal.below(4, "errors: 5 of 5 requests on the canary"),
        "    errors: 5 of 5 requests on\n    the canary"
    );
    assert_eq!(terminal.below(4, &"x".repeat(40)), format!("    {}", "x".repeat(40)));
    assert_eq!(Look::default().below(4, &"word ".repeat(40)), format!("    {}", "word ".repeat(40)));
}

#[test]
fn only_what_has_colours_gets_some() {
    assert_eq!(Look::default().failed("aborted"), "aborted");
    let coloured = Look { columns: None, colours: true };
    assert_eq!(coloured.failed("aborted"), "\u{1b}[31maborted\u{1b}[0m");
}
