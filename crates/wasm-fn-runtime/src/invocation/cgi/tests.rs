//! Facts about CGI requests and responses.

mod fuzzing;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, StatusCode, Version, request::Builder};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWrite};
use wasm_fn_core::Scheme;
use wasm_fn_secrets::SecretSet;
use wasmtime_wasi::p2::{InputStream, StreamError};

use super::*;
use crate::{BodyError, fault::Refusal};

/// The variables of a request, by name. Each must come once.
fn variables_of(request: Builder) -> Result<BTreeMap<String, String>, Refusal> {
    variables_by(Scheme::Http, request)
}

fn variables_by(scheme: Scheme, request: Builder) -> Result<BTreeMap<String, String>, Refusal> {
    let parts = request.body(()).unwrap().into_parts().0;
    let client = Some([192, 0, 2, 1].into());
    let origin = Origin { client, scheme, port: 8443 };
    let listed = variables(&CgiRequest { parts: &parts, origin })?;
    let count = listed.len();
    let by_name: BTreeMap<_, _> = listed.into_iter().collect();
    assert_eq!(by_name.len(), count, "a variable came twice: {by_name:?}");
    Ok(by_name)
}

/// Checks these variables of `request`; `None` for one that must not be there.
fn check(request: Builder, expected: &[(&str, Option<&str>)]) {
    let found = variables_of(request).unwrap();
    for (name, value) in expected {
        assert_eq!(found.get(*name).map(String::as_str), *value, "{name} in {found:?}");
    }
}

#[test]
fn a_request_becomes_variables() {
    check(
        Request::post("/a?b").header("host", "example.com:8080").header("content-type", "text/x"),
        &[
            ("GATEWAY_INTERFACE", Some("CGI/1.1")),
            ("REQUEST_METHOD", Some("POST")),
            ("SCRIPT_NAME", Some("")),
            ("PATH_INFO", Some("/a")),
            ("QUERY_STRING", Some("b")),
            ("REQUEST_URI", Some("/a?b")),
            ("SERVER_PROTOCOL", Some("HTTP/1.1")),
            ("SERVER_NAME", Some("example.com")),
            ("REMOTE_ADDR", Some("192.0.2.1")),
            ("REMOTE_HOST", Some("192.0.2.1")),
            ("CONTENT_TYPE", Some("text/x")),
            ("HTTP_CONTENT_TYPE", None),
            ("CONTENT_LENGTH", None),
            ("PATH_TRANSLATED", None),
        ],
    );
}

#[test]
fn only_what_came_by_tls_says_so() {
    let found = variables_by(Scheme::Https, Request::get("/")).unwrap();
    assert_eq!(found.get("HTTPS").map(String::as_str), Some("on"), "{found:?}");
    // A target is no more than the client's word.
    check(Request::get("https://example.com/"), &[("HTTPS", None)]);
}

#[test]
fn the_port_is_the_listeners_whatever_the_client_says() {
    for host in ["example.com", "example.com:1", "[::1]:1", "[::1]"] {
        check(Request::get("/").header("host", host), &[("SERVER_PORT", Some("8443"))]);
    }
}

