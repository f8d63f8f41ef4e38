//! Facts about CGI requests and responses.

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};

use super::*;

fn variable(request: Request<()>, name: &str) -> Option<String> {
    let parts = request.into_parts().0;
    let client = Some([192, 0, 2, 1].into());
    variables(&parts, client).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[test]
fn headers_become_variables() {
    let request = || {
        Request::post("/a?b")
            .header("host", "example.com:8080")
            .header("x-user", "1")
            .header("x-user", "2")
            .header("proxy", "http://evil")
            .body(())
            .unwrap()
    };
    for (name, value) in [
        ("HTTP_X_USER", Some("1, 2")),
        ("SERVER_NAME", Some("example.com")),
        ("SERVER_PORT", Some("8080")),
        ("REQUEST_METHOD", Some("POST")),
        ("QUERY_STRING", Some("b")),
        ("HTTP_PROXY", None),
        ("REMOTE_ADDR", Some("192.0.2.1")),
    ] {
        assert_eq!(variable(request(), name).as_deref(), value, "{name}");
    }
}

fn head(written: &'static [u8]) -> Result<(StatusCode, Vec<String>), String> {
    use tokio::io::AsyncWrite;
    let output = CgiOutput::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut writer = output.clone();
    let _ = std::pin::Pin::new(&mut writer).poll_write(&mut cx, written);
    output.close();
    match poll_head(&output, &mut BytesMut::new(), &mut cx) {
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
    let cases: [(&[u8], StatusCode, &[&str]); 4] = [
        (b"Content-Type: text/plain\n\nbody", StatusCode::OK, &["content-type: text/plain"]),
        (b"Status: 404 Not Found\r\nX-A: b\r\n\r\n", StatusCode::NOT_FOUND, &["x-a: b"]),
        (b"Location: /next\n\n", StatusCode::FOUND, &["location: /next"]),
        (b"Transfer-Encoding: chunked\nContent-Type: a/b\n\n", StatusCode::OK, &["content-type: a/b"]),
    ];
    for (written, status, headers) in cases {
        let (found, lines) = head(written).unwrap();
        assert_eq!((found, lines.iter().map(String::as_str).collect::<Vec<_>>()), (status, headers.to_vec()));
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
        (b"bad name: x\n\n", "no valid name"),
    ] {
        let found = head(written).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn endless_header_block_is_refused() {
    let output = CgiOutput::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut collected = BytesMut::new();
    collected.extend_from_slice(&Bytes::from(vec![b'x'; 70 << 10]));
    let head = poll_head(&output, &mut collected, &mut cx);
    assert!(matches!(head, Poll::Ready(Err(reason)) if reason.contains("is over")));
}
