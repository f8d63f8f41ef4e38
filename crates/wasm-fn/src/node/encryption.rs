//! The TLS of a node's listeners.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use wasm_fn_admin::{CertificateExpiry, NodeCertificates};

use super::options::NodeOptions;
use crate::{
    acme::Acme,
    tls::{CHALLENGE_PROTOCOL, ListenerFiles, ListenerTls, Shown},
};

/// The protocols of the data plane.
const DATA_PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// The same, with challenges of ACME.
const CHALLENGED_PROTOCOLS: &[&str] = &["h2", "http/1.1", CHALLENGE_PROTOCOL];

/// The protocols of the admin API.
const ADMIN_PROTOCOLS: &[&str] = &["http/1.1"];

/// How a node's listeners are secured; `None` where it is plain HTTP.
pub(super) struct Encryption {
    /// The listener that serves functions.
    pub(super) http: Option<ListenerTls>,
    /// The listener that serves the admin API.
    pub(super) admin: Option<ListenerTls>,
    /// What gets a certificate of the first, if it is to be got.
    pub(super) acme: Option<Acme>,
}

/// The certificates of listeners, by the listener's flag.
#[derive(Debug)]
struct ShownCertificates(Vec<(&'static str, Arc<ArcSwap<Vec<Shown>>>)>);

impl NodeCertificates for ShownCertificates {
    fn expiries(&self) -> Vec<CertificateExpiry> {
        let mut expiries = Vec::new();
        for (listener, shown) in &self.0 {
            expiries.extend(shown.load().iter().map(|Shown { certificate, .. }| CertificateExpiry {
                listener,
                name: certificate.title().to_owned(),
                at: certificate.not_after.duration_since(UNIX_EPOCH).unwrap_or_default(),
            }));
        }
        expiries
    }
}

impl Encryption {
    /// Reads the files that `options` name. Blocks.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn load(options: &NodeOptions, now: SystemTime) -> anyhow::Result<Self> {
        let acme = options.acme.as_ref().map(|acme| Acme::open(acme, &options.data_dir)).transpose()?;
        let [http, admin] = files(options, acme.as_ref());
        let load = |files: Option<ListenerFiles>, flag: &str| {
            let loaded = files.map(|files| ListenerTls::load(files, now)).transpose();
            loaded.with_context(|| format!("TLS of {flag}"))
        };
        Ok(Self { http: load(http, "--listen")?, admin: load(admin, "--admin")?, acme })
    }

    /// What the admin API tells of their certificates.
    pub(super) fn certificates(&self) -> Arc<dyn NodeCertificates> {
        let listeners = [("listen", &self.http), ("admin", &self.admin)];
        let shown = listeners.into_iter().filter_map(|(name, tls)| Some((name, tls.as_ref()?.shown.clone())));
        Arc::new(ShownCertificates(shown.collect()))
    }

    /// Every listener with TLS.
    pub(super) fn all(&self) -> Vec<ListenerTls> {
        [&self.http, &self.admin].into_iter().flatten().cloned().collect()
    }
}

/// The files for the data plane and for the admin API.
fn files(options: &NodeOptions, acme: Option<&Acme>) -> [Option<ListenerFiles>; 2] {
    let pairs: Vec<_> = options.tls.iter().cloned().chain(acme.map(Acme::files)).collect();
    let http = (!pairs.is_empty()).then(|| ListenerFiles {
        pairs,
        client_ca: None,
        protocols: if acme.is_some() { CHALLENGED_PROTOCOLS } else { DATA_PROTOCOLS },
        challenges: acme.map(Acme::challenges),
    });
    let admin = options.admin_tls.clone().map(|pair| ListenerFiles {
        pairs: vec![pair],
        client_ca: options.admin_client_ca.clone(),
        protocols: ADMIN_PROTOCOLS,
        challenges: None,
    });
    [http, admin]
}
