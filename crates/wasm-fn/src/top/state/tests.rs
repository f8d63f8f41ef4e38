//! What `wasm-fn top` makes of what it hears, and of keys.

use super::{DETAILS_MAX, Do, Key, Listed, Top, View, Wanted};
use crate::{args::TopSort, top::tests::status};

fn listed(function: &str, requests: u64, failures: u64) -> Listed {
    Listed {
        function: function.to_owned(),
        requests,
        failures,
        latency_p50_ms: None,
        latency_p99_ms: None,
        canaries: vec![],
    }
}

fn top(functions: Vec<Listed>) -> Top {
    let mut top = Top::new("http://node".to_owned(), String::new(), TopSort::Requests, false);
    top.fits(20);
    top.listed(functions, 1_000);
    top
}

fn names(top: &Top) -> Vec<&str> {
    top.shown().iter().map(|row| row.function.as_str()).collect()
}

fn press(top: &mut Top, keys: &str) {
    for c in keys.chars() {
        assert_eq!(top.key(Key::Char(c)), Do::Draw, "{c}");
    }
}

/// The function under the cursor.
fn selected(top: &Top) -> String {
    let shown = top.shown();
    shown[top.cursor(&shown)].function.clone()
}

#[test]
fn rates_are_differences_over_time() {
    let mut top = top(vec![listed("a", 100, 1)]);
    assert_eq!((top.rows["a"].requests, top.rows["a"].errors), (None, None));
    top.listed(vec![listed("a", 150, 2)], 3_000);
    assert_eq!((top.rows["a"].requests, top.rows["a"].errors), (Some(25.0), Some(0.5)));
    // Too soon to say anything.
    top.listed(vec![listed("a", 151, 2)], 3_100);
    assert_eq!(top.rows["a"].requests, Some(25.0));
    // Silence means nothing at first, then that it is idle.
    top.listed(vec![listed("a", 150, 2)], 4_000);
    assert_eq!(top.rows["a"].requests, Some(25.0));
    top.listed(vec![listed("a", 150, 2)], 6_000);
    assert_eq!((top.rows["a"].requests, top.rows["a"].errors), (Some(0.0), Some(0.0)));
    // The time in which it was idle does not make the next requests slow.
    top.listed(vec![listed("a", 160, 2)], 7_000);
    assert_eq!(top.rows["a"].requests, Some(10.0));
    // A node that has started anew.
    top.listed(vec![listed("a", 3, 0)], 8_000);
    assert_eq!(top.rows["a"].requests, None);
    top.listed(vec![listed("a", 5, 0)], 9_000);
    assert_eq!(top.rows["a"].requests, Some(2.0));
}

#[test]
fn functions_are_sorted_by_what_a_key_names() {
    let mut top = top(vec![listed("a", 0, 0), listed("b", 0, 0), listed("c", 0, 0)]);
    let slow = Listed { latency_p50_ms: Some(9.0), latency_p99_ms: Some(10.0), ..listed("a", 10, 0) };
    let fast = Listed { latency_p50_ms: Some(1.0), latency_p99_ms: Some(90.0), ..listed("c", 30, 0) };
    top.listed(vec![slow, listed("b", 20, 5), fast], 2_000);
    top.told(status("b", "v1", 4, 64 << 20), 2_000);
    assert_eq!(names(&top), ["c", "b", "a"]);
    for (key, order) in [
        ('e', ["b", "a", "c"]),
        ('5', ["a", "c", "b"]),
        ('9', ["c", "a", "b"]),
        ('i', ["b", "a", "c"]),
        ('m', ["b", "a", "c"]),
        ('n', ["a", "b", "c"]),
        ('r', ["c", "b", "a"]),
    ] {
        press(&mut top, &key.to_string());
        assert_eq!(names(&top), order, "{key}");
    }
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut top = top(vec![listed("shop-cart", 1, 0), listed("shop-pay", 1, 0), listed("quit", 1, 0)]);
    press(&mut top, "/shopx");
    assert!(top.typing && names(&top).is_empty());
    top.key(Key::Backspace);
    assert_eq!(names(&top), ["shop-cart", "shop-pay"]);
    // A letter that is typed is no command.
    press(&mut top, "q");
    top.key(Key::Backspace);
    top.key(Key::Enter);
    assert!(!top.typing);
    assert_eq!(names(&top).len(), 2);
    top.key(Key::Escape);
    assert_eq!(names(&top).len(), 3);
    press(&mut top, "/qu");
    top.key(Key::Escape);
    assert!(!top.typing && top.filter.is_empty());
    assert_eq!(top.key(Key::Char('q')), Do::Quit);
}

