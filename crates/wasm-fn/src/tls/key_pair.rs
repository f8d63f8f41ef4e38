//! A certificate with its chain and its key, read from two files and checked.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::ParsedCertificate,
    sign::{CertifiedKey, SigningKey},
};

use super::{
    certificate::{Certificate, Validity},
    provider,
};

/// Largest file with certificates or a key, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Rights to a key's file that nobody may have: all of those who are neither its owner nor in its group, and
/// for the group to write.
const FORBIDDEN_MODE: u32 = 0o027;

/// Two files that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPairFiles {
    /// PEM: the certificate, followed by those of its issuers.
    pub(crate) cert: PathBuf,
    /// PEM: the private key of the first certificate.
    pub(crate) key: PathBuf,
}

/// What is in two files, checked.
#[derive(Debug)]
pub(crate) struct KeyPair {
    /// The key, and the chain in the order of issuers.
    pub(crate) certified: CertifiedKey,
    /// What the first certificate says.
    pub(crate) certificate: Certificate,
    /// What is wrong but does not prevent its use.
    pub(crate) warnings: Vec<Warning>,
}

/// What is wrong with a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// It is not valid any more.
    Expired { cert: PathBuf, title: String, at: SystemTime },
    /// It is not valid yet.
    NotYetValid { cert: PathBuf, title: String, from: SystemTime },
    /// The certificates in the file are not in the order in which they are sent.
    WrongOrder { cert: PathBuf, number: usize },
}

/// Why two files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyPairError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is far too large for what it should be.
    #[error("{}: found more than {FILE_BYTES_MAX} bytes, expected at most that", .0.display())]
    TooLarge(PathBuf),
    /// It is not PEM.
    #[error("{}: {reason}, expected PEM", path.display())]
    NotPem { path: PathBuf, reason: String },
    /// It is empty, or has something else.
    #[error("{}: found no certificate, expected PEM with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// The same for a key.
    #[error(
        "{}: found no private key that is not encrypted, expected PEM with -----BEGIN PRIVATE KEY-----",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A certificate is malformed.
    #[error("{}: certificate {number} cannot be read: {reason}", path.display())]
    InvalidCertificate { path: PathBuf, number: usize, reason: String },
    /// A key is malformed, or of an unknown kind.
    #[error("{}: the key cannot be used: {reason}", path.display())]
    InvalidKey { path: PathBuf, reason: String },
    /// The key belongs to another certificate.
    #[error("the key in {} is not that of a certificate in {}", key.display(), cert.display())]
    OtherKey { cert: PathBuf, key: PathBuf },
    /// Others can read the key.
    #[error("{} has mode {mode:04o}, expected 0600, or 0640 for a group: other users have access to the key", path.display())]
    Exposed { path: PathBuf, mode: u32 },
}

impl KeyPairFiles {
    /// Reads and checks both files. Blocks.
    ///
    /// # Errors
    /// Names the file, what was found, and what was expected.
    pub(crate) fn read(&self, now: SystemTime) -> Result<KeyPair, KeyPairError> {
        let chain = certificates(&self.cert)?;
        let key = key(&self.key)?;
        let facts = chain
            .iter()
            .enumerate()
            .map(|(index, der)| Certificate::read(der).map_err(|reason| self.invalid(index, reason)));
        let facts = facts.collect::<Result<Vec<_>, _>>()?;
        let first = self.own(&chain, &*key)?;
        let order = order(&facts, first);
        let mut warnings = Vec::new();
        if let Some(position) = (0..chain.len()).find(|&position| order.get(position) != Some(&position)) {
            warnings.push(Warning::WrongOrder { cert: self.cert.clone(), number: position + 1 });
        }
        let certificate = facts[first].clone();
        warnings.extend(self.judge(&certificate, now));
        let chain = order.iter().map(|&index| chain[index].clone()).collect();
        Ok(KeyPair { certified: CertifiedKey::new(chain, key), certificate, warnings })
    }

