//! What clients are told when there is no answer.

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use wasm_fn_core::{Outcome, Usage};

use super::harness::{FakeBody, Node, get, get2, ok, problem, text, trap};
use crate::{FailureCause, InvokeFailure};

#[tokio::test]
async fn every_cause_has_its_status_code_and_outcome() {
    let causes = [
        (FailureCause::Trap, 500, "guest-trap", Outcome::Trap),
        (FailureCause::Timeout, 504, "guest-timeout", Outcome::Timeout),
        (FailureCause::CpuExceeded, 500, "guest-cpu-exceeded", Outcome::Timeout),
        (FailureCause::OutOfMemory, 500, "guest-out-of-memory", Outcome::OutOfMemory),
        (FailureCause::InvalidResponse, 500, "guest-invalid-response", Outcome::InvalidResponse),
        (FailureCause::ClientTooSlow, 408, "request-timeout", Outcome::Cancelled),
        (FailureCause::BodyTooLarge, 413, "body-too-large", Outcome::Cancelled),
        (FailureCause::NotReady, 503, "function-not-ready", Outcome::Shed),
        (FailureCause::BeganLate, 504, "guest-timeout", Outcome::Shed),
        (FailureCause::Recalled, 503, "version-recalled", Outcome::Shed),
        (FailureCause::FunctionOverloaded, 503, "function-overloaded", Outcome::Shed),
        (FailureCause::NodeOverloaded, 503, "node-overloaded", Outcome::Shed),
        (FailureCause::Internal, 500, "internal-error", Outcome::Internal),
    ];
    for (cause, status, code, outcome) in causes {
        let node = Node::answering(move |_| async move {
            let usage =
                Usage { queue_wait: Duration::from_millis(7), memory_peak_bytes: 4096, ..Usage::default() };
            let retry_after = Some(Duration::from_millis(2500));
            Err(InvokeFailure { usage, retry_after, ..InvokeFailure::new(cause, "what happened") })
        })
        .await;
        let response = node.http1().await.send_request(get("/hello")).await.unwrap();
        let after = response.headers().get(header::RETRY_AFTER).cloned();
        assert_eq!(after, (status == 503).then(|| HeaderValue::from_static("3")));
        assert_eq!(response.headers()["wasm-fn-version"], "v1");
        let id = response.headers()["wasm-fn-request-id"].to_str().unwrap().to_owned();
        let (found, body) = problem(response).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &code.into()));
        assert_eq!(body["request_id"], id);
        let told = outcome.is_failure() || cause == FailureCause::BeganLate;
        assert_eq!(body["detail"] == "what happened", told, "{body}");
        node.counts(outcome, 1).await;
        assert_eq!(node.tally.snapshot().memory_peak_bytes_max(), if outcome.counts() { 4096 } else { 0 });
    }
}

#[tokio::test]
async fn details_are_cut_between_characters() {
    let node = Node::answering(|_| async { Err(trap(&format!("x{}\n\"", "ü".repeat(1000)))) }).await;
    let response = node.http1().await.send_request(get("/hello")).await.unwrap();
    let (_, body) = problem(response).await;
    assert_eq!(body["detail"], format!("x{}", "ü".repeat(127)));
}

#[tokio::test]
async fn unknown_function_is_not_found_and_not_counted() {
    let node = Node::answering(|_| async { ok("hi") }).await;
    let response = node.http1().await.send_request(get("/other")).await.unwrap();
    assert!(response.headers().contains_key("wasm-fn-request-id"));
    assert!(!response.headers().contains_key("wasm-fn-version"));
    let (status, body) = problem(response).await;
    assert_eq!((status.as_u16(), &body["code"]), (404, &"no-such-function".into()));
    assert_eq!(node.tally.snapshot().total(), 0);
}

