//! The API over TLS, and clients with certificates.

use std::{io, time::Duration};

use arc_swap::ArcSwap;
use axum::{Extension, Router, routing::get};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;
type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn issue(name: &str, by: &Authority) -> Pair {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, by).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// An API that answers with who the client is, and whom its clients trust.
struct Secure {
    address: SocketAddr,
    server: Authority,
    people: Authority,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Secure {
    async fn start() -> Self {
        let (server, people) = (authority(), authority());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&people).into(), provider());
        let (certificate, key) = issue("node.test", &server);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let Api { admin, .. } = Api::start().await;
        let who = |identity: Option<Extension<ClientIdentity>>| async move {
            identity.map_or("nobody".to_owned(), |Extension(identity)| identity.to_string())
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let tls = Some(Arc::new(ArcSwap::from_pointee(config)));
        let served = tokio::spawn(async move {
            let router = Router::new().route("/who", get(who));
            admin.serve_router(router, listener, tls, async { drop(asked.await) }).await;
        });
        Self { address, server, people, shutdown, served }
    }

    async fn connect(&self, pair: Option<Pair>) -> io::Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&self.server));
        let config = match pair {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("node.test").unwrap(), stream).await
    }

    /// What a client with `pair` is told of itself, in two requests.
    async fn told(&self, pair: Option<Pair>) -> Result<String, Box<dyn std::error::Error>> {
        let io = TokioIo::new(self.connect(pair).await?);
        let (mut client, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        let mut told = Vec::new();
        for _ in 0..2 {
            let request = Request::get("/who").header(header::HOST, "node.test");
            let response = client.send_request(request.body(Full::<Bytes>::default())?).await?;
            let body = response.into_body().collect().await?.to_bytes();
            told.push(String::from_utf8(body.to_vec())?);
        }
        assert_eq!(told[0], told[1]);
        Ok(told.remove(0))
    }
}

#[tokio::test]
async fn requests_carry_who_the_client_is_by_its_certificate() {
    let api = Secure::start().await;
    assert_eq!(api.told(None).await.unwrap(), "nobody");
    assert_eq!(api.told(Some(issue("ci.test", &api.people))).await.unwrap(), "dns:ci.test");
    // A certificate of somebody else is none: the connection ends.
    api.told(Some(issue("ci.test", &authority()))).await.unwrap_err();
    assert_eq!(api.told(None).await.unwrap(), "nobody");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_cut() {
    let api = Secure::start().await;
    let mut silent = TcpStream::connect(api.address).await.unwrap();
    let mut read = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut read)).await;
    ended.expect("the node ends it").unwrap();
    assert!(read.is_empty());
}

#[tokio::test]
async fn a_handshake_does_not_hold_up_a_shutdown() {
    let api = Secure::start().await;
    let _silent = TcpStream::connect(api.address).await.unwrap();
    // It was accepted after the silent one.
    let idle = api.connect(None).await.unwrap();
    api.shutdown.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), api.served).await.expect("it ends at once").unwrap();
    drop(idle);
}
