//! Which function a target and a host lead to, however they are spelled.

use http::{HeaderValue, StatusCode, header};

use super::harness::{Node, get, get2, problem, routed::routed, text};

/// What comes back for `target`, asked with the lines of `head`.
async fn asked(node: &Node, target: &str, head: &str) -> String {
    let mut client = node.raw().await;
    client.send(&format!("GET {target} HTTP/1.1\r\n{head}connection: close\r\n\r\n")).await;
    client.read_to_end().await
}

#[tokio::test]
async fn hosts_are_those_of_either_protocol() {
    let node = routed(&[("plain", &["/plain/*"]), ("hosted", &["node.test/*"])]).await;
    let second = text(node.http2().await.send_request(get2("/any")).await.unwrap()).await;
    assert_eq!(second, "hosted  /any");
    assert_eq!(
        text(node.http1().await.send_request(get("/any")).await.unwrap()).await,
        "hosted node.test /any"
    );
    for (target, host, answer) in [
        ("/any", "NODE.test:8080", "hosted NODE.test:8080 /any"),
        ("/any", "node.test.", "hosted node.test. /any"),
        ("/plain", "other.test", "plain other.test /plain"),
        ("/plain", "", "plain  /plain"),
        // The host of the target wins, for the guest too.
        ("http://node.test/plain", "other.test", "hosted node.test /plain"),
        ("http://other.test:81/plain?a", "node.test", "plain other.test:81 /plain?a"),
    ] {
        let found = asked(&node, target, &format!("host: {host}\r\n")).await;
        assert!(found.ends_with(&format!("\r\n\r\n{answer}")), "{target} on {host}: {found}");
    }
}

#[tokio::test]
async fn hosts_that_are_none_are_refused() {
    let node = routed(&[("all", &["/*"])]).await;
    for head in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a b\r\n",
        "host: <script>\r\n",
        "host: [::1\r\n",
        "host: b\u{fc}cher.test\r\n",
        "host: user@a\r\n",
        "host: a:port\r\n",
        "host: a:65536\r\n",
        "host: a,b c\r\n",
        "host: a/b\r\n",
    ] {
        let found = asked(&node, "/", head).await;
        assert!(found.starts_with("HTTP/1.1 400 ") && found.contains("\"bad-request\""), "{head}: {found}");
    }
    for target in ["http://user@a/", "http://a:99999/", "a", "*"] {
        let found = asked(&node, target, "host: a\r\n").await;
        assert!(found.starts_with("HTTP/1.1 400 "), "{target}: {found}");
    }
    // The header must be valid although the target wins.
    assert!(asked(&node, "http://a/", "host: a b\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(asked(&node, "/", "host: [::1]:80\r\n").await.ends_with("all [::1]:80 /"));
}

#[tokio::test]
async fn a_host_that_contradicts_the_authority_is_malformed() {
    let node = routed(&[("all", &["/*"])]).await;
    let mut client = node.http2().await;
    for (host, fits) in
        [("node.test", true), ("NODE.test:80", true), ("other.test", false), ("node.test:1", false)]
    {
        let mut request = get2("/");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
        let response = client.send_request(request).await.unwrap();
        if fits {
            assert_eq!(response.status(), StatusCode::OK, "{host}");
        } else {
            let (status, body) = problem(response).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{host}");
            assert!(body["detail"].as_str().unwrap().contains(host), "{body}");
        }
    }
    let mut request = get2("/");
    *request.uri_mut() = "http://user@node.test/".parse().unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_function_gets_every_spelling_of_its_paths_as_it_was_sent() {
    let routes: [(&'static str, &[&str]); 4] =
        [("all", &["/*"]), ("hello", &["/hello/*"]), ("cafe", &["/caf%C3%A9"]), ("exact", &["/a%2fb"])];
    let node = routed(&routes).await;
    for (path, function) in [
        ("/%68ello", "hello"),
        ("/hell%6F/x%2Fy?%68", "hello"),
        ("/./hello", "hello"),
        ("/x/../hello/y", "hello"),
        ("/x/%2e%2E/hello", "hello"),
        ("/hello/..", "all"),
        ("/hello/../x", "all"),
        ("/hello%2f", "all"),
        ("/hello%2fx", "all"),
        ("/Hello", "all"),
        ("/caf%c3%a9", "cafe"),
        ("/caf\u{e9}", "cafe"),
        ("/a%2Fb", "exact"),
        ("/a/b", "all"),
    ] {
        let found = asked(&node, path, "host: a\r\n").await;
        assert!(found.ends_with(&format!("\r\n\r\n{function} a {path}")), "{path}: {found}");
    }
}
