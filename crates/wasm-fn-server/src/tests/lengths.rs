//! The lengths that responses without a body declare.

use http::{Method, Response, StatusCode, header};

use super::harness::{FakeBody, Node, get, get2, text};

/// Answers `/hello/STATUS/LENGTH` with that status and length, and an empty body.
async fn node() -> Node {
    Node::answering(|call| async move {
        let mut parts = call.request.uri().path().split('/').skip(2);
        let (status, length) = (parts.next().unwrap(), parts.next().unwrap());
        let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
        let mut response = Response::builder().status(status);
        if length != "none" {
            response = response.header(header::CONTENT_LENGTH, length);
        }
        Ok(response.body(FakeBody::text("")).unwrap())
    })
    .await
}

/// The length that the response to `path` declares over both protocols.
async fn declared(node: &Node, method: Method, path: &str) -> [Option<String>; 2] {
    let (mut first, mut second) = (get(path), get2(path));
    *first.method_mut() = method.clone();
    *second.method_mut() = method;
    let mut http1 = node.http1().await;
    let responses =
        [http1.send_request(first).await.unwrap(), node.http2().await.send_request(second).await.unwrap()];
    let mut found = [None, None];
    for (found, response) in found.iter_mut().zip(responses) {
        let length = response.headers().get(header::CONTENT_LENGTH);
        *found = length.map(|length| length.to_str().unwrap().to_owned());
        assert_eq!(text(response).await, "", "{path}");
    }
    let again = http1.send_request(get("/hello/200/none")).await.unwrap();
    assert_eq!(again.status(), 200, "the connection is still in step");
    found
}

#[tokio::test]
async fn lengths_are_those_that_the_standard_allows() {
    let node = node().await;
    let seven = || Some("7".to_owned());
    for (method, path, expected) in [
        (Method::HEAD, "/hello/200/7", [seven(), seven()]),
        (Method::HEAD, "/hello/200/none", [None, None]),
        (Method::HEAD, "/hello/304/7", [seven(), seven()]),
        (Method::GET, "/hello/304/7", [seven(), seven()]),
        (Method::GET, "/hello/304/none", [None, None]),
        (Method::HEAD, "/hello/204/7", [None, None]),
        (Method::GET, "/hello/204/7", [None, None]),
        (Method::GET, "/hello/204/0", [None, None]),
        (Method::HEAD, "/hello/205/7", [None, None]),
        (Method::GET, "/hello/205/7", [Some("0".to_owned()), None]),
        (Method::GET, "/hello/200/none", [Some("0".to_owned()), None]),
    ] {
        assert_eq!(declared(&node, method.clone(), path).await, expected, "{method} {path}");
    }
}
