//! Requests that are events of others.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::select_all;
use http::{Response, request::Parts};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use wasm_fn_core::{FunctionName, StageName};

use super::harness::{Fake, Node, get, ok, options, problem, request, request2, text};
use crate::{EventReceiver, Received, RequestId, ServerOptions};

/// Bytes of a body to the webhook `large`.
const LARGE: usize = 1 << 20;

/// Answers with what it got, at the webhook `a`, of bodies up to ten bytes, and at `large`.
#[derive(Debug)]
struct Echo;

impl EventReceiver for Echo {
    fn body_bytes_max(&self, hook: &str) -> Option<u64> {
        match hook {
            "a" => Some(10),
            "large" => Some(LARGE as u64),
            _ => None,
        }
    }

    fn receive(self: Arc<Self>, hook: String, head: Parts, body: Bytes, id: RequestId) -> Received {
        let body = String::from_utf8(body.slice(..body.len().min(10)).to_vec()).unwrap();
        let said = format!("{hook} {} {} {body} {id}", head.method, head.uri.path());
        Box::pin(async move { Response::builder().status(202).body(said.into()).unwrap() })
    }

    fn deferred_bytes_max(&self, function: &FunctionName, _: &StageName) -> Option<u64> {
        (function.as_str() == "hello").then_some(10)
    }

    fn defer(
        self: Arc<Self>,
        function: FunctionName,
        stage: StageName,
        head: Parts,
        body: Bytes,
        _: RequestId,
    ) -> Received {
        let own = head.headers.keys().any(|name| name.as_str().starts_with("wasm-fn-"));
        let said = format!("{function} {stage} {} {} {own}", head.uri.path(), body.len());
        Box::pin(async move { Response::builder().status(202).body(said.into()).unwrap() })
    }
}

async fn node() -> Node {
    let options = ServerOptions { receiver: Some(Arc::new(Echo)), ..options() };
    Node::bounded(options, Fake::new(|_| async { ok("function") })).await
}

fn body(text: &'static str) -> super::harness::ClientBody {
    Full::new(Bytes::from(text)).boxed_unsync()
}

#[tokio::test]
async fn a_webhook_is_answered_by_its_receiver() {
    let node = node().await;
    let mut http1 = node.http1().await;
    // The connection goes on after it.
    for _ in 0..2 {
        let response = http1.send_request(request("/_hooks/a?x=y", body("hello"))).await.unwrap();
        assert_eq!(response.status(), 202);
        let id = response.headers()["wasm-fn-request-id"].to_str().unwrap().to_owned();
        assert_eq!(text(response).await, format!("a POST /_hooks/a hello {id}"));
    }
    let response = node.http2().await.send_request(request2("/_hooks/a", body("hello"))).await.unwrap();
    assert!(text(response).await.starts_with("a POST /_hooks/a hello "));
    let response = http1.send_request(get("/hello")).await.unwrap();
    assert_eq!(text(response).await, "function");
}

#[tokio::test]
async fn a_webhook_that_is_not_there_is_as_any_path() {
    let node = node().await;
    for path in ["/_hooks/b", "/_hooks/", "/_hooks/a/", "/_hooks"] {
        let response = node.http1().await.send_request(request(path, body("x"))).await.unwrap();
        let (status, problem) = problem(response).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &"no-such-function".into()), "{path}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let node = node().await;
    let response = node.http1().await.send_request(request("/_hooks/a", body("hello world"))).await.unwrap();
    let (status, problem) = problem(response).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &"body-too-large".into()));
    assert_eq!(problem["detail"], "the request body is longer than the limit of 10 bytes");
}

#[tokio::test]
async fn a_request_may_be_handled_later() {
    let node = node().await;
    let asks = |path, value: &'static str| {
        let mut request = request(path, body("data"));
        request.headers_mut().insert("wasm-fn-async", http::HeaderValue::from_static(value));
        request
    };
    let response = node.http1().await.send_request(asks("/hello/x", "1")).await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(text(response).await, "hello live /hello/x 4 false");
    let response = node.http1().await.send_request(asks("/hello", "yes")).await.unwrap();
    assert_eq!(problem(response).await.1["detail"], "the wasm-fn-async header is \"yes\", expected 1");
}

#[tokio::test]
async fn a_function_that_answers_at_once_takes_no_asynchronous_requests() {
    let node = Node::answering(|_| async { ok("function") }).await;
    let mut request = request("/hello", body("data"));
    request.headers_mut().insert("wasm-fn-async", http::HeaderValue::from_static("1"));
    let response = node.http1().await.send_request(request).await.unwrap();
    let (status, problem) = problem(response).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &"bad-request".into()));
    assert!(problem["detail"].as_str().unwrap().contains("takes no asynchronous requests"), "{problem}");
}

/// A client at `source` that has sent the head of a request with a body of `length` bytes to the webhook
/// `hook`, once the node wants that body.
async fn slow(node: &Node, source: &str, hook: &str, length: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(node.addr()).await.unwrap();
    let head = format!(
        "POST /_hooks/{hook} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// What the node sends first.
async fn status(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 25];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn one_client_that_is_slow_keeps_no_other_out() {
    let node = node().await;
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = slow(&node, "127.0.0.1", "large", LARGE).await;
        stream.write_all(&vec![b'x'; LARGE - 1]).await.unwrap();
        held.push(stream);
    }
    // The last bytes never come. There is room for 15, so one is refused.
    let answers = held.iter_mut().map(|stream| Box::pin(status(stream)));
    let (answer, ..) = select_all(answers).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let mut other = slow(&node, "127.0.0.2", "large", LARGE).await;
    other.write_all(&vec![b'x'; LARGE]).await.unwrap();
    assert!(status(&mut other).await.starts_with("HTTP/1.1 202 "));
}

#[tokio::test]
async fn many_slow_requests_of_little_keep_nobody_out() {
    let node = node().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = slow(&node, "127.0.0.1", "a", 10).await;
        stream.write_all(b"x").await.unwrap();
        held.push(stream);
    }
    let response = node.http1().await.send_request(request("/_hooks/a", body("hello"))).await.unwrap();
    assert_eq!(response.status(), 202);
}
