//! Which addresses and tokens are accepted.

use super::{Token, address};

#[test]
fn an_address_is_a_host_and_maybe_a_port() {
    for (server, expected) in [
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://node.example.com/", "http://node.example.com"),
        ("localhost:8081", "http://localhost:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("https://node.example.com", "https://node.example.com"),
        ("https://[::1]:8081/", "https://[::1]:8081"),
    ] {
        assert_eq!(address(server).map(|address| address.to_string()), Ok(expected.to_owned()));
    }
}

#[test]
fn other_addresses_are_refused() {
    for server in [
        "",
        "https://node:8081/v1",
        "https://user@node:8081",
        "https://http://node",
        "http://node:8081/v1",
        "http://node:8081?x",
        "http://user:secret@node:8081",
        "http://",
        "ftp://node",
        "no de",
        "node:port",
    ] {
        assert!(address(server).is_err(), "{server:?} is {:?}", address(server));
    }
}

#[test]
fn a_token_is_one_word_and_never_shown() {
    let token = Token::new(" wfn_abc\n").unwrap();
    assert_eq!(token.bearer(), "Bearer wfn_abc");
    assert_eq!(token.bare(), "wfn_abc");
    assert_eq!(format!("{token:?} {:?}", token.bearer()), "Token(…) Sensitive");
    let jwt = Token::new("eyJhbGciOiJub25lIn0.e30-_.sig\n").unwrap();
    assert_eq!(jwt.bearer(), "Bearer eyJhbGciOiJub25lIn0.e30-_.sig");
    for text in ["", " \n", "two words", "tok\u{e9}n", "a\nb"] {
        assert!(Token::new(text).is_err(), "{text:?}");
    }
}
