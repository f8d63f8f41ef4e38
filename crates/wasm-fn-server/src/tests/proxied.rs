//! Whom the data plane takes for the client, behind proxies and without.

use std::time::Duration;

use http::{HeaderValue, Request};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use wasm_fn_core::Outcome;

use super::harness::{ClientBody, Fake, Node, get, get2, ok, options, text, within};
use crate::ServerOptions;

const SOON: Duration = Duration::from_millis(50);

const ASKED: &str = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Answers with the client's address, and what the guest sees of the headers that tell of it.
fn telling() -> Fake {
    Fake::new(|call| async move {
        let told = |name: &str| match call.request.headers().get(name) {
            Some(value) => format!(" {name}={}", value.to_str().unwrap()),
            None => String::new(),
        };
        let names = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
        ok(format!("{}{};", call.client.ip(), names.map(told).concat()))
    })
}

async fn node(trusted: &[&str], proxy_protocol: bool) -> Node {
    let trusted_proxies = trusted.iter().map(|text| text.parse().unwrap()).collect();
    Node::bounded(ServerOptions { trusted_proxies, proxy_protocol, ..options() }, telling()).await
}

fn with(mut request: Request<ClientBody>, headers: &[(&'static str, &str)]) -> Request<ClientBody> {
    for &(name, value) in headers {
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// What a request with `headers` is answered, which is the same over both protocols.
async fn told(node: &Node, headers: &[(&'static str, &str)]) -> String {
    let first = node.http1().await.send_request(with(get("/hello"), headers)).await.unwrap();
    let second = node.http2().await.send_request(with(get2("/hello"), headers)).await.unwrap();
    let (first, second) = (text(first).await, text(second).await);
    assert_eq!(first, second);
    first
}

/// Everything that comes back for `header` and a request behind it.
async fn told_after(node: &Node, header: &[u8]) -> String {
    let mut client = node.raw().await;
    // The node may close before it has read all.
    let _ = within(client.0.write_all(&[header, ASKED.as_bytes()].concat())).await;
    let answer = client.read_to_end().await;
    answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned())
}

/// A header of the PROXY protocol, version 2, over IPv4 from 192.0.2.1:5000.
fn binary_header(version_and_command: u8, family: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 127, 0, 0, 1, 0x13, 0x88, 0, 80];
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_and_command, family, 0, 12][..], &addresses].concat()
}

const ALL: [(&str, &str); 5] = [
    ("forwarded", "for=192.0.2.1"),
    ("x-forwarded-for", "192.0.2.2"),
    ("x-forwarded-host", "a"),
    ("x-forwarded-proto", "https"),
    ("x-real-ip", "192.0.2.3"),
];

#[tokio::test]
async fn without_trusted_proxies_nobody_is_believed() {
    for trusted in [&[][..], &["10.0.0.0/8", "::1"]] {
        let node = node(trusted, false).await;
        assert_eq!(told(&node, &ALL).await, "127.0.0.1;", "{trusted:?}");
    }
}

#[tokio::test]
async fn trusted_proxy_names_the_client_and_guests_see_what_it_says() {
    let node = node(&["127.0.0.1", "10.0.0.0/8"], false).await;
    let all = "forwarded=for=192.0.2.1 x-forwarded-for=192.0.2.2 x-forwarded-host=a x-forwarded-proto=https \
               x-real-ip=192.0.2.3";
    assert_eq!(told(&node, &ALL).await, format!("192.0.2.1 {all};"));
    let chain = "198.51.100.7, 192.0.2.2, 10.0.0.2";
    assert_eq!(
        told(&node, &[("x-forwarded-for", chain)]).await,
        format!("192.0.2.2 x-forwarded-for={chain};")
    );
    assert_eq!(told(&node, &[("x-real-ip", "192.0.2.3")]).await, "127.0.0.1 x-real-ip=192.0.2.3;");
    assert_eq!(told(&node, &[("x_forwarded_for", "192.0.2.2")]).await, "127.0.0.1;");
    assert_eq!(told(&node, &[]).await, "127.0.0.1;");
}

#[tokio::test]
async fn forwarded_of_a_kilobyte_is_answered() {
    let node = node(&["127.0.0.1"], false).await;
    for value in ["x".repeat(1 << 10), "\"".repeat(1 << 10), "for=127.0.0.1,".repeat(73), ",;=".repeat(341)] {
        let told = told(&node, &[("forwarded", &value)]).await;
        assert_eq!(told, format!("127.0.0.1 forwarded={value};"));
    }
}

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_client() {
    let node = node(&["127.0.0.1"], false).await;
    let mut client = node.http1().await;
    for number in 1..=3 {
        let address = format!("192.0.2.{number}");
        let request = with(get("/hello"), &[("x-forwarded-for", &address)]);
        let told = text(client.send_request(request).await.unwrap()).await;
        assert_eq!(told, format!("{address} x-forwarded-for={address};"));
        client.ready().await.unwrap();
    }
}

#[tokio::test]
async fn proxy_header_names_the_client() {
    let node = node(&["127.0.0.1", "10.0.0.0/8"], true).await;
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n".to_vec(), "192.0.2.1;"),
        (b"PROXY TCP6 2001:db8::7 ::1 5000 80\r\n".to_vec(), "2001:db8::7;"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1;"),
        (binary_header(0x21, 0x11), "192.0.2.1;"),
        (binary_header(0x20, 0x11), "127.0.0.1;"),
        (binary_header(0x21, 0x00), "127.0.0.1;"),
    ] {
        assert_eq!(told_after(&node, &header).await, expected, "{}", header.escape_ascii());
    }
    node.counts(Outcome::Success, 6).await;
}

#[tokio::test]
async fn both_protocols_follow_a_proxy_header() {
    let node = node(&["127.0.0.1", "10.0.0.0/8"], true).await;
    let connect = async |header: &str| {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(header.as_bytes()).await.unwrap();
        TokioIo::new(stream)
    };
    // Headers are believed of whom the PROXY header names, and not of the proxy.
    for (header, expected) in [
        ("PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n", "192.0.2.1;"),
        ("PROXY TCP4 10.0.0.2 127.0.0.1 5000 80\r\n", "192.0.2.9 x-forwarded-for=192.0.2.9;"),
        ("PROXY UNKNOWN\r\n", "127.0.0.1;"),
    ] {
        let claim = [("x-forwarded-for", "192.0.2.9")];
        let (mut first, connection) = http1::handshake(connect(header).await).await.unwrap();
        tokio::spawn(connection);
        let (mut second, connection) =
            http2::handshake(TokioExecutor::new(), connect(header).await).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            first.ready().await.unwrap();
            let answer = first.send_request(with(get("/hello"), &claim)).await.unwrap();
            assert_eq!(text(answer).await, expected, "{header}");
            let answer = second.send_request(with(get2("/hello"), &claim)).await.unwrap();
            assert_eq!(text(answer).await, expected, "{header}");
        }
    }
    let claim = b"GET /hello HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.9\r\n\r\n";
    let mut own = node.raw().await;
    own.0.write_all(&[&binary_header(0x20, 0x00), &claim[..]].concat()).await.unwrap();
    own.read_until("192.0.2.9 x-forwarded-for=192.0.2.9;").await;
}

#[tokio::test]
async fn connection_of_a_trusted_proxy_without_its_header_is_closed() {
    let node = node(&["127.0.0.1"], true).await;
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 4000]].concat();
    let long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(), vec![0; 4000]].concat();
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\n".to_vec(),
        endless,
        long,
        binary_header(0x31, 0x11),
    ] {
        assert_eq!(told_after(&node, &header).await, "", "{}", header.escape_ascii());
    }
    assert_eq!(node.tally.snapshot().total(), 0);
    assert_eq!(told_after(&node, &binary_header(0x21, 0x11)).await, "192.0.2.1;");
}

