//! Outgoing requests of guests, and what they could pass on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use wasm_fn_core::EgressLimits;

use super::*;
use crate::TrustedRoots;

/// The certificate of an authority that nobody trusts by itself.
const AUTHORITY: &[u8] = include_bytes!("../../../guest_host/egress/tests/authority.pem");

/// A certificate of that authority for `localhost`, and its key.
const LOCALHOST: &[u8] = include_bytes!("../../../guest_host/egress/tests/localhost.pem");

#[tokio::test]
async fn egress_is_denied_unless_allowed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();
    });
    let node = Node::start();
    let path = format!("/?url=http%3A%2F%2F{}%3A{}%2F", address.ip(), address.port());
    let denied = node.version("fetch", FunctionConfig::default());
    let (status, body) = get(&denied, &path).await.unwrap();
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("HttpRequestDenied"), "{body}");
    let egress = vec![format!("http://{address}").parse().unwrap()];
    let allowed = node.version("fetch", FunctionConfig { egress, ..FunctionConfig::default() });
    assert!(ok(&allowed, &path).await.contains("fine"));
    peer.await.unwrap();
}

#[tokio::test]
async fn an_origin_that_is_none_is_an_invalid_uri() {
    let node = Node::start();
    let version = node.version("fetch", calling(&["*"]));
    for authority in ["localhost%3A99999", "localhost%3A0", "me%40localhost", "me%3Asecret%40localhost%3A80"]
    {
        let (status, body) = get(&version, &format!("/?url=http%3A%2F%2F{authority}%2F")).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::BAD_GATEWAY, "HttpRequestUriInvalid\n"), "{authority}");
    }
}

fn calling(rules: &[&str]) -> FunctionConfig {
    let egress = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    FunctionConfig { egress, ..FunctionConfig::default() }
}

/// A server that counts the connections that it accepts, and answers none.
async fn counting() -> (u16, Arc<AtomicU32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU32::new(0));
    let accepted = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            accepted.fetch_add(1, Relaxed);
        }
    });
    (port, count)
}

#[tokio::test]
async fn this_machine_is_reached_by_no_other_spelling_of_its_address() {
    let node = Node::start();
    let (port, connections) = counting().await;
    for (host, rule) in [
        ("127.0.0.1", "a loopback address"),
        ("2130706433", "a loopback address"),
        ("0x7f.1", "a loopback address"),
        ("017700000001", "a loopback address"),
        ("127.1", "a loopback address"),
        ("[::ffff:127.0.0.1]", "a loopback address"),
        ("[::ffff:7f00:1]", "a loopback address"),
        ("[::1]", "a loopback address"),
        ("[64:ff9b::7f00:1]", "a loopback address"),
        ("[2002:7f00:1::]", "a loopback address"),
        ("localhost", "a loopback address"),
        ("LOCALHOST", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("0", "the unspecified address"),
        ("[::]", "the unspecified address"),
        ("169.254.169.254", "a cloud's metadata address"),
        ("[fd00:ec2::254]", "a cloud's metadata address"),
        ("10.0.0.5", "a private address"),
        ("100.64.0.1", "a private address"),
        ("[fe80::1]", "a link-local address"),
        ("198.18.0.1", "a reserved address"),
        ("224.0.0.1", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
    ] {
        let version = node.version("fetch", calling(&["*"]));
        let url = format!("/?url=http%3A%2F%2F{}%3A{port}%2F", host.replace(':', "%3A"));
        let (status, body) = get(&version, &url).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::BAD_GATEWAY, "DestinationIpProhibited\n"), "{host}");
        let log = node.log("fetch");
        let line = format!("egress-denied: http://{host}:{port} leads to ");
        let is_told = log.iter().any(|(stream, text)| {
            *stream == GuestLogStream::Host && text.starts_with(&line) && text.contains(rule)
        });
        assert!(is_told, "{host}: {log:?}");
    }
    // Some systems do not know this name.
    let version = node.version("fetch", calling(&["*"]));
    let (_, body) = get(&version, &format!("/?url=http%3A%2F%2Flocalhost.%3A{port}%2F")).await.unwrap();
    assert!(body == "DestinationIpProhibited\n" || body.starts_with("DnsError"), "{body}");
    assert_eq!(connections.load(Relaxed), 0);
}

#[tokio::test]
async fn an_origin_that_is_not_named_is_told_to_the_function() {
    let node = Node::start();
    let version = node.version("fetch", calling(&["https://api.example.com"]));
    for (asked, told) in [
        ("https%3A%2F%2Fapi.example.com.%2F", "https://api.example.com.:443"),
        ("http%3A%2F%2Fapi.example.com%2Fsecret%3Fkey%3D1", "http://api.example.com:80"),
        ("http%3A%2F%2F2130706433%2F", "http://2130706433:80"),
    ] {
        let answer = get(&version, &format!("/?url={asked}")).await.unwrap();
        assert_eq!(answer, (StatusCode::BAD_GATEWAY, "HttpRequestDenied\n".to_owned()));
        let text = format!("egress-denied: {told} is not an origin that `egress` names");
        let log = node.log("fetch");
        assert!(log.contains(&(GuestLogStream::Host, text.clone())), "{text}: {log:?}");
    }
}

