//! Tests of `place`.

use http::HeaderMap;

use super::{super::Status, *};

#[test]
fn an_address_that_is_taken_is_a_problem_unless_by_a_node() {
    let address = SocketAddr::from(([127, 0, 0, 1], 8081));
    for (place, status, said) in [
        (Place::Free, Status::Ok, "127.0.0.1:8081 is free"),
        (Place::Ours { version: None }, Status::Ok, "a node answers at 127.0.0.1:8081"),
        (
            Place::Ours { version: Some("1.2.3".to_owned()) },
            Status::Ok,
            "a node of version 1.2.3 answers at 127.0.0.1:8081",
        ),
        (Place::Taken, Status::Problem, "127.0.0.1:8081 is in use by something that is not a node"),
        (Place::Unusable("denied".to_owned()), Status::Problem, "127.0.0.1:8081 cannot be bound: denied"),
    ] {
        let finding = judge("admin", "--admin", address, place);
        assert_eq!((finding.status, &*finding.found), (status, said));
        assert!(finding.help.is_none_or(|help| help.contains("--admin")));
    }
}

#[test]
fn nodes_are_told_from_others_by_what_they_answer() {
    let mut headers = HeaderMap::new();
    assert_eq!(data_plane(&headers, b""), None);
    headers.insert("wasm-fn-request-id", http::HeaderValue::from_static("1"));
    assert_eq!(data_plane(&headers, b""), Some(Place::Ours { version: None }));

    let document = br#"{"info": {"title": "wasm-fn admin API", "version": "1.2.3"}}"#;
    assert_eq!(admin_api(&headers, document), Some(Place::Ours { version: Some("1.2.3".to_owned()) }));
    for other in
        [&b"<html>"[..], b"{}", br#"{"info": {"title": "Petstore", "version": "1"}}"#, br#"{"info": {}}"#]
    {
        assert_eq!(admin_api(&headers, other), None, "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn all_addresses_are_reached_by_loopback() {
    for (given, expected) in
        [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
    {
        assert_eq!(reachable(given.parse().unwrap()), expected.parse().unwrap());
    }
}
