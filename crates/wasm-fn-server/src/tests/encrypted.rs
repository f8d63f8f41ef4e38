//! Functions over TLS.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wasm_fn_core::Outcome;

use super::harness::{Fake, Http1, Http2, Node, get, get2, ok, options, request, request2, text, within};
use crate::ServerOptions;

const ASKED: &str = "GET /hello HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

/// A certificate for `a.test` that vouches for itself, and a configuration with it.
pub(crate) fn certificate() -> (CertificateDer<'static>, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let der = certificate.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![der.clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (der, config)
}

/// A client that trusts only `certificate` and offers `protocols`.
pub(crate) fn connector(certificate: &CertificateDer<'static>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("a.test").unwrap()
}

/// A node with TLS, and the certificate that its clients trust.
struct Secure {
    node: Node,
    tls: Arc<ArcSwap<ServerConfig>>,
    certificate: CertificateDer<'static>,
}

impl Secure {
    async fn bounded(options: ServerOptions, fake: Fake) -> Self {
        let (certificate, config) = certificate();
        let tls = Arc::new(ArcSwap::from_pointee(config));
        let node = Node::bounded(ServerOptions { tls: Some(Arc::clone(&tls)), ..options }, fake).await;
        Self { node, tls, certificate }
    }

    async fn start(fake: Fake) -> Self {
        Self::bounded(options(), fake).await
    }

