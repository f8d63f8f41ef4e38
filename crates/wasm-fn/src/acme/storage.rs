//! The files of ACME in the data directory: accounts, and the certificate with its key.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest as _, Sha256};

use crate::tls::KeyPairFiles;

/// The folder in the data directory.
const FOLDER: &str = "acme";

/// The certificate, its chain and its key: one file, which is replaced in one step.
const CERTIFICATE: &str = "certificate.pem";

/// How long a certificate is valid that is there until the first one is issued.
const PLACEHOLDER_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Storage(PathBuf);

/// The certificate that was issued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// A number from 0 to 1 that is its own.
    pub(super) draw: f64,
}

impl Storage {
    /// The files in `data_dir`.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(FOLDER))
    }

    /// Creates the folder, for its owner only, if it does not exist.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let storage = Self::of(data_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(&storage.0)?;
        Ok(storage)
    }

    /// The certificate and its key.
    pub(super) fn files(&self) -> KeyPairFiles {
        let path = self.0.join(CERTIFICATE);
        KeyPairFiles { cert: path.clone(), key: path }
    }

    /// Whether there is a certificate that was issued, for whichever names and however long ago.
    pub(super) fn has_issued(&self, now: SystemTime) -> bool {
        self.files().read(now).is_ok_and(|pair| !pair.certificate.is_issued_by(&pair.certificate))
    }

    /// The certificate, if one was issued for all `domains` and for nothing else.
    pub(super) fn held(&self, domains: &[String], now: SystemTime) -> Option<Held> {
        let pair = self.files().read(now).ok()?;
        let certificate = pair.certificate;
        let (mut found, mut wanted) = (certificate.dns_names.clone(), domains.to_vec());
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted || certificate.is_issued_by(&certificate) {
            return None;
        }
        // The same after a restart: otherwise each would draw again.
        let hash = Sha256::digest(pair.certified.cert.first()?);
        let draw = f64::from(hash[0]) / 255.0;
        Some(Held { not_before: certificate.not_before, not_after: certificate.not_after, draw })
    }

    /// Keeps a certificate that vouches for itself, until one is issued.
    pub(super) fn put_placeholder(&self, domains: &[String], now: SystemTime) -> anyhow::Result<()> {
        let mut parameters = CertificateParams::new(domains.to_vec())?;
        parameters.distinguished_name.push(DnType::CommonName, "not issued yet");
        (parameters.not_before, parameters.not_after) = (now.into(), (now + PLACEHOLDER_LIFE).into());
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(self.put(CERTIFICATE, &format!("{certificate}{}", key.serialize_pem()))?)
    }

    /// Keeps the `chain` that was issued for `key`, if they are what they should be.
    pub(super) fn put_certificate(
        &self,
        chain: &str,
        key: &str,
        domains: &[String],
        now: SystemTime,
    ) -> anyhow::Result<()> {
        // What cannot be used replaces nothing.
        let checked = Self(self.0.join("new"));
        DirBuilder::new().recursive(true).mode(0o700).create(&checked.0)?;
        checked.put(CERTIFICATE, &format!("{chain}\n{key}"))?;
        checked.files().read(now).context("the certificate that was issued cannot be used")?;
        let held = checked.held(domains, now);
        held.context("the certificate that was issued is not for the names that were asked for")?;
        fs::rename(checked.0.join(CERTIFICATE), self.0.join(CERTIFICATE))?;
        fs::File::open(&self.0)?.sync_all()?;
        Ok(())
    }

    /// The file of the account at `directory`.
    fn account(directory: &str) -> String {
        let hash = hex::encode(&Sha256::digest(directory)[..8]);
        format!("account-{hash}.json")
    }

    /// The account at `directory`; `None` if there is none yet.
    pub(super) fn read_account(&self, directory: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(Self::account(directory))) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn put_account(&self, directory: &str, account: &str) -> io::Result<()> {
        self.put(&Self::account(directory), account)
    }

    /// Removes an account that its server does not know.
    pub(super) fn forget_account(&self, directory: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(Self::account(directory)))
    }

    /// Writes a file that only its owner can read, in one step.
    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let draft = self.0.join(format!("{name}.{:08x}", rand::random::<u32>()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| fs::rename(&draft, self.0.join(name)));
        if placed.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&draft);
        }
        placed?;
        fs::File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