#[test]
fn the_name_is_that_of_the_host_without_its_port() {
    for (host, name) in [
        ("example.com", "example.com"),
        ("example.com:1", "example.com"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("", "localhost"),
    ] {
        check(Request::get("/").header("host", host), &[("SERVER_NAME", Some(name))]);
    }
    check(Request::get("/"), &[("SERVER_NAME", Some("localhost")), ("HTTP_HOST", None)]);
}

#[test]
fn the_host_is_the_authority_that_routed() {
    let expected = [("HTTP_HOST", Some("a.test:1")), ("SERVER_NAME", Some("a.test"))];
    check(Request::get("http://a.test:1/x").version(Version::HTTP_2), &expected);
    check(Request::get("http://a.test:1/x").header("host", "b.test"), &expected);
    check(Request::get("http://me:pw@a.test:1/x"), &expected);
}

#[test]
fn the_protocol_is_the_one_in_use() {
    for (version, name) in
        [(Version::HTTP_10, "HTTP/1.0"), (Version::HTTP_11, "HTTP/1.1"), (Version::HTTP_2, "HTTP/2.0")]
    {
        check(Request::get("/").version(version), &[("SERVER_PROTOCOL", Some(name))]);
    }
}

#[test]
fn the_path_is_decoded_and_kept_raw_beside() {
    for (sent, path) in [
        ("/caf%C3%A9/a%20b", "/café/a b"),
        ("/a%2Fb", "/a/b"),
        ("/100%", "/100%"),
        ("/%zz%4", "/%zz%4"),
        // ISO-8859-1.
        ("/caf%E9", "/café"),
        ("/a+b", "/a+b"),
    ] {
        let target = format!("{sent}?q=%20");
        let expected = [
            ("PATH_INFO", Some(path)),
            ("REQUEST_URI", Some(target.as_str())),
            ("QUERY_STRING", Some("q=%20")),
        ];
        check(Request::get(&target), &expected);
    }
    check(Request::options("*"), &[("PATH_INFO", Some("")), ("REQUEST_URI", Some("*"))]);
}

#[test]
fn a_path_that_no_variable_can_hold_is_refused() {
    assert!(matches!(variables_of(Request::get("/a%00b")), Err(Refusal::Malformed { .. })));
}

#[test]
fn headers_become_variables_once_each() {
    check(
        Request::get("/")
            .header("x-user", "1")
            .header("x-user", "2")
            .header("x_user", "3")
            .header("x-us!er", "4")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("accept", "*/*")
            .header("proxy", "http://evil")
            .header("authorization", "Basic eDp5")
            .header("proxy-authorization", "Basic eDp5")
            .header("connection", "x-user")
            .header("transfer-encoding", "chunked"),
        &[
            ("HTTP_X_USER", Some("1, 2")),
            ("HTTP_X_US!ER", None),
            ("HTTP_COOKIE", Some("a=1; b=2")),
            ("HTTP_ACCEPT", Some("*/*")),
            ("HTTP_PROXY", None),
            ("HTTP_AUTHORIZATION", None),
            ("HTTP_PROXY_AUTHORIZATION", None),
            ("HTTP_CONNECTION", None),
            ("HTTP_TRANSFER_ENCODING", None),
        ],
    );
}

#[test]
fn bytes_beyond_ascii_are_kept() {
    let value = |bytes: &[u8]| http::HeaderValue::from_bytes(bytes).unwrap();
    check(
        Request::get("/")
            .header("x-utf-8", value("größe".as_bytes()))
            .header("x-latin", value(b"gr\xf6\xdfe")),
        &[("HTTP_X_UTF_8", Some("größe")), ("HTTP_X_LATIN", Some("größe"))],
    );
}

#[test]
fn what_is_too_long_for_a_variable_is_refused_as_its_part_of_the_request() {
    let long = "x".repeat(40 << 10);
    let of = |request| variables_of(request).unwrap_err();
    for target in [format!("/{long}"), format!("/?{long}")] {
        assert!(matches!(of(Request::get(target)), Refusal::UriTooLong { .. }));
    }
    for name in ["host", "cookie", "content-type"] {
        let refusal = of(Request::get("/").header(name, &long));
        assert!(matches!(refusal, Refusal::HeaderTooLong { found_bytes, .. } if found_bytes > 40 << 10));
    }
    let named = of(Request::get("/").header(&long, "1"));
    assert!(named.to_string().len() < 200, "{named}");
    assert!(matches!(named, Refusal::HeaderTooLong { .. }));
    let two = Request::get("/").header("x-a", "x".repeat(20 << 10)).header("x-a", "x".repeat(20 << 10));
    assert!(matches!(of(two), Refusal::HeaderTooLong { .. }), "they are one variable");
    let method = Request::builder().method(long.to_uppercase().as_str());
    assert!(matches!(of(method), Refusal::Malformed { .. }));
    variables_of(Request::get(format!("/{}", "x".repeat(30 << 10)))).unwrap();
}

/// A body of `frames`.
fn input(frames: &[Result<&'static str, BodyError>]) -> CgiInput {
    let frames = frames
        .iter()
        .cloned()
        .map(|frame| frame.map(|data| Frame::data(Bytes::from_static(data.as_bytes()))));
    let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
    CgiInput::new(body.map_err(|error: BodyError| error.into()).boxed_unsync())
}

#[tokio::test]
async fn a_length_that_is_not_announced_is_found_out() {
    let mut whole = input(&[Ok("one "), Ok("two")]);
    assert_eq!(whole.measure().await, Some(7));
    let mut text = String::new();
    whole.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one two");
    assert_eq!(input(&[]).measure().await, Some(0));
}

#[tokio::test]
async fn a_long_body_keeps_its_length_to_itself() {
    const CHUNK: &str = match std::str::from_utf8(&[b'x'; 50_000]) {
        Ok(chunk) => chunk,
        Err(_) => unreachable!(),
    };
    let mut long = input(&[Ok(CHUNK), Ok(CHUNK), Ok(CHUNK)]);
    assert_eq!(long.measure().await, None);
    let mut bytes = Vec::new();
    long.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), 150_000);
}

