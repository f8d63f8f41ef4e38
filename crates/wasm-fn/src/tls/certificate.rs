//! What a certificate says. Pure.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_cert::{
    der::{Decode as _, Encode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// What is read of a certificate (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its DNS names in lower case; perhaps `*.` before one.
    pub(crate) dns_names: Vec<String>,
    /// Its subject, for people.
    pub(crate) subject: String,
    /// Its issuer, for people.
    pub(crate) issuer: String,
    /// When it begins to be valid.
    pub(crate) not_before: SystemTime,
    /// When it ends to be valid.
    pub(crate) not_after: SystemTime,
    subject_der: Vec<u8>,
    issuer_der: Vec<u8>,
}

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Not before this time has passed.
    NotYet(Duration),
    /// For this time.
    Valid(Duration),
    /// Not since this time.
    Expired(Duration),
}

impl Certificate {
    /// Reads `der`.
    ///
    /// # Errors
    /// It is not a certificate; the text says why.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let read = || -> x509_cert::der::Result<Self> {
            let certificate = x509_cert::Certificate::from_der(der)?;
            let body = certificate.tbs_certificate();
            let names = body.get_extension::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default();
            let dns_name = |name: GeneralName| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                _ => None,
            };
            Ok(Self {
                dns_names: names.into_iter().filter_map(dns_name).collect(),
                subject: body.subject().to_string(),
                issuer: body.issuer().to_string(),
                not_before: body.validity().not_before.to_system_time(),
                not_after: body.validity().not_after.to_system_time(),
                subject_der: body.subject().to_der()?,
                issuer_der: body.issuer().to_der()?,
            })
        };
        read().map_err(|error| error.to_string())
    }

    /// Whether its issuer has the name of `other`.
    pub(crate) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer_der == other.subject_der
    }

    /// Whether it is valid at `now`.
    pub(crate) fn validity(&self, now: SystemTime) -> Validity {
        if let Ok(left) = self.not_before.duration_since(now)
            && !left.is_zero()
        {
            return Validity::NotYet(left);
        }
        match self.not_after.duration_since(now) {
            Ok(left) => Validity::Valid(left),
            Err(past) => Validity::Expired(past.duration()),
        }
    }

    /// A certificate of `name` with this validity.
    #[cfg(test)]
    pub(super) fn named(name: &str, not_before: SystemTime, not_after: SystemTime) -> Self {
        Self {
            dns_names: vec![name.to_owned()],
            subject: format!("CN={name}"),
            issuer: String::new(),
            not_before,
            not_after,
            subject_der: Vec::new(),
            issuer_der: Vec::new(),
        }
    }

    /// What it is called: its first name, else its subject.
    pub(crate) fn title(&self) -> &str {
        self.dns_names.first().unwrap_or(&self.subject)
    }
}
