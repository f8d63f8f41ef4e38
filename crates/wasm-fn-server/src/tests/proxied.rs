//! Whom the data plane takes for the client, behind proxies and without.

use http::{HeaderValue, Request};

use super::harness::{ClientBody, Fake, Node, get, get2, ok, options, text};
use crate::Options;

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

async fn node(trusted: &[&str]) -> Node {
    let trusted_proxies = trusted.iter().map(|text| text.parse().unwrap()).collect();
    Node::bounded(Options { trusted_proxies, ..options() }, telling()).await
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
        let node = node(trusted).await;
        assert_eq!(told(&node, &ALL).await, "127.0.0.1;", "{trusted:?}");
    }
}

#[tokio::test]
async fn trusted_proxy_names_the_client_and_guests_see_what_it_says() {
    let node = node(&["127.0.0.1", "10.0.0.0/8"]).await;
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
    let node = node(&["127.0.0.1"]).await;
    for value in ["x".repeat(1 << 10), "\"".repeat(1 << 10), "for=127.0.0.1,".repeat(73), ",;=".repeat(341)] {
        let told = told(&node, &[("forwarded", &value)]).await;
        assert_eq!(told, format!("127.0.0.1 forwarded={value};"));
    }
}

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_client() {
    let node = node(&["127.0.0.1"]).await;
    let mut client = node.http1().await;
    for number in 1..=3 {
        let address = format!("192.0.2.{number}");
        let request = with(get("/hello"), &[("x-forwarded-for", &address)]);
        let told = text(client.send_request(request).await.unwrap()).await;
        assert_eq!(told, format!("{address} x-forwarded-for={address};"));
        client.ready().await.unwrap();
    }
}
