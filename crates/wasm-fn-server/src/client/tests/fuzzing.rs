//! What hostile clients say about themselves: none of it panics, and none is believed that
//! nobody vouches for.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::request::authority;

#[path = "../../../../../tests/fuzzing.rs"]
mod engine;

#[test]
fn headers_about_the_client_are_read_or_not() {
    let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
    engine::fuzz("headers about clients", &engine::corpus("tests/corpus/forwarded"), |case| {
        let mut headers = HeaderMap::new();
        for line in case.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
                headers.append(name, value);
            }
        }
        let [proxy, client] = ["10.0.0.1:4000", "192.0.2.1:4000"].map(address);
        let _ = Peer::new(proxy, &trusted).scheme(&headers, &trusted);
        let named = Peer::new(proxy, &trusted).client(&mut headers.clone(), &trusted);
        // Once more, it is the same.
        assert_eq!(named, Peer::new(proxy, &trusted).client(&mut headers.clone(), &trusted));
        // A client is who it is, and nothing that it says of that is left.
        assert_eq!(Peer::new(client, &trusted).client(&mut headers, &trusted), client);
        assert!(!headers.keys().any(|name| name.as_str().starts_with("x-forwarded")));
        let text = String::from_utf8_lossy(case);
        let (host, port) = authority::split(&text);
        assert_eq!(format!("{host}{port}"), text);
        if authority::is_valid(&text) {
            assert!(!text.contains(['@', '/', ' ']), "{text:?}");
        }
    });
}
