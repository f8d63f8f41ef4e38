//! The TLS of a listener: its files, and the configuration that is made of them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    server::{ResolvesServerCert, WebPkiClientVerifier},
};

use super::{
    challenge::{Challenges, WithChallenges},
    expiry::Shown,
    key_pair::{self, KeyPair, KeyPairError, KeyPairFiles, Warning},
    provider,
    reload::{Stamp, stamp},
    sni::BySni,
};

/// The files of a listener with TLS.
#[derive(Clone, Debug)]
pub(crate) struct ListenerFiles {
    /// At least one. Which one a client gets depends on the name that it asks for; without a known name it is
    /// the first one.
    pub(crate) pairs: Vec<KeyPairFiles>,
    /// PEM: the authorities of clients' certificates. A client may still have none.
    pub(crate) client_ca: Option<PathBuf>,
    /// The protocols on offer, the preferred one first.
    pub(crate) protocols: &'static [&'static str],
    /// Challenges to answer, if there may be any.
    pub(crate) challenges: Option<Challenges>,
}

/// A listener's TLS, whose configuration may be replaced while it serves.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTls {
    pub(super) files: ListenerFiles,
    /// The files as they were before they were read first.
    pub(super) stamps: Vec<Stamp>,
    /// For new connections.
    pub(crate) config: Arc<ArcSwap<ServerConfig>>,
    /// The certificates that it has.
    pub(crate) shown: Arc<ArcSwap<Vec<Shown>>>,
}

/// What is made of a listener's files.
struct Loaded {
    config: ServerConfig,
    shown: Vec<Shown>,
    warnings: Vec<Warning>,
}

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A certificate or its key cannot be used.
    #[error(transparent)]
    KeyPair(#[from] KeyPairError),
    /// An authority cannot be used.
    #[error("{}: certificate {number} cannot be used as an authority: {reason}", path.display())]
    Authority {
        path: PathBuf,
        /// From 1.
        number: usize,
        reason: String,
    },
}

impl ListenerTls {
    /// Reads `files`. Blocks.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn load(files: ListenerFiles, now: SystemTime) -> Result<Self, TlsError> {
        let stamps = files.paths().map(stamp).collect();
        let Loaded { config, shown, warnings } = files.load(now)?;
        warn(&warnings);
        let config = Arc::new(ArcSwap::from_pointee(config));
        Ok(Self { files, stamps, config, shown: Arc::new(ArcSwap::from_pointee(shown)) })
    }

    /// Reads the files again, for new connections. Blocks.
    ///
    /// # Errors
    /// A file cannot be used. Nothing changed.
    pub(super) fn reload(&self, now: SystemTime) -> Result<(), TlsError> {
        let Loaded { config, shown, warnings } = self.files.load(now)?;
        warn(&warnings);
        self.config.store(Arc::new(config));
        self.shown.store(Arc::new(shown));
        Ok(())
    }
}

impl ListenerFiles {
    /// Every file.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        pairs.chain(&self.client_ca).map(PathBuf::as_path)
    }

    fn load(&self, now: SystemTime) -> Result<Loaded, TlsError> {
        let mut pairs = self.pairs.iter().map(|files| files.read(now)).collect::<Result<Vec<_>, _>>()?;
        let warnings = pairs.iter_mut().flat_map(|pair| std::mem::take(&mut pair.warnings)).collect();
        let shown = |(files, pair): (&KeyPairFiles, &KeyPair)| Shown {
            cert: files.cert.clone(),
            certificate: pair.certificate.clone(),
        };
        let shown = self.pairs.iter().zip(&pairs).map(shown).collect();
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has what TLS 1.2 and 1.3 need");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(authorities(path)?.into(), provider);
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(
                    verifier.expect("there is an authority, and no list of revoked"),
                )
            }
        };
        let others = BySni::new(pairs);
        let resolver: Arc<dyn ResolvesServerCert> = match self.challenges.clone() {
            Some(challenges) => Arc::new(WithChallenges { challenges, others }),
            None => Arc::new(others),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Loaded { config, shown, warnings })
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// The authorities in the PEM file at `path`, at least one. Blocks.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in key_pair::certificates(path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| TlsError::Authority {
            path: path.to_owned(),
            number: index + 1,
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}
