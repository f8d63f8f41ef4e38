//! What is an address to listen on.

use super::listen_address;

#[test]
fn a_host_is_an_address_or_a_name() {
    let read = |text: &str| listen_address(text).map(|address| address.to_string());
    for (text, address) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:8080", "[::1]:8080"),
        ("localhost:8080", "127.0.0.1:8080"),
    ] {
        assert_eq!(read(text), Ok(address.to_owned()));
    }
}

#[test]
fn what_is_no_address_is_named_with_what_is_one() {
    for (text, word) in [
        ("localhost", "HOST:PORT"),
        ("8080", "HOST:PORT"),
        (":8080", "0.0.0.0:8080"),
        ("*:80", "0.0.0.0:80"),
        ("localhost:http", "0 to 65535"),
        ("localhost:65536", "0 to 65535"),
        ("::1:8080x", "0 to 65535"),
        ("::1::8080", "brackets"),
        ("http://localhost:8080", "without a scheme"),
        ("", "HOST:PORT"),
        ("no.such.host.invalid:80", "\"no.such.host.invalid\""),
    ] {
        let error = listen_address(text).unwrap_err();
        assert!(error.contains(word), "{text:?}: {error}");
    }
}
