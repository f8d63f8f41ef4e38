//! Facts about what may leave and what comes back, without a guest.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use http_body_util::{BodyExt, Empty};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use wasm_fn_core::{Limits, VersionNo};

use super::{
    policy::EgressOptions,
    trust::{RootsError, TrustedRoots},
    *,
};
use crate::guest_host::logs::LogRing;

mod reaching;

/// The certificate of an authority that nobody trusts by itself.
const AUTHORITY: &[u8] = include_bytes!("tests/authority.pem");

/// A certificate of that authority for `localhost` and 127.0.0.1, and its key.
const LOCALHOST: &[u8] = include_bytes!("tests/localhost.pem");

/// Checks that are asked to say `answer`, and how often they were.
fn effects(answer: bool) -> (EffectCheck, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let may_leave = move || {
        counted.fetch_add(1, Relaxed);
        answer
    };
    (EffectCheck::new(may_leave), asked)
}

fn served(request_id: u128) -> Served {
    Served { request_id, ..Served::NOTHING }
}

fn egress() -> Egress {
    allowing("http://allowed.test", TrustedRoots::public())
}

fn allowing(rule: &str, roots: TrustedRoots) -> Egress {
    Egress::new(policy(&[rule], &Limits::default(), EgressOptions { roots, ..EgressOptions::public() }))
}

fn policy(rules: &[&str], limits: &Limits, node: EgressOptions) -> Arc<EgressPolicy> {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let log = Arc::new(LogRing::new(tokio::sync::watch::channel(0).0, None));
    Arc::new(EgressPolicy::new(rules, limits, Arc::new(node), VersionNo::FIRST, log))
}

/// A policy by which every function may reach this machine.
fn local() -> EgressOptions {
    let private = ["127.0.0.0/8", "::1"].map(|network| network.parse().unwrap()).to_vec();
    EgressOptions { private, ..EgressOptions::public() }
}

fn request(uri: &str) -> http::Request<WasiBody> {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    http::Request::get(uri).header("host", "test").body(body).unwrap()
}

/// Hands over a request to `host`, and polls it only when it shall be denied: nothing leaves.
fn is_denied(egress: &mut Egress, host: &str, poll: bool) -> bool {
    let sent = egress.send_request(request(&format!("http://{host}/")), None, Box::new(async { Ok(()) }));
    let mut cx = Context::from_waker(Waker::noop());
    poll && matches!(Box::into_pin(sent).as_mut().poll(&mut cx), Poll::Ready(Err(Error::HttpRequestDenied)))
}

#[test]
fn effects_are_asked_before_an_allowed_request_is_sent() {
    let (effects, asked) = effects(true);
    let mut egress = egress();
    egress.serve(served(1), Some(effects));
    assert_eq!(asked.load(Relaxed), 0);
    is_denied(&mut egress, "allowed.test", false);
    assert_eq!(asked.load(Relaxed), 1, "nobody has polled the request");
}

#[test]
fn denied_requests_have_no_effect() {
    let (effects, asked) = effects(true);
    let mut egress = egress();
    egress.serve(served(1), Some(effects));
    assert!(is_denied(&mut egress, "other.test", true));
    assert_eq!(asked.load(Relaxed), 0);
}

#[test]
fn requests_that_may_not_leave_any_more_are_denied() {
    let (effects, asked) = effects(false);
    let mut egress = egress();
    egress.serve(served(1), Some(effects));
    assert!(is_denied(&mut egress, "allowed.test", true));
    assert_eq!(asked.load(Relaxed), 1);
}

#[test]
fn a_reused_instance_that_sent_something_may_still_be_sending() {
    let mut egress = egress();
    let (first, second) = (effects(true), effects(true));
    egress.serve(served(1), Some(first.0));
    egress.serve(served(2), Some(second.0.clone()));
    assert_eq!(second.1.load(Relaxed), 0, "nothing was sent");
    is_denied(&mut egress, "allowed.test", false);
    assert_eq!((first.1.load(Relaxed), second.1.load(Relaxed)), (0, 1));
    let (third, asked) = effects(true);
    egress.serve(served(3), Some(third));
    assert_eq!(asked.load(Relaxed), 1);
}

