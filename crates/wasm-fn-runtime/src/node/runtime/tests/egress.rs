//! Outgoing requests of guests, and what they could pass on.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::*;

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
    let egress = vec!["*".parse().unwrap()];
    let version = node.version("fetch", FunctionConfig { egress, ..FunctionConfig::default() });
    for authority in ["localhost%3A99999", "localhost%3A0", "me%40localhost", "me%3Asecret%40localhost%3A80"]
    {
        let (status, body) = get(&version, &format!("/?url=http%3A%2F%2F{authority}%2F")).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::BAD_GATEWAY, "HttpRequestUriInvalid\n"), "{authority}");
    }
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
        let runtime = start_with(dir.path(), |options| options.trusted_roots = roots);
        let node = Node { runtime, dir };
        let egress = vec![format!("https://localhost:{port}").parse().unwrap()];
        let version = node.version("fetch", FunctionConfig { egress, ..FunctionConfig::default() });
        let fetched = get(&version, &format!("/?url=https%3A%2F%2Flocalhost%3A{port}%2F")).await.unwrap();
        assert_eq!(fetched, expected);
    }
    server.abort();
}
