//! What a function's callers get.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::harness::{
    Node,
    client::{Answer, Client, Origin, connect, read_until},
    patiently,
};

/// Bodies and what comes back of them, over any client of `echo`.
async fn echoes(client: &Client) {
    let announced = [("te", "trailers"), ("trailer", "x-sum")];
    let mut exchange = client.begin("/echo/a/b?c=d", "first", &announced).await.unwrap();
    assert_eq!(exchange.response.status(), StatusCode::OK);
    assert_eq!(exchange.response.headers()["x-echo-path"], "/echo/a/b?c=d");
    // Each piece comes back while the request is still being written.
    exchange.read("first").await;
    exchange.write("second").await;
    exchange.read("second").await;
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("11"))]);
    exchange.end(trailers).await;
    let rest = exchange.finish().await.unwrap();
    assert_eq!(rest.text(), "");
    assert_eq!(rest.trailers.get("x-sum"), Some(&HeaderValue::from_static("11")));
}

#[tokio::test]
async fn every_kind_answers_over_both_versions_of_http() {
    let node = Node::start().await;
    let clients = [Client::http1(node.listen), Client::http2(node.listen)];
    let mut ids = HashSet::new();
    for (guest, says) in [
        ("hello-v1", "hello from v1\n"),
        ("hello-p3", "hello from v1\n"),
        ("c-hello", "hello from C\n"),
        ("as-hello", "hello from AssemblyScript\n"),
        ("cgi", "PATH_INFO=/cgi/x"),
    ] {
        node.deploy(guest).await;
        for client in &clients {
            let answer = client.get(&format!("/{guest}/x")).await.ok();
            assert!(answer.text().contains(says), "{guest}: {}", answer.text());
            assert_eq!(answer.version(), "v1", "{guest}");
            let id = answer.header("wasm-fn-request-id").to_owned();
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
            assert!(ids.insert(id), "{guest}: a request id came twice");
        }
    }
}

#[tokio::test]
async fn command_sees_request_and_chooses_status() {
    let node = Node::start().await;
    node.deploy("cgi").await;
    let answer = node.http.post("/cgi/deep/path?status=201&x=y", "the body").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("content-type"), "text/plain");
    let text = answer.text();
    for line in [
        "REQUEST_METHOD=POST\n",
        "PATH_INFO=/cgi/deep/path\n",
        "QUERY_STRING=status=201&x=y\n",
        "CONTENT_LENGTH=8\n",
        "\n\nthe body",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn command_sees_the_connection_as_it_is() {
    let node = Node::start().await;
    node.deploy("as-hello").await;
    let (listen, port) = (node.listen, node.listen.port());
    for (client, protocol) in [(Client::http1(listen), "HTTP/1.1"), (Client::http2(listen), "HTTP/2.0")] {
        let text = client.get("/as-hello/%41?b=%20").await.ok().text();
        let line = format!("GET /as-hello/%41?b=%20 {protocol}, to {listen} at port {port}\n");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    // What the client says about the port is about its own side.
    let text = node.http.get_as("/as-hello", &[("host", "example.com:1")]).await.ok().text();
    assert!(text.contains(&format!("to example.com:1 at port {port}\n")), "{text}");
    let mut stream = connect(node.listen).await;
    stream.write_all(b"GET /as-hello HTTP/1.0\r\n\r\n").await.unwrap();
    let old = String::from_utf8_lossy(&read_until(&mut stream, |_| false).await).into_owned();
    assert!(old.contains(&format!("GET /as-hello HTTP/1.0, to nobody at port {port}\n")), "{old}");
}

#[tokio::test]
async fn a_head_too_long_for_a_command_is_refused_and_charged_to_nobody() {
    let node = Node::start().await;
    node.deploy("c-hello").await;
    let long = "x".repeat(40_000);
    for client in [Client::http1(node.listen), Client::http2(node.listen)] {
        client.get(&format!("/c-hello/{long}")).await.problem(414, "uri-too-long");
        client.get_as("/c-hello", &[("x-long", &long)]).await.problem(431, "too-many-headers");
        client.get("/c-hello/%00").await.problem(400, "bad-request");
        client.get(&format!("/c-hello/{}", &long[..30_000])).await.ok();
    }
    assert_eq!(node.outcomes("c-hello", "cancelled").await, 6);
    assert_eq!(node.outcomes("c-hello", "success").await, 2);
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers() {
    let node = Node::start().await;
    node.deploy("echo").await;
    echoes(&node.http).await;
    echoes(&Client::http2(node.listen)).await;
}

#[tokio::test]
async fn megabytes_come_back_as_they_were_sent() {
    let node = Node::start().await;
    node.deploy("echo").await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)]).collect();
    for client in [Client::http1(node.listen), Client::http2(node.listen)] {
        let answer = client.post("/echo", body.clone()).await.ok();
        assert!(answer.body == body, "{} bytes came back changed", answer.body.len());
    }
}