/// Sends `request` to anywhere, trusting `roots`.
async fn send(
    request: http::Request<WasiBody>,
    roots: TrustedRoots,
) -> Result<http::Response<WasiBody>, Error> {
    let policy = policy(&["*"], &Limits::default(), EgressOptions { roots, ..local() });
    let sent = Egress::new(policy).send_request(request, None, Box::new(async { Ok(()) }));
    let (response, io) = Box::into_pin(sent).await?;
    tokio::spawn(Box::into_pin(io));
    Ok(response)
}

/// Accepts a connection and answers its first request with `answer`. Returns the request.
async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, answer: &'static str) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    match tls {
        None => exchange(stream, answer).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => exchange(stream, answer).await,
            Err(error) => error.to_string(),
        },
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(head).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn only_an_origin_of_http_is_a_target() {
    for (authority, expected) in [
        ("test", Some(("test", 80))),
        ("TEST:", Some(("TEST", 80))),
        ("test:8080", Some(("test", 8080))),
        ("127.0.0.1:65535", Some(("127.0.0.1", 65535))),
        ("[::1]", Some(("::1", 80))),
        ("[::1]:8080", Some(("::1", 8080))),
        ("test:0", None),
        ("test:65536", None),
        ("test:99999999999", None),
        ("me@test", None),
        ("me:secret@test:80", None),
        ("[::g]", None),
        (":80", None),
    ] {
        let Ok(uri) = format!("http://{authority}/x").parse::<http::Uri>() else {
            assert_eq!(expected, None, "{authority}");
            continue;
        };
        match Target::of(&uri) {
            Ok(target) => assert_eq!(expected, Some((target.host(), target.port)), "{authority}"),
            Err(error) => {
                assert!(matches!(error, Error::HttpRequestUriInvalid), "{authority}: {error}");
                assert_eq!(expected, None, "{authority}");
            }
        }
    }
}

#[test]
fn an_invalid_port_is_not_the_default_port() {
    let (effects, asked) = effects(true);
    let mut egress = allowing("http://allowed.test", TrustedRoots::public());
    egress.serve(served(1), Some(effects));
    for uri in ["http://allowed.test:99999/", "http://me@allowed.test/"] {
        let sent = egress.send_request(request(uri), None, Box::new(async { Ok(()) }));
        let sent = Box::into_pin(sent).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(sent, Poll::Ready(Err(Error::HttpRequestUriInvalid))), "{uri}");
    }
    assert_eq!(asked.load(Relaxed), 0);
}

