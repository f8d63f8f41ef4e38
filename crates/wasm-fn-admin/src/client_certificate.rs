//! Who a client is by its certificate.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{self, Decode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// Longest identity, bytes; the longest SPIFFE ID.
const BYTES_MAX: usize = 2048;

/// Start of a SPIFFE ID.
const SPIFFE: &str = "spiffe://";

/// Who a client is, by a certificate that one of the trusted authorities has issued.
///
/// Requests on a connection with such a certificate carry it as an extension. It says who somebody is, not
/// what they may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientIdentity {
    /// A SPIFFE ID: the only URI among the certificate's subject alternative names that begins with
    /// `spiffe://`.
    Spiffe(String),
    /// The first DNS name among them, in lower case.
    Dns(String),
    /// The subject's common name, in a certificate without such names.
    CommonName(String),
}

impl ClientIdentity {
    /// Reads the identity in `certificate`, which must have been verified. `None` if it has none, has more
    /// than one SPIFFE ID (SPIFFE X.509-SVID, section 2), or one that is empty, too long or not printable.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let identity = read(certificate).ok().flatten()?;
        let text = identity.as_str();
        let printable = !text.is_empty() && text.len() <= BYTES_MAX && !text.chars().any(char::is_control);
        printable.then_some(identity)
    }

    /// The identity without its kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Spiffe(text) | Self::Dns(text) | Self::CommonName(text) => text,
        }
    }
}

impl fmt::Display for ClientIdentity {
    /// `spiffe://example.com/ci`, `dns:ci.example.com` or `cn:ci`: kinds cannot be mistaken for each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => f.write_str(id),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
        }
    }
}

fn read(der: &CertificateDer<'_>) -> der::Result<Option<ClientIdentity>> {
    let certificate = Certificate::from_der(der)?;
    let body = certificate.tbs_certificate();
    let names = body.get_extension::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default();
    let mut ids = names.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => {
            Some(uri.as_str()).filter(|uri| uri.starts_with(SPIFFE))
        }
        _ => None,
    });
    match (ids.next(), ids.next()) {
        (Some(_), Some(_)) => return Ok(None),
        (Some(id), None) => return Ok(Some(ClientIdentity::Spiffe(id.to_owned()))),
        (None, _) => {}
    }
    let dns_name = names.iter().find_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    if let Some(name) = dns_name {
        return Ok(Some(ClientIdentity::Dns(name)));
    }
    let name = body.subject().common_name()?;
    Ok(name.map(|name| ClientIdentity::CommonName(name.value().into_owned())))
}

#[cfg(test)]
mod tests;
