//! Whom outgoing requests trust.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The certificate authorities that outgoing requests over TLS trust.
#[derive(Clone)]
pub struct TrustedRoots {
    config: Arc<ClientConfig>,
    /// Those that are trusted beside the public ones, in PEM.
    added: Option<Bytes>,
}

/// Why certificates are not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// There is none.
    #[error("found no certificate, expected PEM with -----BEGIN CERTIFICATE-----")]
    None,
    /// One cannot be used.
    #[error("certificate {number} cannot be used: {reason}")]
    Invalid {
        /// Its number in the file, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
}

impl TrustedRoots {
    /// The authorities that Mozilla trusts.
    pub fn public() -> Self {
        Self::new(public(), None)
    }

    /// The authorities that Mozilla trusts, and those whose certificates are in `pem`.
    ///
    /// # Errors
    /// There are no certificates in it, or one that cannot be used.
    pub fn with_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = public();
        let mut number = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number += 1;
            let invalid = |reason: String| RootsError::Invalid { number, reason };
            let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
            roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
        }
        if number == 0 {
            Err(RootsError::None)
        } else {
            Ok(Self::new(roots, Some(Bytes::copy_from_slice(pem))))
        }
    }

    fn new(roots: RootCertStore, added: Option<Bytes>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has what TLS 1.2 and 1.3 need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: Arc::new(config), added }
    }

    /// How to connect.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The certificates in PEM that are trusted beside the public ones, for clients that have these already.
    pub fn added(&self) -> Option<&Bytes> {
        self.added.as_ref()
    }
}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedRoots").finish_non_exhaustive()
    }
}

fn public() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() }
}