    fn invalid(&self, index: usize, reason: String) -> KeyPairError {
        KeyPairError::InvalidCertificate { path: self.cert.clone(), number: index + 1, reason }
    }

    /// The index of the certificate in `chain` whose key is `key`.
    fn own(&self, chain: &[CertificateDer<'static>], key: &dyn SigningKey) -> Result<usize, KeyPairError> {
        let ours = key.public_key();
        for (index, der) in chain.iter().enumerate() {
            let parsed =
                ParsedCertificate::try_from(der).map_err(|error| self.invalid(index, error.to_string()))?;
            if ours.as_ref() == Some(&parsed.subject_public_key_info()) {
                return Ok(index);
            }
        }
        Err(KeyPairError::OtherKey { cert: self.cert.clone(), key: self.key.clone() })
    }

    fn judge(&self, certificate: &Certificate, now: SystemTime) -> Option<Warning> {
        let (cert, title) = (self.cert.clone(), certificate.title().to_owned());
        match certificate.validity(now) {
            Validity::Valid(_) => None,
            Validity::Expired(_) => Some(Warning::Expired { cert, title, at: certificate.not_after }),
            Validity::NotYet(_) => Some(Warning::NotYetValid { cert, title, from: certificate.not_before }),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &SystemTime| humantime::format_rfc3339_seconds(*at);
        match self {
            Self::Expired { cert, title, at } => {
                let (cert, at) = (cert.display(), time(at));
                write!(f, "the certificate of {title} in {cert} expired at {at}: clients refuse it")
            }
            Self::NotYetValid { cert, title, from } => {
                let (cert, from) = (cert.display(), time(from));
                write!(f, "the certificate of {title} in {cert} is valid only from {from}: clients refuse it")
            }
            Self::WrongOrder { cert, number } => write!(
                f,
                "the chain in {} is in the wrong order or has more than the chain: certificate {number} is not \
                 the next one, expected the server's certificate and then the issuer of each one before it",
                cert.display()
            ),
        }
    }
}

/// The order in which the certificates are sent: the one at `first`, and then each one's issuer. A root is
/// its own issuer, and ends it. What does not belong to the chain is left out.
fn order(facts: &[Certificate], first: usize) -> Vec<usize> {
    let mut order = vec![first];
    while let Some(&last) = order.last() {
        let issuer = |index: &usize| !order.contains(index) && facts[last].is_issued_by(&facts[*index]);
        match (0..facts.len()).find(issuer) {
            Some(next) => order.push(next),
            None => break,
        }
    }
    order
}

/// The certificates in the PEM file at `path`, at least one. Blocks.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyPairError> {
    let text = read(open(path)?, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| not_pem(path, &error))?;
    if found.is_empty() { Err(KeyPairError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

/// The key in the PEM file at `path`, which only its owner may read. Blocks.
fn key(path: &Path) -> Result<Arc<dyn SigningKey>, KeyPairError> {
    provider()
        .key_provider
        .load_private_key(private_key(path)?)
        .map_err(|error| KeyPairError::InvalidKey { path: path.to_owned(), reason: error.to_string() })
}

/// The same, as it is in the file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, KeyPairError> {
    let file = open(path)?;
    let mode = file.metadata().map_err(|source| unreadable(path, source))?.permissions().mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(KeyPairError::Exposed { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&read(file, path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => KeyPairError::NoKey(path.to_owned()),
        error => not_pem(path, &error),
    })
}

fn open(path: &Path) -> Result<File, KeyPairError> {
    File::open(path).map_err(|source| unreadable(path, source))
}

fn read(file: File, path: &Path) -> Result<Vec<u8>, KeyPairError> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(KeyPairError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, source: io::Error) -> KeyPairError {
    KeyPairError::Unreadable { path: path.to_owned(), source }
}

fn not_pem(path: &Path, error: &pem::Error) -> KeyPairError {
    KeyPairError::NotPem { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
