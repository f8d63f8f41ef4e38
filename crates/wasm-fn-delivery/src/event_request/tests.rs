//! Tests of the stored form of requests.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::EventRequest;

#[test]
fn a_stored_request_is_read_as_it_was() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_bytes(b"caf\xe9 \"quoted\"").unwrap());
    headers.append("x-a", HeaderValue::from_static("2"));
    let request = EventRequest {
        method: Method::PUT,
        target: "/a/b?c=d%20e".parse().unwrap(),
        headers,
        body: Bytes::from_static(b"line\nline\n\0"),
    };
    let read = EventRequest::decode(&request.encode()).unwrap();
    assert_eq!((&read.method, &read.target), (&request.method, &request.target));
    assert_eq!((&read.headers, &read.body), (&request.headers, &request.body));
}

#[test]
fn what_is_no_stored_request_is_refused() {
    for stored in ["", "x", "{}\n", "{\"method\":\"a b\",\"target\":\"/\",\"headers\":[]}\n"] {
        assert!(EventRequest::decode(&Bytes::from_static(stored.as_bytes())).is_err(), "{stored:?}");
    }
    let wide = "{\"method\":\"GET\",\"target\":\"/\",\"headers\":[[\"a\",\"\u{20ac}\"]]}\n";
    assert!(EventRequest::decode(&Bytes::from(wide)).is_err());
}

#[test]
fn a_request_is_delivered_with_the_length_of_its_body() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("transfer-encoding", "chunked"), ("expect", "100-continue"), ("x-a", "1")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let body = Bytes::from_static(b"data");
    let request = EventRequest { method: Method::POST, target: "/hello".parse().unwrap(), headers, body };
    let request = request.attempt(None, 2, None);
    let mut names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "wasm-fn-attempt", "x-a"]);
    assert_eq!(request.headers()["content-length"], "4");
}
