//! The TLS of a client: whom it trusts, and how it shows who it is.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};

use super::{
    key_pair::KeyPairFiles,
    listener::{self, TlsError},
    provider,
};

/// The files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// PEM: the authorities that may vouch for a node, instead of the public ones.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate, if it has one.
    pub(crate) certificate: Option<KeyPairFiles>,
}

/// Reads `files`. Blocks.
///
/// # Errors
/// A file cannot be used.
pub(crate) fn client_config(files: &ClientFiles, now: SystemTime) -> Result<ClientConfig, TlsError> {
    let roots = match &files.ca {
        Some(path) => listener::authorities(path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() },
    };
    config(roots, files.certificate.as_ref(), now)
}

/// A client that trusts the public authorities, and those in the PEM file at `ca`, and shows `certificate` if
/// it has one. Blocks.
///
/// # Errors
/// A file cannot be used.
pub(crate) fn public_or(
    ca: Option<&Path>,
    certificate: Option<&KeyPairFiles>,
    now: SystemTime,
) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    if let Some(path) = ca {
        roots.roots.extend(listener::authorities(path)?.roots);
    }
    config(roots, certificate, now)
}

fn config(
    roots: RootCertStore,
    certificate: Option<&KeyPairFiles>,
    now: SystemTime,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots);
    let Some(pair) = certificate else { return Ok(builder.with_no_client_auth()) };
    let certified = pair.read(now)?.certified;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

/// Trusts everybody: only for a look at who answers, where nothing secret is sent and nothing that is heard
/// is believed.
pub(crate) fn unverified() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth()
}

/// Takes every certificate for that of whoever shows it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
