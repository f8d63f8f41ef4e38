//! The metric of certificates: when they end.

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};

/// When a certificate of the node ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The listener that shows it: `listen` or `admin`, as the flags are called.
    pub listener: &'static str,
    /// Its first DNS name, else its subject.
    pub name: String,
    /// Its end, since the Unix epoch.
    pub at: Duration,
}

/// Knows the certificates that the node shows.
pub trait NodeCertificates: fmt::Debug + Send + Sync {
    /// When they end.
    fn expiries(&self) -> Vec<CertificateExpiry>;
}

/// The ends of certificates, as read at one moment.
#[derive(Debug)]
pub(super) struct Certificates(BTreeMap<(&'static str, String), Duration>);

impl Certificates {
    /// Of several certificates for one name, the one that ends first counts.
    pub(super) fn read(certificates: &dyn NodeCertificates) -> Self {
        let mut ends = BTreeMap::new();
        for CertificateExpiry { listener, name, at } in certificates.expiries() {
            let end = ends.entry((listener, name)).or_insert(at);
            *end = at.min(*end);
        }
        Self(ends)
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut ends = encoder.encode_descriptor(
            "wasm_fn_certificate_expiry_timestamp_seconds",
            "When a certificate ends, in seconds since the Unix epoch",
            None,
            MetricType::Gauge,
        )?;
        for ((listener, name), at) in &self.0 {
            let labels = [("listener", *listener), ("name", name.as_str())];
            ends.encode_family(&labels)?.encode_gauge(&at.as_secs_f64())?;
        }
        Ok(())
    }
}
