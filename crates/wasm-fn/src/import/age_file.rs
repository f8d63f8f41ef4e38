//! Decrypts age files, and says what is wrong with one. The crate `age` does the work.

use std::{
    io::{self, Cursor, Read as _},
    path::PathBuf,
};

use age::{DecryptError, Decryptor, armor::ArmoredReader};
use zeroize::Zeroizing;

use super::{identities::Identities, signature};

/// An age file, before it is decrypted.
pub(super) struct AgeFile {
    decryptor: Decryptor<Cursor<Vec<u8>>>,
    /// To how many it is encrypted.
    recipients: usize,
    /// Its length without armor.
    bytes: usize,
}

/// Why an age file cannot be decrypted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgeFileError {
    /// The armor cannot be read.
    #[error("its age armor is damaged or cut off: {0}")]
    Armor(io::Error),
    /// The header cannot be read.
    #[error("its age header is damaged or cut off")]
    Header,
    /// It is of another version.
    #[error("its version of age is unknown, expected age-encryption.org/v1")]
    Version,
    /// It has no recipients.
    #[error("it is encrypted with a passphrase, expected recipients such as age1…: `age -d` asks for it")]
    Passphrase,
    /// None of the identities is that of a recipient.
    #[error(
        "no identity in {} opens it; it is encrypted to {}{}",
        .file.display(), counted(*.recipients, "recipient"), others(*.untried)
    )]
    NoIdentity {
        /// The file with the identities.
        file: PathBuf,
        /// To how many it is encrypted.
        recipients: usize,
        /// How many identities were of a kind that is not supported.
        untried: usize,
    },
    /// The header is not what the writer made.
    #[error("its age header was changed: the MAC is not that of the header")]
    HeaderChanged,
    /// The contents are not what the writer made.
    #[error("its encrypted contents were changed or cut off")]
    Contents,
}

impl AgeFile {
    /// The age file that is `bytes`, in binary or in armor.
    ///
    /// # Errors
    /// The header cannot be read, or there is a passphrase in place of recipients.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, AgeFileError> {
        let bytes = if bytes.starts_with(signature::BINARY) { bytes } else { bytes.trim_ascii_start() };
        let mut binary = Vec::new();
        ArmoredReader::new(bytes).read_to_end(&mut binary).map_err(AgeFileError::Armor)?;
        let (recipients, bytes) = (recipients(&binary), binary.len());
        let decryptor = Decryptor::new_buffered(Cursor::new(binary)).map_err(|error| match error {
            DecryptError::UnknownFormat => AgeFileError::Version,
            _ => AgeFileError::Header,
        })?;
        if decryptor.is_scrypt() {
            return Err(AgeFileError::Passphrase);
        }
        Ok(Self { decryptor, recipients, bytes })
    }

    /// What is encrypted in it.
    ///
    /// # Errors
    /// It is not encrypted to one of `identities`, or it was changed.
    pub(super) fn decrypt(self, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, AgeFileError> {
        let mut reader = self.decryptor.decrypt(identities.iter()).map_err(|error| match error {
            DecryptError::NoMatchingKeys => AgeFileError::NoIdentity {
                file: identities.file().to_owned(),
                recipients: self.recipients,
                untried: identities.untried(),
            },
            DecryptError::InvalidMac => AgeFileError::HeaderChanged,
            _ => AgeFileError::Header,
        })?;
        // What is encrypted is shorter than the file, so the buffer never grows and leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.bytes));
        reader.read_to_end(&mut text).map_err(|_| AgeFileError::Contents)?;
        Ok(text)
    }
}

/// How many recipients the header names, without the "grease" that writers add so that readers keep ignoring
/// what they do not know.
fn recipients(binary: &[u8]) -> usize {
    let header = binary.split(|&byte| byte == b'\n').take_while(|line| !line.starts_with(b"---"));
    let kinds = header.filter_map(|line| line.strip_prefix(b"-> "));
    let kinds = kinds.filter_map(|line| line.split(|&byte| byte == b' ').next());
    kinds.filter(|kind| !kind.ends_with(b"-grease")).count()
}

/// `1 recipient`, `2 recipients`.
fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn others(identities: usize) -> String {
    match identities {
        0 => String::new(),
        1 => "; 1 identity there is not of the kind AGE-SECRET-KEY-1…".to_owned(),
        more => format!("; {more} identities there are not of the kind AGE-SECRET-KEY-1…"),
    }
}

#[cfg(test)]
mod tests;
