//! Facts about fields for one connection.

use http::HeaderValue;

use super::*;

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter();
    fields.map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// What is left of a head, and the names that its trailers lose.
fn left(head: &[(&'static str, &'static str)]) -> (Vec<String>, Vec<HeaderName>) {
    let mut head = fields(head);
    let names = remove(&mut head);
    let mut left: Vec<_> = head.keys().map(ToString::to_string).collect();
    left.sort();
    (left, names)
}

#[test]
fn what_connection_names_is_removed_with_it() {
    let (left, names) = left(&[
        ("connection", "close, x-a ,,X-B"),
        ("connection", "te"),
        ("te", "trailers"),
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-c", "3"),
    ]);
    assert_eq!((left, names.len()), (vec!["x-c".to_owned()], 3));
}

#[test]
fn the_usual_options_cost_nothing_more() {
    for options in ["close", "keep-alive", "Keep-Alive, close", ""] {
        let (left, names) = left(&[("connection", options), ("keep-alive", "timeout=5"), ("x-c", "3")]);
        assert_eq!((left, names.capacity()), (vec!["x-c".to_owned()], 0), "{options}");
    }
    let (left, names) = left(&[("keep-alive", "timeout=5"), ("te", "trailers")]);
    assert_eq!((left.len(), names.capacity()), (2, 0), "nothing is named");
}

#[test]
fn what_makes_the_message_stays() {
    let (left, names) = left(&[
        ("connection", "host, content-length, not a name"),
        ("host", "test"),
        ("content-length", "3"),
    ]);
    assert_eq!((left, names), (vec!["content-length".to_owned(), "host".to_owned()], vec![]));
}