#[tokio::test]
async fn localhost_as_an_entry_names_this_machine() {
    let node = Node::start();
    let (port, connections) = counting().await;
    let version = node.version("fetch", calling(&[&format!("http://localhost:{port}")]));
    let (_, answer) = get(&version, &format!("/?url=http%3A%2F%2Flocalhost%3A{port}%2F")).await.unwrap();
    // It is connected to, and hangs up.
    assert!(!answer.contains("Prohibited") && !answer.contains("Denied"), "{answer}");
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test]
async fn raw_sockets_reach_nothing() {
    let node = Node::start();
    let (port, connections) = counting().await;
    let datagrams = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = datagrams.local_addr().unwrap().port();
    // No configuration allows them.
    let version = node.version("fetch", calling(&["*", &format!("http://127.0.0.1:{port}")]));
    let answer = ok(&version, &format!("/?tcp=127.0.0.1:{port}&udp=127.0.0.1:{udp}&name=localhost")).await;
    let expected = "connect: access-denied\nlisten: access-denied\nsend: access-denied\nlook up: permanent-resolver-failure\n";
    assert_eq!(answer, expected);
    assert_eq!(connections.load(Relaxed), 0);
    assert!(datagrams.try_recv(&mut [0; 16]).is_err());
}

#[tokio::test]
async fn an_invocation_sends_no_more_than_it_may() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
                while !read.ends_with(b"0\r\n\r\n") && !read.starts_with(b"GET") {
                    match stream.read(&mut chunk).await {
                        Ok(bytes) if bytes > 0 => read.extend_from_slice(&chunk[..bytes]),
                        // The node ended a body that is too long.
                        _ => return,
                    }
                }
                let body = "x".repeat(600);
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    let node = Node::start();
    let config = |change: fn(&mut EgressLimits)| {
        let mut config = calling(&[&format!("http://{address}")]);
        change(&mut config.limits.egress);
        config
    };
    let url = format!("/?url=http%3A%2F%2F{address}%2F");
    let few = node.version("fetch", config(|limits| limits.requests = 2));
    let short = node.version("fetch", config(|limits| limits.bytes = 1024));
    for _ in 0..2 {
        // Every invocation has its own.
        let answer = ok(&few, &format!("{url}&times=4")).await;
        assert_eq!(answer, "600 bytes\n600 bytes\nConnectionLimitReached\nConnectionLimitReached\n");
        // Of a body that breaks off, `wasi:http` 0.2 tells no more than that.
        assert_eq!(ok(&short, &format!("{url}&times=2")).await, "600 bytes\nInternalError\n");
        let answer = ok(&short, &format!("{url}&times=2&bytes=1000")).await;
        assert_eq!(answer, "600 bytes\nHttpRequestBodySize\n");
    }
    let log = node.log("fetch");
    for text in [
        "more than 2 outgoing requests (`egress_requests`)",
        "more than 1024 bytes received (`egress_bytes`)",
        "more than 1024 bytes sent (`egress_bytes`)",
    ] {
        let times = log.iter().filter(|(_, line)| *line == format!("egress-denied: {text}")).count();
        assert_eq!(times, 2, "{text}: {log:?}");
    }
    peer.abort();
}

#[tokio::test]
async fn guests_do_not_see_fields_for_the_connection_of_a_client() {
    let node = Node::start();
    let version = node.version("cgi", FunctionConfig::default());
    compiled(&version).await;
    let request = Request::get("/")
        .header("host", "test")
        .header("connection", "x-hop, TE, close")
        .header("te", "trailers")
        .header("x-hop", "1")
        .header("x-end", "2")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = version.clone().invoke(invocation(request)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("HTTP_X_END=2"), "{body}");
    for name in ["HTTP_X_HOP", "HTTP_TE", "HTTP_CONNECTION"] {
        assert!(!body.contains(name), "{name} in {body}");
    }
}

#[tokio::test]
async fn guests_do_not_see_trailers_for_the_connection_of_a_client() {
    let node = Node::start();
    let version = node.version("echo", FunctionConfig::default());
    compiled(&version).await;
    let trailers: HeaderMap = [("x-hop", "1"), ("x-end", "2")]
        .into_iter()
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    let body = StreamBody::new(tokio_stream_iter([Ok::<_, Infallible>(
        http_body::Frame::<Bytes>::trailers(trailers),
    )]));
    let request = Request::post("/").header("host", "test").header("connection", "x-hop").body(body).unwrap();
    let response = version.clone().invoke(invocation(request)).await.unwrap();
    let echoed = response.into_body().collect().await.unwrap();
    let expected: HeaderMap =
        [("x-end".parse::<http::HeaderName>().unwrap(), "2".parse().unwrap())].into_iter().collect();
    assert_eq!(echoed.trailers(), Some(&expected));
}

#[tokio::test]
async fn guests_reach_a_server_of_an_authority_that_was_added() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let certificate = CertificateDer::from_pem_slice(LOCALHOST).unwrap();
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust it ends the handshake.
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    for (roots, expected) in [
        (TrustedRoots::public(), (StatusCode::BAD_GATEWAY, "TlsCertificateError\n".to_owned())),
        (TrustedRoots::with_pem(AUTHORITY).unwrap(), (StatusCode::OK, "fine".to_owned())),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let runtime = start_with(dir.path(), |options| options.egress.roots = roots);
        let node = Node { runtime, dir };
        let egress = vec![format!("https://localhost:{port}").parse().unwrap()];
        let version = node.version("fetch", FunctionConfig { egress, ..FunctionConfig::default() });
        let fetched = get(&version, &format!("/?url=https%3A%2F%2Flocalhost%3A{port}%2F")).await.unwrap();
        assert_eq!(fetched, expected);
    }
    server.abort();
}