#[test]
fn the_cursor_stays_on_its_function_and_on_the_screen() {
    let many: Vec<_> = (0..50).map(|n| listed(&format!("f{n:02}"), 0, 0)).collect();
    let mut top = top(many.clone());
    assert_eq!(selected(&top), "f00");
    top.key(Key::Up);
    assert_eq!(selected(&top), "f00");
    top.key(Key::Down);
    press(&mut top, "j");
    assert_eq!(selected(&top), "f02");
    // The others overtake it.
    let busier =
        many.iter().cloned().map(|one| Listed { requests: 9, ..one }).filter(|one| one.function != "f02");
    top.listed(busier.chain([listed("f02", 0, 0)]).collect(), 2_000);
    assert_eq!(selected(&top), "f02");
    let shown = top.shown();
    assert_eq!(top.cursor(&shown), 49);
    assert_eq!(top.first(&shown), 33);
    top.key(Key::PageUp);
    assert_eq!(top.cursor(&top.shown()), 32);
    top.key(Key::End);
    top.key(Key::PageDown);
    assert_eq!(selected(&top), "f02");
    // A function that is gone leaves the cursor at the top.
    top.gone("f02");
    assert_eq!(top.cursor(&top.shown()), 0);
    // Without any function, keys do nothing.
    top.listed(vec![], 3_000);
    for key in [Key::Up, Key::Down, Key::PageDown, Key::End, Key::Enter] {
        assert_eq!(top.key(key), Do::Draw);
    }
    assert_eq!(top.view, View::List);
}

#[test]
fn the_functions_on_the_screen_are_asked_for_first_and_the_others_in_turn() {
    let many: Vec<_> = (0..100).map(|n| listed(&format!("f{n:02}"), 0, 0)).collect();
    let mut top = top(many);
    let wanted = |top: &Top| match top.wanted() {
        Wanted::Details(names) => names,
        Wanted::Open(name) => panic!("{name} is open"),
    };
    let first = wanted(&top);
    assert_eq!(first.len(), DETAILS_MAX);
    assert_eq!(first[..3], ["f00", "f01", "f02"]);
    for name in &first {
        top.told(status(name, "v1", 1, 1), 2_000);
    }
    let second = wanted(&top);
    assert_eq!(second[..17], first[..17]);
    assert!(second[17..].iter().all(|name| !first.contains(name)), "{second:?}");
}

#[test]
fn enter_opens_a_function_and_escape_leaves_it() {
    let mut top = top(vec![listed("a", 0, 0), listed("b", 0, 0)]);
    top.key(Key::Down);
    assert_eq!(top.key(Key::Enter), Do::Draw);
    assert_eq!(top.wanted(), Wanted::Open("b".to_owned()));
    assert!(matches!(&top.view, View::Function { name, status: None, .. } if name == "b"));
    // Another function's status is not shown.
    top.told(status("a", "v1", 1, 1), 2_000);
    assert!(matches!(&top.view, View::Function { status: None, .. }));
    top.told(status("b", "v1", 1, 1), 2_000);
    assert!(matches!(&top.view, View::Function { status: Some(_), .. }));
    // It scrolls as far as there is something.
    for _ in 0..100 {
        top.key(Key::PageDown);
        top.fits(4);
    }
    let View::Function { scrolled, .. } = top.view else { panic!("it is open") };
    assert!(scrolled > 0 && scrolled < 50, "{scrolled}");
    top.gone("b");
    assert!(matches!(top.view, View::Function { deleted: true, .. }));
    assert_eq!(top.key(Key::Escape), Do::Draw);
    assert_eq!((top.view.clone(), names(&top)), (View::List, vec!["a"]));
    press(&mut top, "r");
    top.key(Key::Enter);
    assert_eq!(top.key(Key::Char('q')), Do::Quit);
    assert_eq!(top.key(Key::Interrupt), Do::Quit);
}

#[test]
fn a_node_that_is_away_is_said_until_it_answers() {
    let mut top = top(vec![listed("a", 0, 0)]);
    top.away("no node answers".to_owned());
    assert_eq!(top.away.as_deref(), Some("no node answers"));
    top.listed(vec![listed("a", 0, 0)], 2_000);
    assert_eq!(top.away, None);
}
