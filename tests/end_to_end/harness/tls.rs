//! Certificates for one test, and clients that trust them.

use std::{io, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Folder, patiently};

/// An authority of its own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// What a certificate says if nothing else is asked for: it is for the DNS name or the address `name`.
pub(crate) fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("the name is one");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("there is no name");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("keys can be made");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("the authority signs itself"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("keys can be made");
        let cert = parameters.signed_by(&key, &self.0).expect("the authority signs").pem();
        Pair { cert, key: key.serialize_pem() }
    }

    /// A client that trusts only this authority, and offers `protocols`.
    pub(crate) fn client(&self, protocols: &[&str]) -> TlsConnector {
        trusting(self.0.der().clone(), protocols)
    }
}

/// A client that trusts only `authority`, and offers `protocols`.
pub(crate) fn trusting(authority: CertificateDer<'static>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("it is an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

impl Folder {
    /// Writes `pair` to `NAME.pem` and `NAME.key`, each in one step; the key is for its owner only.
    pub(crate) fn write_pair(&self, name: &str, pair: &Pair) -> [PathBuf; 2] {
        [(format!("{name}.pem"), &pair.cert), (format!("{name}.key"), &pair.key)].map(|(name, text)| {
            let new = self.write("new", text);
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&new, private).expect("the file is ours");
            let path = self.path().join(name);
            std::fs::rename(new, &path).expect("the folder is ours");
            path
        })
    }
}

/// A connection to `address`, where `name` is asked for.
pub(crate) async fn secured(
    client: &TlsConnector,
    address: SocketAddr,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = patiently("a connection", TcpStream::connect(address)).await?;
    let name = ServerName::try_from(name.to_owned()).expect("the name is one");
    patiently("a handshake", client.connect(name, stream)).await
}

/// The certificate that the server has shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let certificates = stream.get_ref().1.peer_certificates().expect("a server shows a certificate");
    certificates[0].clone().into_owned()
}