#[tokio::test]
async fn expect_continue_is_answered_before_the_body_is_sent() {
    let node = Node::start().await;
    node.deploy("echo").await;
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    let mut stream = connect(node.listen).await;
    stream.write_all(head("/echo").as_bytes()).await.unwrap();
    let interim = read_until(&mut stream, |read| read.ends_with(b"\r\n\r\n")).await;
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
    stream.write_all(b"body").await.unwrap();
    let rest = read_until(&mut stream, |read| read.ends_with(b"body") || read.ends_with(b"0\r\n\r\n")).await;
    // The guest gives its head before it reads: it may have come with the invitation.
    let all = String::from_utf8_lossy(&[interim, rest].concat()).into_owned();
    assert!(all.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{all}");

    // Nobody is invited to send a body to a function that is not there.
    let mut stream = connect(node.listen).await;
    stream.write_all(head("/nobody").as_bytes()).await.unwrap();
    let refusal = read_until(&mut stream, |read| read.ends_with(b"}")).await;
    assert!(refusal.starts_with(b"HTTP/1.1 404 "), "{}", String::from_utf8_lossy(&refusal));
}

#[tokio::test]
async fn connection_is_kept_when_a_guest_leaves_the_body_unread() {
    let node = Node::start().await;
    for (guest, says) in
        [("hello-v1", "hello from v1\n"), ("hello-p3", "hello from v1\n"), ("c-hello", "hello from C\n")]
    {
        node.deploy(guest).await;
        for length in [1, 64 << 10, 1 << 20] {
            let (fixed, chunked) = (format!("content-length: {length}"), "transfer-encoding: chunked");
            let body = "x".repeat(length);
            let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
            let mut stream = connect(node.listen).await;
            for (field, body) in [(&*fixed, &body), (chunked, &chunks), (&*fixed, &body)] {
                let request = format!("POST /{guest} HTTP/1.1\r\nhost: x\r\n{field}\r\n\r\n{body}");
                patiently("room for a request", stream.write_all(request.as_bytes())).await.unwrap();
                let last = format!("{says}\r\n0\r\n\r\n");
                let answer = read_until(&mut stream, |read| {
                    read.ends_with(says.as_bytes()) || read.ends_with(last.as_bytes())
                });
                let answer = String::from_utf8_lossy(&answer.await).into_owned();
                assert!(answer.contains("HTTP/1.1 200 OK\r\n"), "{guest} {length}: {answer}");
                assert!(!answer.contains("connection: close"), "{guest} {length}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn head_request_gets_the_head_alone() {
    let node = Node::start().await;
    node.deploy("hello-v1").await;
    let request = node.http.request(Method::HEAD, "/hello-v1").body("").unwrap();
    let answer = node.http.send(request).await.unwrap().ok();
    assert_eq!((answer.header("content-length"), answer.text().as_str()), ("14", ""));
}

#[tokio::test]
async fn functions_answer_at_their_routes_and_nowhere_else() {
    let node = Node::start().await;
    let routes = json!({ "routes": ["/shop/*", "example.com/greeting"] });
    node.deploy_with("hello", "hello-v1", routes).await;
    node.http.get("/shop").await.ok();
    node.http.get("/shop/a/b").await.ok();
    node.http.get_as("/greeting", &[("host", "example.com")]).await.ok();
    node.http.get("/greeting").await.problem(404, "no-such-function");
    node.http.get("/shopping").await.problem(404, "no-such-function");
    node.http.get("/hello").await.problem(404, "no-such-function");
}

#[tokio::test]
async fn instances_are_not_shared_unless_the_configuration_says_so() {
    let node = Node::start().await;
    node.deploy_with("fresh", "counter", json!({})).await;
    node.deploy_with("shared", "counter", json!({ "reuse": 1000, "concurrency": 1 })).await;
    let mut highest = 0;
    for _ in 0..20 {
        assert_eq!(node.http.get("/fresh").await.ok().text(), "1\n");
        let seen: u32 = node.http.get("/shared").await.ok().text().trim().parse().unwrap();
        highest = highest.max(seen);
    }
    assert!(highest > 1, "no instance was used twice");
}

#[tokio::test]
async fn guest_may_call_only_the_origins_it_was_given() {
    let node = Node::start().await;
    let (allowed, denied) = (Origin::start("from outside").await, Origin::start("secret").await);
    let egress = json!({ "egress": [format!("http://{}", allowed.address)] });
    node.deploy_with("fetch", "fetch", egress).await;
    let fetch = |origin: &Origin| format!("/fetch?url=http%3A%2F%2F{}%2Fx", origin.address);
    let answer = node.http.get(&fetch(&allowed)).await.ok();
    assert_eq!((answer.text().as_str(), allowed.calls()), ("from outside", 1));

    let answer = node.http.get(&fetch(&denied)).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().contains("HttpRequestDenied"), "{}", answer.text());
    assert_eq!(denied.calls(), 0);
}

#[tokio::test]
async fn guest_sees_its_environment_and_no_other() {
    let node = Node::start().await;
    node.deploy_with("env", "env", json!({ "env": { "GREETING": "hi", "NAME": "a b=c" } })).await;
    assert_eq!(node.http.get("/env").await.ok().text(), "GREETING=hi\nNAME=a b=c\n");
}

#[tokio::test]
async fn what_a_guest_prints_is_in_the_log_of_its_function() {
    let node = Node::start().await;
    node.deploy("env").await;
    node.deploy("trap").await;
    let id = node.http.get("/env").await.ok().header("wasm-fn-request-id").to_owned();
    let lines = node.logs("env").await;
    let has = |stream: &str, text: &str| {
        lines.iter().any(|line| {
            (&line["stream"], &line["text"]) == (&json!(stream), &json!(text))
                && line["request_id"] == id.as_str()
                && line["version"] == "v1"
                && line["failed"] == false
        })
    };
    assert!(has("stdout", "env: stdout line") && has("stderr", "env: stderr line"), "{lines:?}");

    let failed = node.http.get("/trap/before").await;
    let id = failed.problem(500, "guest-trap")["request_id"].clone();
    let lines = node.logs("trap").await;
    let told = lines.iter().any(|line| {
        line["stream"] == "host"
            && line["request_id"] == id
            && line["failed"] == true
            && line["text"].as_str().is_some_and(|text| text.contains("unreachable"))
    });
    assert!(told, "{lines:?}");
}

#[tokio::test]
async fn client_that_leaves_frees_its_place() {
    let node = Node::start().await;
    let alone = json!({ "concurrency": 1, "queue": 0 });
    node.deploy_with("echo", "echo", alone).await;
    // A client of its own, whose connections end with it.
    let leaving = Client::http2(node.listen);
    let mut exchange = leaving.begin("/echo", "here", &[]).await.unwrap();
    exchange.read("here").await;
    node.http.get("/echo").await.problem(503, "function-overloaded");
    drop(exchange);
    let free = async { while node.http.get("/echo").await.status != StatusCode::OK {} };
    patiently("the place of a client that has left", free).await;
    assert_eq!(node.outcomes("echo", "cancelled").await, 1);
}

#[tokio::test]
async fn callers_cannot_pass_for_the_node() {
    let node = Node::start().await;
    node.deploy("cgi").await;
    let headers = [("proxy", "http://evil"), ("wasm-fn-token", "x"), ("x-mine", "kept")];
    let answer: Answer = node.http.get_as("/cgi", &headers).await.ok();
    let text = answer.text();
    assert!(text.contains("HTTP_X_MINE=kept"), "{text}");
    assert!(!text.contains("HTTP_PROXY=") && !text.contains("WASM_FN_TOKEN"), "{text}");
}