#[tokio::test]
async fn tunnels_and_ambiguous_hosts_are_refused() {
    let node = Node::answering(|_| async { ok("hi") }).await;
    let cases = [
        ("CONNECT node.test:80 HTTP/1.1\r\nhost: node.test\r\n\r\n", "501", "method-not-supported"),
        ("GET /hello HTTP/1.1\r\n\r\n", "400", "bad-request"),
        ("GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400", "bad-request"),
    ];
    for (request, status, code) in cases {
        let mut client = node.raw().await;
        client.send(request).await;
        let answer = client.read_until("}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(code), "{answer}");
    }
    let mut client = node.raw().await;
    client.send("GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(client.read_to_end().await.ends_with("hi"), "HTTP/1.0 needs no host");
}

#[tokio::test]
async fn answers_that_are_no_http_are_the_guests_fault() {
    let answers: [fn() -> Response<FakeBody>; 6] = [
        || status(100),
        || status(101),
        || lengths(&["6"]),
        || lengths(&["five"]),
        || lengths(&["+5"]),
        || lengths(&["5", "6"]),
    ];
    for answer in answers {
        let node = Node::answering(move |_| async move { Ok(answer()) }).await;
        let (status, body) = problem(node.http1().await.send_request(get("/hello")).await.unwrap()).await;
        assert_eq!((status.as_u16(), &body["code"]), (500, &"guest-invalid-response".into()));
        node.counts(Outcome::InvalidResponse, 1).await;
    }
}

fn status(status: u16) -> Response<FakeBody> {
    Response::builder().status(status).body(FakeBody::text("")).unwrap()
}

fn lengths(lengths: &[&str]) -> Response<FakeBody> {
    let mut response = Response::new(FakeBody::text("hello"));
    for length in lengths {
        response.headers_mut().append(header::CONTENT_LENGTH, length.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn connection_headers_and_versions_of_guests_are_ignored() {
    let node = Node::answering(|_| async {
        let mut response = lengths(&["5", "5"]);
        *response.version_mut() = Version::HTTP_3;
        let headers = response.headers_mut();
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("gzip, chunked"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert("wasm-fn-version", HeaderValue::from_static("v9"));
        headers.insert("wasm-fn-request-id", HeaderValue::from_static("mine"));
        Ok(response)
    })
    .await;
    let mut client = node.http1().await;
    for _ in 0..2 {
        let response = client.send_request(get("/hello")).await.unwrap();
        let headers = response.headers();
        assert!(!headers.contains_key(header::TRANSFER_ENCODING));
        assert!(!headers.contains_key(header::CONNECTION));
        assert_eq!(headers["wasm-fn-version"], "v1");
        assert_eq!(headers["wasm-fn-request-id"].len(), 32);
        assert_eq!(text(response).await, "hello");
    }
    node.counts(Outcome::Success, 2).await;
}

#[tokio::test]
async fn head_requests_and_bodiless_statuses_send_no_body_and_count_as_complete() {
    let node = Node::answering(|call| async move {
        let status = match call.request.uri().path() {
            "/hello/204" => StatusCode::NO_CONTENT,
            "/hello/304" => StatusCode::NOT_MODIFIED,
            _ => StatusCode::OK,
        };
        Ok(Response::builder().status(status).body(FakeBody::text("hello")).unwrap())
    })
    .await;
    let (mut http1, mut http2) = (node.http1().await, node.http2().await);
    for path in ["/hello/204", "/hello/304", "/hello/head", "/nowhere"] {
        let method = if path.ends_with('4') { Method::GET } else { Method::HEAD };
        let change = |mut request: Request<_>| {
            *request.method_mut() = method.clone();
            request
        };
        let first = http1.send_request(change(get(path))).await.unwrap();
        let second = http2.send_request(change(get2(path))).await.unwrap();
        for response in [first, second] {
            let length = response.headers().get(header::CONTENT_LENGTH).cloned();
            let expected = (path == "/hello/head").then(|| HeaderValue::from_static("5"));
            assert_eq!(length, expected, "{path} {:?}", response.version());
            assert_eq!(text(response).await, "");
        }
    }
    let response = http1.send_request(get("/hello")).await.unwrap();
    assert_eq!(text(response).await, "hello", "the connection is still in step");
    node.counts(Outcome::Success, 7).await;
}

#[tokio::test]
async fn server_errors_of_guests_are_passed_on_and_counted_with_their_usage() {
    let usage = Usage { queue_wait: Duration::from_millis(7), memory_peak_bytes: 65_536, ..Usage::default() };
    let node = Node::answering(move |_| async move {
        Ok(Response::builder().status(599).body(FakeBody::text("sorry").using(usage)).unwrap())
    })
    .await;
    let response = node.http2().await.send_request(get2("/hello")).await.unwrap();
    assert_eq!(response.status().as_u16(), 599);
    assert_eq!(text(response).await, "sorry");
    node.counts(Outcome::ServerError, 1).await;
    assert_eq!(node.tally.snapshot().memory_peak_bytes_max(), usage.memory_peak_bytes);
}
