//! Gets certificates by ACME (RFC 8555), and renews them. Challenges are answered by the listener itself, in
//! the handshake (RFC 8737).
//!
//! What comes out is a file in the data directory, which is reloaded as every certificate is. Whatever goes
//! wrong, the certificate so far stays.

mod options;
mod order;
mod schedule;
mod storage;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::ClientConfig;

use crate::tls::{self, Challenges, ClientFiles, KeyPairFiles};
pub(crate) use options::AcmeOptions;
use storage::{Held, Storage};

/// The longest sleep. The system's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Keeps a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Acme {
    options: AcmeOptions,
    storage: Storage,
    challenges: Challenges,
    tls: Arc<ClientConfig>,
}

/// The file in `data_dir` with the certificate and its key.
pub(crate) fn files(data_dir: &Path) -> KeyPairFiles {
    Storage::of(data_dir).files()
}

impl Acme {
    /// Opens what is in `data_dir`. If no certificate was issued yet, there is one afterwards that vouches
    /// for itself, so that a listener can begin. Blocks.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn open(options: &AcmeOptions, data_dir: &Path) -> anyhow::Result<Self> {
        let now = tls::system_time();
        let storage = Storage::open(data_dir).context("files of ACME cannot be created")?;
        if !storage.has_issued(now) {
            storage
                .put_placeholder(&options.domains, now)
                .context("no certificate can be made to begin with")?;
        }
        let files = ClientFiles { ca: options.ca.clone(), certificate: None };
        let tls = tls::client_config(&files, now).context("authorities of the ACME server")?;
        Ok(Self { options: options.clone(), storage, challenges: Challenges::default(), tls: Arc::new(tls) })
    }

    /// The file with the certificate and its key.
    pub(crate) fn files(&self) -> KeyPairFiles {
        self.storage.files()
    }

    /// The challenges that the listener has to answer.
    pub(crate) fn challenges(&self) -> Challenges {
        self.challenges.clone()
    }

    /// Gets the certificate, and renews it, until it is dropped.
    pub(crate) async fn keep(self) {
        let mut failures = 0;
        loop {
            let due = self.due().await;
            if !due.is_zero() {
                tokio::time::sleep(due.min(SLEEP_MAX)).await;
                continue;
            }
            match order::obtain(&self).await {
                Ok(()) => {
                    failures = 0;
                    tracing::info!(domains = %self.options.domains.join(" "), "certificate was issued by ACME");
                }
                Err(error) => {
                    failures += 1;
                    let wait = schedule::retry_after(failures, rand::random());
                    tracing::warn!(
                        domains = %self.options.domains.join(" "),
                        retry_in = ?wait,
                        "certificate was not issued by ACME, the one so far stays: {error:#}"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// How long to wait before a certificate is to be got.
    async fn due(&self) -> Duration {
        let acme = self.clone();
        let held = tokio::task::spawn_blocking(move || {
            let now = tls::system_time();
            acme.storage.held(&acme.options.domains, now).map(|held| (held, now))
        });
        match held.await {
            Ok(Some((Held { not_before, not_after, draw }, now))) => {
                schedule::renew_at(not_before, not_after, draw).duration_since(now).unwrap_or_default()
            }
            _ => Duration::ZERO,
        }
    }
}
