//! Tables on a terminal: how wide they are, and what is coloured.

use console::{measure_text_width, strip_ansi_codes};

use super::*;

const TERMINAL: Look = Look { columns: Some(80), colours: false };

const COLOURED: Look = Look { columns: Some(80), colours: true };

/// Every table, as `look` draws it.
fn drawn(look: Look) -> Vec<String> {
    vec![
        tables::functions(&list(), look),
        tables::summaries(&list(), look),
        tables::status(&status(), NOW_MS, look),
        tables::versions(&version_list(), NOW_MS, look),
        tables::history(&history_page(), true, look),
    ]
}

#[test]
fn tables_fit_80_columns() {
    for text in drawn(TERMINAL) {
        for line in text.lines() {
            assert!(measure_text_width(line) <= 80, "{} columns:\n{text}", measure_text_width(line));
        }
    }
}

#[test]
fn long_texts_wrap_between_words_on_a_terminal_and_stay_on_their_line_elsewhere() {
    let mut history = history_page();
    let why = "errors: 5 of 5 requests (100.00%) on the canary, 0 of 33 (0.00%) on stable; e-value 13501, fails at 3333";
    history.entries[1].reason = Some(why.to_owned());
    let wrapped = tables::history(&history, false, TERMINAL);
    check(
        &wrapped.lines().take(6).collect::<Vec<_>>().join("\n"),
        &expect![[r#"
            REVISION  AT                    ACTION  VERSION  HASH          SPLIT
                   9  2026-11-22T10:00:00Z  delete  -        abababababab  -
                      by admin from 127.0.0.1:50000
                   8  2026-11-22T10:00:00Z  abort   v2       abababababab  v1=100%
                      by admin from 127.0.0.1:50000: errors: 5 of 5 requests (100.00%) on
                      the canary, 0 of 33 (0.00%) on stable; e-value 13501, fails at 3333"#]],
    );
    assert!(tables::history(&history, false, PLAIN).contains(why));
    let mut functions = list();
    functions.functions[0].stages[0].routes = (0..9).map(|number| format!("/route-{number}/*")).collect();
    let wrapped = tables::functions(&functions, TERMINAL);
    assert!(wrapped.lines().count() > 3 && wrapped.lines().all(|line| line.len() <= 80), "{wrapped}");
    assert_eq!(tables::functions(&functions, PLAIN).lines().count(), 3);
}

#[test]
fn colours_change_nothing_but_the_colour() {
    for (plain, coloured) in drawn(TERMINAL).iter().zip(drawn(COLOURED)) {
        assert_eq!(&strip_ansi_codes(&coloured), plain);
    }
}

#[test]
fn what_failed_is_red() {
    let red = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("\u{1b}[31m"));
        lines.map(|line| strip_ansi_codes(line).trim().to_owned()).collect()
    };
    let all = drawn(COLOURED);
    assert_eq!(red(&all[0]), [""; 0]);
    check(&red(&all[2]).join("\n"), &expect!["outcomes v1: trap=12"]);
    check(
        &red(&all[3]).join("\n"),
        &expect![[r#"
        v3       -                      wasi:http 0.2  0123456789ab   2h  admin
        aborted: too many traps
        message: faster\u{1b}[2J
        v2       -                      wasi:http 0.2  0123456789ab   2h  admin
        rolled back in staging"#]],
    );
    check(
        &red(&all[4]).join("\n"),
        &expect![[r#"
        8  2026-11-22T10:00:00Z  abort   v2       abababababab  v1=100%
        by admin from 127.0.0.1:50000: 3 of 30 failed"#]],
    );
}