#[tokio::test]
async fn fields_for_one_connection_do_not_go_on() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Hop , close\r\nX-Hop: 1\r\nX-End: 2\r\n\
        Transfer-Encoding: chunked\r\nTrailer: x-hop, x-end\r\n\r\n\
        2\r\nok\r\n0\r\nX-Hop: 3\r\nX-End: 4\r\n\r\n";
    let (listener, address) = listen().await;
    let served = tokio::spawn(serve(listener, None, answer));
    let mut request = request(&format!("http://{address}/path?query"));
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("x-end", "1".parse().unwrap());
    let response = send(request, TrustedRoots::public()).await.unwrap();
    let sent = served.await.unwrap();
    assert!(sent.starts_with("GET /path?query HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("\r\nx-end: 1\r\n") && !sent.contains("te: trailers"), "{sent}");
    let fields = response.headers();
    assert_eq!((fields.get("x-hop"), fields.get("connection")), (None, None));
    assert_eq!(fields["x-end"], "2");
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap();
    assert_eq!((trailers.get("x-hop"), &trailers["x-end"]), (None, &"4".parse().unwrap()));
    assert_eq!(body.to_bytes(), "ok");
}

#[tokio::test]
async fn bodies_go_on_whatever_the_method() {
    for method in [http::Method::GET, http::Method::DELETE, http::Method::POST] {
        let (listener, address) = listen().await;
        // It reads until the body's end, or until nothing comes any more.
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut chunk) = (Vec::new(), [0; 1024]);
            while !read.ends_with(b"0\r\n\r\n") && !read.ends_with(b"content-length: 0\r\n\r\n") {
                let bytes = stream.read(&mut chunk).await.unwrap();
                assert_ne!(bytes, 0, "{:?}", String::from_utf8_lossy(&read));
                read.extend_from_slice(&chunk[..bytes]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(read).unwrap()
        });
        let frames = [Ok::<_, Error>(http_body::Frame::data(bytes::Bytes::from_static(b"some text")))];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let request = http::Request::builder().method(&method).uri(format!("http://{address}/"));
        let request = request.header("host", "test").body(body).unwrap();
        send(request, TrustedRoots::public()).await.unwrap();
        let sent = peer.await.unwrap();
        assert!(sent.contains("transfer-encoding: chunked\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n9\r\nsome text\r\n0\r\n\r\n"), "{sent}");
    }
    let (listener, address) = listen().await;
    let peer = tokio::spawn(serve(listener, None, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    send(request(&format!("http://{address}/")), TrustedRoots::public()).await.unwrap();
    let sent = peer.await.unwrap();
    assert!(!sent.contains("transfer-encoding") && !sent.contains("content-length"), "{sent}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_as_one() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret";
    let mut certificates = CertificateDer::pem_slice_iter(LOCALHOST);
    let certificate = certificates.next().unwrap().unwrap();
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let added = TrustedRoots::with_pem(AUTHORITY).unwrap();
    for (host, roots, is_trusted) in [
        ("localhost", &TrustedRoots::public(), false),
        ("localhost", &added, true),
        ("127.0.0.1", &added, true),
        // The certificate is for another address.
        ("127.0.0.2", &added, false),
    ] {
        let address = if host == "localhost" { "127.0.0.1" } else { host };
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(serve(listener, Some(tls.clone()), answer));
        let response = send(request(&format!("https://{host}:{port}/")), roots.clone()).await;
        if is_trusted {
            let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "secret", "{host}");
        } else {
            let error = response.map(drop).unwrap_err();
            assert!(matches!(error, Error::TlsCertificateError), "{host}: {error}");
        }
        served.await.unwrap();
    }
}

#[tokio::test]
async fn what_fails_is_told_by_its_name() {
    // Nobody listens.
    let (listener, address) = listen().await;
    drop(listener);
    let error =
        send(request(&format!("http://{address}/")), TrustedRoots::public()).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::ConnectionRefused), "{error}");
    // No server of TLS.
    let (listener, address) = listen().await;
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let error =
        send(request(&format!("https://{address}/")), TrustedRoots::public()).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::TlsProtocolError), "{error}");
    plain.await.unwrap();
    // No answer, none of HTTP, and one that breaks off.
    for (answer, expected) in [
        ("", "HttpResponseIncomplete"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "HttpProtocolError"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "HttpResponseIncomplete"),
    ] {
        let (listener, address) = listen().await;
        let served = tokio::spawn(serve(listener, None, answer));
        let response = send(request(&format!("http://{address}/")), TrustedRoots::public()).await;
        let error = match response {
            Ok(response) => response.into_body().collect().await.map(drop).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(format!("{error:?}"), expected, "{answer}");
        served.await.unwrap();
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    assert_eq!(TrustedRoots::with_pem(b"no certificate").unwrap_err(), RootsError::None);
    let two = [AUTHORITY, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
    let error = TrustedRoots::with_pem(&two).unwrap_err();
    assert!(matches!(error, RootsError::Invalid { number: 2, .. }), "{error}");
}
