//! Where requests are sent, and who is sent nowhere.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::tests::harness::within;

#[test]
fn clients_are_sent_to_the_same_address_with_tls() {
    for (host, target, https_port, expected) in [
        ("example.com", "/a/b?c=d&e", 443, Some("https://example.com/a/b?c=d&e")),
        // Behind a firewall that gives the listeners other ports.
        ("example.com", "/", 8443, Some("https://example.com/")),
        ("example.com:80", "/", 443, Some("https://example.com/")),
        ("localhost:8080", "/", 8443, Some("https://localhost:8443/")),
        ("[::1]:8080", "/", 8443, Some("https://[::1]:8443/")),
        ("[::1]", "/", 8443, Some("https://[::1]/")),
        ("example.com:", "/", 8443, Some("https://example.com/")),
        ("other.test", "http://example.com/a", 443, Some("https://example.com/a")),
        ("", "/", 443, None),
        ("user@example.com", "/", 443, None),
        ("example.com/x", "/", 443, None),
        ("a b", "/", 443, None),
        ("example.com:99999", "/", 443, None),
        ("example.com", "*", 443, None),
    ] {
        let request = Request::get(target).header(header::HOST, host).body(()).unwrap();
        assert_eq!(location(&request, https_port).as_deref(), expected, "{host:?} {target}");
    }
    let without = Request::get("/").body(()).unwrap();
    assert_eq!(location(&without, 443), None);
    let twice = Request::get("/").header(header::HOST, "a.test").header(header::HOST, "b.test");
    assert_eq!(location(&twice.body(()).unwrap(), 443), None);
}

fn options() -> RedirectOptions {
    RedirectOptions {
        https_port: 8443,
        connections_max: 1,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
    }
}

async fn start(options: RedirectOptions) -> RedirectHandle {
    redirect(TcpListener::bind("127.0.0.1:0").await.unwrap(), options).unwrap()
}

async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn every_connection_gets_one_answer_and_its_end() {
    let handle = start(options()).await;
    let address = handle.local_addr();
    // There is room for one connection at a time, so each must end for the next one to be answered.
    for _ in 0..3 {
        let answer =
            exchange(address, b"POST /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
        assert!(answer.contains("\r\nlocation: https://a.test/a?b\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let answer = exchange(address, b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"bad-request\""), "{answer}");
    handle.stop().await;
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn a_header_of_a_trusted_proxy_comes_first() {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let handle = start(RedirectOptions { trusted_proxies, proxy_protocol: true, ..options() }).await;
    let request = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let answer = exchange(handle.local_addr(), request).await;
    assert!(answer.contains("\r\nlocation: https://a.test/\r\n"), "{answer}");
}
