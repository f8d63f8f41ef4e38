//! The certificate of the servers that are asked over TLS: both have the same, with a key of the kind that
//! most have today (ECDSA on P-256).

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

/// What the limit offers. `wasm-fn` prefers `h2`; no client here offers anything, so nothing is negotiated.
const PROTOCOL: &[u8] = b"http/1.1";

/// A certificate for the loopback address, and its key, in files.
pub(crate) struct Certificate {
    /// Holds the files.
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one.
    pub(crate) fn new() -> Result<Self> {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.context("no certificate can be made")?;
        let folder = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let certificate = Self { folder, client: Arc::new(client) };
        fs::write(certificate.path(), cert.pem()).context("the certificate cannot be written")?;
        // A key that others can read is refused.
        let mut key = OpenOptions::new().write(true).create_new(true).mode(0o600).open(certificate.key())?;
        key.write_all(signing_key.serialize_pem().as_bytes()).context("the key cannot be written")?;
        Ok(certificate)
    }

    /// The file of the certificate.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The file of its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("cert.key")
    }

    /// The flags by which a server is told of both.
    pub(crate) fn flags(&self) -> [String; 4] {
        let shown = |path: PathBuf| path.display().to_string();
        ["--tls-cert".to_owned(), shown(self.path()), "--tls-key".to_owned(), shown(self.key())]
    }

    /// A client that trusts the certificate and nothing else, over `stream` to `address`.
    pub(crate) fn client(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let session = ClientConnection::new(Arc::clone(&self.client), address.ip().into())?;
        Ok(StreamOwned::new(session, stream))
    }
}

/// What the limit serves with: the certificate and key in these files, everything else as rustls has it.
pub(crate) fn server(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let cert = CertificateDer::from_pem_file(cert).context("the certificate cannot be read")?;
    let key = PrivateKeyDer::from_pem_file(key).context("the key cannot be read")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// The cryptography of `wasm-fn`.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
