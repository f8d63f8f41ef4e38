//! Guests and clients that attack every limit, while others are served.

use std::{cell::Cell, fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::harness::{
    Node,
    client::{Broken, Client, connect, raw, read_until},
    patiently,
};

/// Sends a request and reads the answer to its end, keeping nothing.
async fn discard(client: &Client, path: &str) -> Result<StatusCode, Broken> {
    let request = client.request(Method::GET, path).body(Full::new(Bytes::new()).boxed())?;
    let mut response = client.open(request).await?;
    while let Some(frame) = patiently("the rest of an answer", response.body_mut().frame()).await {
        frame?;
    }
    Ok(response.status())
}

/// A node with `hello`.
async fn node() -> Node {
    let node = Node::start_with(&["--body-max", "10KiB"]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.http.get("/hello").await.ok();
    node
}

/// Runs `attack` while `hello` is called again and again; says how that went.
async fn beside_hello<T>(node: &Node, attack: impl Future<Output = T>) -> T {
    let (answered, slowest) = (Cell::new(0_u32), Cell::new(Duration::ZERO));
    let client = Client::http1(node.listen);
    let hello = async {
        loop {
            let begun = Instant::now();
            client.get("/hello").await.ok();
            slowest.set(slowest.get().max(begun.elapsed()));
            answered.set(answered.get() + 1);
        }
    };
    let outcome = tokio::select! {
        outcome = attack => outcome,
        () = hello => unreachable!("it has no end"),
    };
    node.http.get("/hello").await.ok();
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{test}: hello answered {} times beside it, slowest {:?}", answered.get(), slowest.get());
    outcome
}

#[tokio::test]
async fn hundred_hostile_guests_do_not_keep_others_from_being_served() {
    let node = node().await;
    let config = json!({ "timeout_ms": 1000, "memory_bytes": 16 << 20 });
    for guest in ["flood", "spin", "hog"] {
        node.deploy_with(guest, guest, config.clone()).await;
    }
    let attack = (0..100).map(|n| {
        let path = ["/flood", "/spin/loop", "/hog"][n % 3];
        let client = Client::http1(node.listen);
        async move { (path, discard(&client, path).await) }
    });
    let attack = futures_util::future::join_all(attack);
    let ends = patiently("the end of the attack", beside_hello(&node, attack)).await;
    for (path, end) in ends {
        match (path, end) {
            // Cut in the middle of its body, unless it came to none in time.
            ("/flood", Err(_)) => {}
            ("/flood", end) => assert_eq!(end.unwrap(), StatusCode::GATEWAY_TIMEOUT),
            ("/spin/loop", end) => assert_eq!(end.unwrap(), StatusCode::GATEWAY_TIMEOUT),
            // Among so many it may not come to its limit in time.
            (_, end) => assert!(end.unwrap().is_server_error()),
        }
    }
    // Among so many some clients are too slow to read.
    let mut failed = node.outcomes("hog", "out-of-memory").await + node.outcomes("flood", "cancelled").await;
    for function in ["flood", "spin", "hog"] {
        failed += node.outcomes(function, "timeout").await;
    }
    assert_eq!(failed, 100);
}

#[tokio::test]
async fn clients_that_never_read_hold_little_memory_and_no_place_for_ever() {
    let node = node().await;
    node.deploy_with("flood", "flood", json!({ "timeout_ms": 2000 })).await;
    assert!(discard(&node.http, "/flood").await.is_err());
    let before = node.resident_bytes();
    let attack = async {
        let mut silent = Vec::new();
        for _ in 0..50 {
            let mut stream = connect(node.listen).await;
            stream.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            silent.push(stream);
        }
        let mut most = before;
        while node.outcomes("flood", "timeout").await + node.outcomes("flood", "cancelled").await < 51 {
            most = most.max(node.resident_bytes());
        }
        most
    };
    let begun = Instant::now();
    let most = patiently("the end of what nobody reads", beside_hello(&node, attack)).await;
    let took = begun.elapsed();
    let (timeouts, cancelled) =
        (node.outcomes("flood", "timeout").await, node.outcomes("flood", "cancelled").await);
    // Fifty instances with their buffers, not fifty endless bodies.
    let grown_mib = (most - before) >> 20;
    println!(
        "fifty clients that never read cost {grown_mib} MiB for {took:?}: {} timeouts, {cancelled} cut",
        timeouts - 1
    );
    assert!(grown_mib < 100, "the node grew by {grown_mib} MiB");
}

#[tokio::test]
async fn head_that_is_too_large_is_refused() {
    let node = node().await;
    let mut many = String::from("GET /hello HTTP/1.1\r\nhost: x\r\n");
    for n in 0..150 {
        write!(many, "x-{n}: y\r\n").unwrap();
    }
    let long = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n", "y".repeat(200_000));
    let path = format!("GET /hello/{} HTTP/1.1\r\nhost: x\r\n", "y".repeat(200_000));
    for (head, statuses) in [(many, &["431"][..]), (long, &["431"]), (path, &["414", "431"])] {
        let answer = raw(node.listen, format!("{head}\r\n").as_bytes(), |read| read.len() > 12).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let refused = statuses.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(refused, "{:?}…", answer.chars().take(200).collect::<String>());
    }
    let client = Client::http2(node.listen);
    let long = "y".repeat(200_000);
    let refused = client.request(Method::GET, "/hello").header("x-long", long).body("").unwrap();
    if let Ok(answer) = client.send(refused).await {
        assert_eq!(answer.status, 431);
    }
    node.http.get("/hello").await.ok();
}

#[tokio::test]
async fn body_over_the_limit_is_refused_declared_or_not() {
    let node = node().await;
    node.deploy("echo").await;
    for client in [Client::http1(node.listen), Client::http2(node.listen)] {
        client.post("/echo", vec![b'x'; 10 << 10]).await.ok();
        let problem = client.post("/echo", vec![b'x'; (10 << 10) + 1]).await;
        let problem = problem.problem(413, "body-too-large");
        assert!(problem["detail"].as_str().unwrap().contains("10240"), "{problem}");
        // Far more than is on its way when the node has decided.
        client.post("/echo", vec![b'x'; 16 << 20]).await.problem(413, "body-too-large");
    }
    // Without a length the guest sees what fits; what is over ends the exchange.
    let mut chunked = String::from("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..30 {
        write!(chunked, "400\r\n{}\r\n", "x".repeat(1024)).unwrap();
    }
    chunked.push_str("0\r\n\r\n");
    let answer = raw(node.listen, chunked.as_bytes(), |_| false);
    let answer = patiently("the connection's end", answer).await;
    let answer = String::from_utf8_lossy(&answer);
    let refused = answer.starts_with("HTTP/1.1 413 ");
    let cut = answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with("\r\n0\r\n\r\n");
    assert!(refused || cut, "{:?}…", answer.chars().take(200).collect::<String>());
    assert!(answer.len() < 12 << 10, "{} bytes came back", answer.len());
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let node = node().await;
    // Bits of a linear congruential generator (Knuth, MMIX); the same in every run.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let mut pieces: Vec<Vec<u8>> = (0..50).map(|_| (0..2000).map(|_| noise()).collect()).collect();
    pieces.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    pieces.push([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 100]].concat());
    pieces.push(b"GET /hello HTTP/9.9\r\nhost: x\r\n\r\n".to_vec());
    pieces.push(b"GET /hello HTTP/1.1\r\n\r\n".to_vec());
    pieces.push(b"GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_vec());
    pieces.push(b"GET /hel\0lo HTTP/1.1\r\nhost: x\r\n\r\n".to_vec());
    pieces.push(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_vec());
    pieces.push(b"POST /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec());
    pieces.push(b"POST /hello HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec());
    pieces.push(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n".to_vec());
    let attack = async {
        for piece in &pieces {
            let mut stream = connect(node.listen).await;
            // The node may hang up before it has read everything.
            let _ = stream.write_all(piece).await;
            let _ = stream.shutdown().await;
            let answer = patiently("the end of a connection", read_until(&mut stream, |_| false)).await;
            let answer = String::from_utf8_lossy(&answer);
            // Bytes that are no request at all may get no answer; a chunked body that turns out wrong
            // belongs to a function that has answered without reading it.
            let readable = piece.starts_with(b"POST") && piece.ends_with(b"zz\r\n");
            assert!(
                readable || !answer.contains("HTTP/1.1 200"),
                "{:?} got {answer:?}",
                String::from_utf8_lossy(piece)
            );
        }
    };
    beside_hello(&node, attack).await;
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let node = node().await;
    let attack = async {
        let mut idle = Vec::new();
        for n in 0..800 {
            let mut stream = connect(node.listen).await;
            if n % 2 == 0 {
                stream.write_all(b"GET /hello HTTP/1.1\r\nhos").await.unwrap();
            }
            idle.push(stream);
        }
        for _ in 0..20 {
            Client::http1(node.listen).get("/hello").await.ok();
        }
        idle
    };
    drop(beside_hello(&node, attack).await);
}

#[tokio::test]
async fn clients_that_leave_at_once_leave_nothing_behind() {
    let node = node().await;
    node.deploy_with("slow", "slow", json!({ "concurrency": 10, "queue": 10 })).await;
    let attack = async {
        for _ in 0..200 {
            let mut stream = connect(node.listen).await;
            stream.write_all(b"GET /slow?ms=600000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        }
        let client = Client::http2(node.listen);
        for _ in 0..200 {
            let request =
                client.request(Method::GET, "/slow?ms=600000").body(Full::new(Bytes::new()).boxed());
            let opening = client.open(request.unwrap());
            // Reset before there is an answer.
            tokio::select! {
                biased;
                _ = opening => {}
                () = tokio::task::yield_now() => {}
            }
        }
    };
    beside_hello(&node, attack).await;
    let free = async { while node.http.get("/slow?ms=0").await.status != StatusCode::OK {} };
    patiently("the places of clients that have left", free).await;
}

#[tokio::test]
async fn guest_that_prints_without_end_fills_no_log() {
    let node = node().await;
    node.deploy_with("stdout-flood", "stdout-flood", json!({ "timeout_ms": 60_000 })).await;
    let attack = async {
        node.http.get("/stdout-flood?lines=50000&len=100").await.ok();
        node.http.get("/stdout-flood?lines=300&len=100000").await.ok();
    };
    beside_hello(&node, attack).await;
    let lines = node.logs("stdout-flood").await;
    let texts = lines.iter().filter_map(|line| line["text"].as_str());
    let bytes: usize = texts.clone().map(str::len).sum();
    let longest = texts.map(str::len).max();
    assert!(lines.len() <= 2001 && bytes <= 1 << 20, "{} lines of {bytes} bytes", lines.len());
    assert_eq!(longest, Some(8 << 10));
    assert_eq!(lines[0]["event"], "lost", "{}", lines[0]);
}