    async fn connect_with(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.node.addr()).await.unwrap();
        within(connector(&self.certificate, protocols).connect(name(), stream)).await
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_with(&["http/1.1"]).await.unwrap()
    }

    async fn http1(&self) -> Http1 {
        let (client, connection) = http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn http2(&self) -> Http2 {
        let stream = self.connect_with(&["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// Answers with the scheme and the port of the request.
fn telling() -> Fake {
    Fake::new(|call| async move { ok(format!("{} {}", call.scheme.as_str(), call.port)) })
}

async fn ended(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    let mut read = Vec::new();
    within(stream.read_to_end(&mut read)).await?;
    Ok(String::from_utf8(read).unwrap())
}

#[tokio::test]
async fn both_protocols_are_served_by_alpn() {
    let node = Secure::start(telling()).await;
    let expected = format!("https {}", node.node.addr().port());
    // Several requests on one connection, and nothing but the connection says the scheme.
    let mut first = node.http1().await;
    let mut second = node.http2().await;
    for _ in 0..3 {
        assert_eq!(text(first.send_request(get("/hello")).await.unwrap()).await, expected);
        assert_eq!(text(second.send_request(get2("/hello")).await.unwrap()).await, expected);
    }
    // A client without ALPN speaks HTTP/1.1, or HTTP/2 with prior knowledge.
    let mut stream = node.connect_with(&[]).await.unwrap();
    stream.write_all(ASKED.as_bytes()).await.unwrap();
    assert!(ended(&mut stream).await.unwrap().ends_with(&expected));
    let io = TokioIo::new(node.connect_with(&[]).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(client.send_request(get2("/hello")).await.unwrap()).await, expected);
}

#[tokio::test]
async fn other_protocols_are_refused_in_the_handshake() {
    let node = Secure::start(telling()).await;
    let error = node.connect_with(&["smtp"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    node.node.counts(Outcome::Success, 0).await;
}

#[tokio::test]
async fn what_a_client_says_of_the_scheme_is_not_believed() {
    let node = Node::bounded(options(), telling()).await;
    let expected = format!("http {}", node.addr().port());
    let mut request = get2("/hello");
    *request.uri_mut() = "https://node.test/hello".parse().unwrap();
    assert_eq!(text(node.http2().await.send_request(request).await.unwrap()).await, expected);
    let mut request = get("/hello");
    request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
    assert_eq!(text(node.http1().await.send_request(request).await.unwrap()).await, expected);
}

#[tokio::test]
async fn a_trusted_proxy_says_how_its_client_came() {
    let trusted = || ServerOptions { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..options() };
    let asked = |scheme: &str| {
        let mut request: Request<_> = get("/hello");
        request.headers_mut().insert("x-forwarded-proto", scheme.parse().unwrap());
        request
    };
    let plain = Node::bounded(trusted(), telling()).await;
    let own = plain.addr().port();
    for (scheme, expected) in [("https", "https 443".to_owned()), ("http", format!("http {own}"))] {
        let response = plain.http1().await.send_request(asked(scheme)).await.unwrap();
        assert_eq!(text(response).await, expected);
    }
    let secure = Secure::bounded(trusted(), telling()).await;
    let own = secure.node.addr().port();
    for (scheme, expected) in [("https", format!("https {own}")), ("http", "http 80".to_owned())] {
        let response = secure.http1().await.send_request(asked(scheme)).await.unwrap();
        assert_eq!(text(response).await, expected);
    }
}

#[tokio::test]
async fn a_proxy_header_comes_before_the_handshake() {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let told = Fake::new(|call| async move { ok(format!("{} {}", call.scheme.as_str(), call.client)) });
    let proxied = ServerOptions { trusted_proxies, proxy_protocol: true, ..options() };
    let node = Secure::bounded(proxied, told).await;
    let mut stream = TcpStream::connect(node.node.addr()).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n").await.unwrap();
    let connector = connector(&node.certificate, &["http/1.1"]);
    let mut stream = within(connector.connect(name(), stream)).await.unwrap();
    stream.write_all(ASKED.as_bytes()).await.unwrap();
    let answer = ended(&mut stream).await.unwrap();
    assert!(answer.ends_with("https 192.0.2.1:5000"), "{answer}");
    // Without a header there is no handshake.
    node.connect_with(&["http/1.1"]).await.unwrap_err();
}

#[tokio::test]
async fn an_unfinished_handshake_is_cut_and_its_place_is_free() {
    let head_timeout = Duration::from_millis(50);
    let node =
        Secure::bounded(ServerOptions { connections_max: 1, head_timeout, ..options() }, telling()).await;
    for sent in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut silent = TcpStream::connect(node.node.addr()).await.unwrap();
        silent.write_all(sent).await.unwrap();
        let mut read = Vec::new();
        // It ends or is reset, for nothing that the client did.
        let _ = within(silent.read_to_end(&mut read)).await;
        assert_eq!(read, b"", "{sent:?}");
    }
    let mut client = node.http1().await;
    assert_eq!(client.send_request(get("/hello")).await.unwrap().status(), StatusCode::OK);
}

/// What comes back for `sent` without a handshake.
async fn told(node: &Secure, sent: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(node.node.addr()).await.unwrap();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut read = Vec::new();
    let _ = within(client.read_to_end(&mut read)).await;
    read
}

#[tokio::test]
async fn a_client_of_plain_http_is_told_what_to_use() {
    let node = Secure::start(telling()).await;
    for sent in [ASKED.as_bytes(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = String::from_utf8(told(&node, sent).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("use a URL with https"), "{answer}");
    }
    node.node.counts(Outcome::Success, 0).await;
}

#[tokio::test]
async fn what_is_no_handshake_ends_with_an_alert() {
    let node = Secure::start(telling()).await;
    for sent in [&[0; 64][..], b"\x16\x03\x01\xff\xff", b"get / http/1.1\r\n\r\n", b""] {
        let answer = told(&node, sent).await;
        // Nothing, or an alert (RFC 8446, section 6), and never an answer.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?} after {sent:?}");
    }
    let response = node.http1().await.send_request(get("/hello")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    node.node.counts(Outcome::Success, 1).await;
}

#[tokio::test]
async fn a_connection_that_ends_in_order_says_so() {
    let node = Secure::start(telling()).await;
    let mut stream = node.connect().await;
    stream.write_all(ASKED.as_bytes()).await.unwrap();
    // An end without `close_notify` would be an error.
    assert!(ended(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    // A drain ends idle connections in order, too.
    let mut stream = node.connect().await;
    stream.write_all(ASKED.replace("connection: close\r\n", "").as_bytes()).await.unwrap();
    let mut first = [0; 15];
    within(stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let draining = async { node.node.handle.drain(Duration::from_secs(10)).await };
    let (report, rest) = tokio::join!(draining, ended(&mut stream));
    assert_eq!(report.cut, 0);
    rest.unwrap();
}

#[tokio::test]
async fn a_handshake_under_way_outlives_the_grace_of_a_drain() {
    let node = Secure::start(telling()).await;
    let slow = TcpStream::connect(node.node.addr()).await.unwrap();
    // It was accepted after the slow one.
    let mut idle = node.connect().await;
    let draining = async { node.node.handle.drain(Duration::from_secs(10)).await };
    let served = async {
        // It is closed when the grace is over. It never had a request, so its end says no more than that.
        let _ = ended(&mut idle).await;
        let connector = connector(&node.certificate, &["http/1.1"]);
        let mut stream = within(connector.connect(name(), slow)).await.unwrap();
        stream.write_all(ASKED.as_bytes()).await.unwrap();
        ended(&mut stream).await.unwrap()
    };
    let (report, answer) = tokio::join!(draining, served);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(report.cut, 0);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let node = Secure::start(telling()).await;
    let mut old = node.http1().await;
    assert_eq!(old.send_request(get("/hello")).await.unwrap().status(), StatusCode::OK);
    let (certificate, config) = certificate();
    node.tls.store(Arc::new(config));
    assert_eq!(old.send_request(get("/hello")).await.unwrap().status(), StatusCode::OK);
    node.connect_with(&["http/1.1"]).await.unwrap_err();
    let node = Secure { certificate, ..node };
    assert_eq!(node.http1().await.send_request(get("/hello")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn bodies_pass_whole_in_both_directions() {
    let echo = Fake::new(|call| async move {
        let body = call.request.into_body().collect().await.unwrap();
        ok(body.to_bytes())
    });
    let node = Secure::bounded(ServerOptions { body_bytes_max: 8 << 20, ..options() }, echo).await;
    // Several records, and more than any buffer.
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let body = || Full::from(sent.clone()).boxed_unsync();
    for http2 in [false, true] {
        let response = if http2 {
            node.http2().await.send_request(request2("/hello", body())).await.unwrap()
        } else {
            node.http1().await.send_request(request("/hello", body())).await.unwrap()
        };
        let received = within(response.into_body().collect()).await.unwrap();
        assert!(received.to_bytes() == sent, "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_cancels_its_request() {
    let (begins, mut begun) = tokio::sync::mpsc::channel(1);
    let hanging = Fake::new(move |_| {
        let begins = begins.clone();
        async move {
            begins.send(()).await.unwrap();
            std::future::pending().await
        }
    });
    let node = Secure::start(hanging).await;
    let mut stream = node.connect().await;
    stream.write_all(ASKED.as_bytes()).await.unwrap();
    within(begun.recv()).await.unwrap();
    drop(stream);
    node.node.counts(Outcome::Cancelled, 1).await;
}

#[tokio::test]
async fn a_malformed_head_is_refused_over_tls_as_without() {
    let node = Secure::start(telling()).await;
    let mut stream = node.connect().await;
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a.test\r\nbad header\r\n\r\n").await.unwrap();
    let answer = ended(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"bad-request\""), "{answer}");
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_order_over_tls() {
    let told = Fake::new(|call| async move { ok(call.request.uri().query().unwrap().to_owned()) });
    let node = Secure::start(told).await;
    let mut stream = node.connect().await;
    let requests: Vec<_> = (0..100)
        .map(|n| {
            format!(
                "GET /hello?{n}. HTTP/1.1\r\nhost: a.test\r\n{}\r\n",
                if n == 99 { "connection: close\r\n" } else { "" }
            )
        })
        .collect();
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    let answers = ended(&mut stream).await.unwrap();
    let bodies =
        answers.split("HTTP/1.1 200 OK\r\n").skip(1).map(|answer| answer.rsplit("\r\n\r\n").next().unwrap());
    let expected: String = (0..100).map(|n| format!("{n}.")).collect();
    assert_eq!(bodies.collect::<String>(), expected);
}