#[tokio::test]
async fn a_body_that_fails_never_looks_complete() {
    for failure in [BodyError::TooLarge, BodyError::Broken("reset".to_owned())] {
        let mut broken = input(&[Ok("half"), Err(failure.clone())]);
        assert_eq!(broken.measure().await, None);
        assert_eq!(InputStream::read(&mut broken, 100).unwrap(), "half");
        for _ in 0..2 {
            let read = InputStream::read(&mut broken, 100);
            assert!(matches!(read, Err(StreamError::LastOperationFailed(_))), "{failure}: {read:?}");
            broken.read_u8().await.unwrap_err();
        }
    }
}

fn head(written: &[u8]) -> Result<(StatusCode, Vec<String>), String> {
    let output = CgiOutput::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut reader = HeadReader::new(SecretSet::none());
    let mut writer = output.clone();
    // In two writes, so that lines are cut.
    for part in written.chunks(written.len().div_ceil(2).max(1)) {
        assert!(reader.poll_head(&output, &mut cx).is_pending());
        assert!(pin!(&mut writer).poll_write(&mut cx, part).is_ready());
    }
    output.close();
    match reader.poll_head(&output, &mut cx) {
        Poll::Ready(Ok(response)) => {
            let headers = response.headers().iter();
            let headers = headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")));
            Ok((response.status(), headers.collect()))
        }
        Poll::Ready(Err(reason)) => Err(reason),
        Poll::Pending => Err("pending".to_owned()),
    }
}

#[test]
fn header_block_is_parsed() {
    let cases: [(&[u8], StatusCode, &[&str]); 13] = [
        (b"Content-Type: text/plain\n\nbody", StatusCode::OK, &["content-type: text/plain"]),
        (b"Status: 404 Not Found\r\nX-A: b\r\n\r\n", StatusCode::NOT_FOUND, &["x-a: b"]),
        (b"Status: 404\nX-A: b\n\n", StatusCode::NOT_FOUND, &["x-a: b"]),
        (b"Location: /next\n\n", StatusCode::FOUND, &["location: /next"]),
        (b"Location: /n\nStatus: 200 OK\n\n", StatusCode::OK, &["location: /n"]),
        (b"Status: 201\nLocation: /n\n\n", StatusCode::CREATED, &["location: /n"]),
        (b"Location:\nStatus:  \nX-A: b\n\n", StatusCode::OK, &["x-a: b"]),
        (b"Content-Type: a/b\nContent-Type:\nContent-Type: c/d\n\n", StatusCode::OK, &["content-type: c/d"]),
        (b"X-A: 1\nX-A: 2\n\n", StatusCode::OK, &["x-a: 1", "x-a: 2"]),
        (b"X-Empty:\n\n", StatusCode::OK, &["x-empty: "]),
        (b"Transfer-Encoding: chunked\nContent-Type: a/b\n\n", StatusCode::OK, &["content-type: a/b"]),
        (b"X-CGI-Debug: on\nX-A: b\n\n", StatusCode::OK, &["x-a: b"]),
        (b"Content-Length: 12\nX-A: b\n\n", StatusCode::OK, &["content-length: 12", "x-a: b"]),
    ];
    for (written, status, headers) in cases {
        let (found, lines) = head(written).unwrap();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!((found, lines), (status, headers.to_vec()), "{}", String::from_utf8_lossy(written));
    }
}

#[test]
fn bad_header_blocks_say_what_is_wrong() {
    for (written, reason) in [
        (&b""[..], "wrote nothing"),
        (b"Content-Type: text/plain\n", "no end"),
        (b"hello world\n\n", "no colon"),
        (b"Status: 99\n\n", "no status"),
        (b"Status: 100\n\n", "no status"),
        (b"Status: 2000\n\n", "no status"),
        (b"Status: OK\n\n", "no status"),
        (b"bad name: x\n\n", "no valid name"),
        (b"X-A: 1\n 2\n\n", "no"),
    ] {
        let found = head(written).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn endless_header_block_is_refused() {
    let found = head(&[b'x'; 70 << 10]).unwrap_err();
    assert!(found.contains("is over"), "{found}");
}

#[test]
fn the_body_begins_behind_the_empty_line() {
    let output = CgiOutput::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut writer = output.clone();
    let _ = pin!(&mut writer).poll_write(&mut cx, b"X-A: b\r\n\r\nbo");
    let _ = pin!(&mut writer).poll_write(&mut cx, b"dy");
    output.close();
    let Poll::Ready(Ok(response)) = HeadReader::new(SecretSet::none()).poll_head(&output, &mut cx) else {
        panic!("there is a head");
    };
    let mut collected = pin!(response.into_body().collect());
    let Poll::Ready(Ok::<_, Infallible>(body)) = collected.as_mut().poll(&mut cx) else {
        panic!("there is a body");
    };
    assert_eq!(body.to_bytes(), "body");
}