#[tokio::test]
async fn cut_proxy_header_has_the_time_of_a_head() {
    let options = ServerOptions {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        proxy_protocol: true,
        head_timeout: SOON,
        ..options()
    };
    let node = Node::bounded(options, telling()).await;
    let binary = binary_header(0x21, 0x11);
    let text = b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n";
    for header in [&[][..], &binary[..1], &binary[..15], &binary[..27], &text[..5], &text[..30]] {
        let mut client = node.raw().await;
        client.0.write_all(header).await.unwrap();
        assert_eq!(client.read_to_end().await, "", "{}", header.escape_ascii());
    }
    // What is left of that time is the first request's.
    let mut client = node.raw().await;
    client.0.write_all(&binary).await.unwrap();
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn others_are_served_without_a_proxy_header_and_refused_with_one() {
    let node = node(&["10.0.0.0/8"], true).await;
    assert_eq!(told(&node, &ALL).await, "127.0.0.1;");
    for header in [b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n".to_vec(), binary_header(0x21, 0x11)] {
        let mut client = node.raw().await;
        let _ = within(client.0.write_all(&[&header, ASKED.as_bytes()].concat())).await;
        let answer = client.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    node.counts(Outcome::Success, 2).await;
}

#[tokio::test]
async fn proxy_header_is_not_read_unless_the_node_says_so() {
    let node = node(&["127.0.0.1"], false).await;
    let mut client = node.raw().await;
    client.send("PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n").await;
    assert!(client.read_to_end().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn node_does_not_wait_for_a_proxy_header_when_it_ends() {
    let node = node(&["127.0.0.1"], true).await;
    let mut waiting = node.raw().await;
    waiting.send("PROXY TCP4 ").await;
    // Accepted once a later connection was served.
    assert_eq!(told_after(&node, &binary_header(0x21, 0x11)).await, "192.0.2.1;");
    let report = within(node.handle.drain(Duration::from_secs(20))).await;
    assert_eq!(report.cut, 0);
    assert_eq!(waiting.read_to_end().await, "");
}
