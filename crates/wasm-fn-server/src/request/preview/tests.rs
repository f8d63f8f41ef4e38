//! What of a request is a token, and what is left without it.

use super::*;

#[test]
fn tokens_are_taken_out_of_queries_and_nothing_else_is() {
    let cases = [
        (None, None, None),
        (Some(""), None, Some("")),
        (Some("a=1&b"), None, Some("a=1&b")),
        (Some("wasm-fn-preview=t"), Some("t"), None),
        (Some("wasm-fn-preview"), Some(""), None),
        (Some("wasm-fn-preview="), Some(""), None),
        (Some("a=1&wasm-fn-preview=t&b=%20+"), Some("t"), Some("a=1&b=%20+")),
        (Some("wasm-fn-preview=t&&wasm-fn-preview=u"), Some("t"), Some("")),
        (Some("wasm-fn-previews=t&xwasm-fn-preview=u"), None, Some("wasm-fn-previews=t&xwasm-fn-preview=u")),
    ];
    for (query, token, rest) in cases {
        let (found, left) = take_parameter(query);
        assert_eq!((found, left.as_deref()), (token, rest), "{query:?}");
    }
}

#[test]
fn tokens_are_taken_out_of_cookies_and_nothing_else_is() {
    let cases: [(&[&str], Option<&str>, &[&str]); 7] = [
        (&[], None, &[]),
        (&["sid=1; theme=dark"], None, &["sid=1; theme=dark"]),
        (&["wasm-fn-preview=t"], Some("t"), &[]),
        (&["sid=1; wasm-fn-preview=t; theme=dark"], Some("t"), &["sid=1; theme=dark"]),
        (&["sid=1", "wasm-fn-preview=t", " wasm-fn-preview=u;a=b"], Some("t"), &["sid=1", "a=b"]),
        (&["wasm-fn-preview; x=wasm-fn-preview=t"], None, &["x=wasm-fn-preview=t"]),
        (&["wasm-fn-previews=t"], None, &["wasm-fn-previews=t"]),
    ];
    for (sent, token, kept) in cases {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(COOKIE, HeaderValue::from_static(value));
        }
        assert_eq!(cookie(&headers), token, "{sent:?}");
        strip(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(left, kept, "{sent:?}");
    }
}

#[test]
fn a_client_with_a_token_is_sent_to_the_same_address_on_the_same_host() {
    let sent_to = |uri: &str, address_bytes| {
        let uri: Uri = uri.parse().unwrap();
        let (token, query) = take_parameter(uri.query());
        match exchange(&uri, address_bytes, query.as_deref(), token.unwrap()) {
            EarlyResponse::Exchanged(exchange) => {
                let Exchange { location, cookie } = *exchange;
                assert!(cookie.is_sensitive(), "it is in no log");
                (location.to_str().unwrap().to_owned(), cookie.to_str().unwrap().to_owned())
            }
            EarlyResponse::Refused(problem) => panic!("{problem:?}"),
        }
    };
    let expected = |location: &str, path: &str| {
        (location.to_owned(), format!("wasm-fn-preview=t; Path={path}; HttpOnly; SameSite=Lax"))
    };
    assert_eq!(sent_to("/hello@v2?wasm-fn-preview=t", 9), expected("/hello@v2", "/hello@v2"));
    assert_eq!(
        sent_to("http://h/hello%40v2/x?a=1&wasm-fn-preview=t&b", 11),
        expected("/hello%40v2/x?a=1&b", "/hello%40v2")
    );
    assert_eq!(sent_to("/?wasm-fn-preview=t", 0), expected("/", "/"));
    assert_eq!(sent_to("//evil.test/x?wasm-fn-preview=t", 0), expected("/.//evil.test/x", "/"));
    assert_eq!(sent_to("/\\evil.test?wasm-fn-preview=t", 0), expected("/./\\evil.test", "/"));
}
