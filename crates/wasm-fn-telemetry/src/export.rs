//! Sends batches to the collector.

use std::{sync::Arc, time::Duration};

use opentelemetry::{InstrumentationScope, logs::LoggerProvider as _};
use opentelemetry_otlp::{
    LogExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter as _, SdkLogger, SdkLoggerProvider},
    trace::SpanExporter as _,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, timeout};
use wasm_fn_core::FinishedRequest;

use crate::{
    clock::Anchor,
    queue::{Batch, Batches, Item},
    records::{self, LogLine},
    settings::{OtlpProtocol, SignalSettings},
    spans,
    telemetry::StartError,
};

/// The scope of the node's spans.
const SCOPE: &str = "wasm-fn";

/// How often to complain about a collector.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Whom to trust that a server is the collector.
pub(crate) struct Trust {
    /// The authorities beside the public ones.
    pem: Option<Vec<u8>>,
    http: ClientConfig,
}

impl Trust {
    /// The public authorities, and those in `pem`.
    pub(crate) fn new(pem: Option<Vec<u8>>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        if let Some(pem) = &pem {
            let mut found = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
                found += 1;
            }
            if found == 0 {
                return Err("found no certificate, expected PEM with -----BEGIN CERTIFICATE-----".to_owned());
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let http = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { pem, http })
    }

    fn grpc(&self) -> ClientTlsConfig {
        let tls = ClientTlsConfig::new().trust_anchors(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        match &self.pem {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls,
        }
    }

    fn client(&self, timeout: Duration) -> Result<reqwest::Client, StartError> {
        let client = reqwest::Client::builder().tls_backend_preconfigured(self.http.clone()).timeout(timeout);
        client
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| StartError(error.to_string()))
    }
}

/// Sends spans.
pub(crate) struct Spans(pub(crate) SpanExporter);

/// Sends log records.
pub(crate) struct Logs {
    exporter: LogExporter,
    logger: SdkLogger,
}

/// Sends batches of `T`.
pub(crate) trait Export<T> {
    /// Sends `items`.
    async fn export(&self, items: Vec<T>) -> OTelSdkResult;
}

impl Spans {
    /// An exporter by `settings` and the usual variables.
    pub(crate) fn new(
        settings: SignalSettings,
        trust: &Trust,
        resource: &Resource,
    ) -> Result<Self, StartError> {
        let timeout = settings.timeout;
        let built = match settings.protocol {
            OtlpProtocol::Grpc => {
                let builder = SpanExporter::builder().with_tonic().with_tls_config(trust.grpc());
                builder.with_timeout(timeout).build()
            }
            OtlpProtocol::Http => {
                let builder = SpanExporter::builder().with_http().with_http_client(trust.client(timeout)?);
                builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary).with_timeout(timeout).build()
            }
        };
        let mut exporter = built.map_err(|error| StartError(error.to_string()))?;
        exporter.set_resource(resource);
        Ok(Self(exporter))
    }
}

impl Logs {
    /// An exporter by `settings` and the usual variables.
    pub(crate) fn new(
        settings: SignalSettings,
        trust: &Trust,
        resource: &Resource,
    ) -> Result<Self, StartError> {
        let timeout = settings.timeout;
        let built = match settings.protocol {
            OtlpProtocol::Grpc => {
                let builder = LogExporter::builder().with_tonic().with_tls_config(trust.grpc());
                builder.with_timeout(timeout).build()
            }
            OtlpProtocol::Http => {
                let builder = LogExporter::builder().with_http().with_http_client(trust.client(timeout)?);
                builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary).with_timeout(timeout).build()
            }
        };
        let mut exporter = built.map_err(|error| StartError(error.to_string()))?;
        exporter.set_resource(resource);
        // It only makes records.
        let logger = SdkLoggerProvider::builder().build().logger(SCOPE);
        Ok(Self { exporter, logger })
    }
}

impl Export<Arc<FinishedRequest>> for Spans {
    async fn export(&self, items: Vec<Arc<FinishedRequest>>) -> OTelSdkResult {
        let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
        let anchor = Anchor::now();
        let spans = items.iter().flat_map(|request| spans::spans(request, &scope, anchor)).collect();
        self.0.export(spans).await
    }
}

impl Export<LogLine> for Logs {
    async fn export(&self, items: Vec<LogLine>) -> OTelSdkResult {
        let records: Vec<_> = items.into_iter().map(|line| records::record(line, &self.logger)).collect();
        let records: Vec<_> = records.iter().map(|(record, scope)| (record, scope)).collect();
        self.exporter.export(LogBatch::new(&records)).await
    }
}

/// Sends all batches with `exporter`, of which each may take as long as `patience`. A batch that cannot be
/// sent is lost.
pub(crate) async fn send_all<T: Item>(
    mut batches: Batches<T>,
    exporter: impl Export<T>,
    patience: Duration,
    signal: &'static str,
) {
    let (mut complained, mut lost): (Option<Instant>, usize) = (None, 0);
    while let Some(Batch { items, count }) = batches.next().await {
        let failure = match timeout(patience, exporter.export(items)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it took longer than {patience:?}")),
        };
        batches.note(count, failure.is_none());
        let Some(failure) = failure else { continue };
        lost += count;
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            complained = Some(Instant::now());
            tracing::warn!(signal, lost, error = failure, "telemetry cannot be sent");
            lost = 0;
        }
    }
}
