//! Reads files with values of secrets: dotenv files, plain or encrypted by age, and files of SOPS whose data
//! key is encrypted by age.
//!
//! Only the client has this part. A node gets the values, and knows neither age nor SOPS. What is
//! decrypted stays in memory, and is overwritten when it is dropped.

mod age_file;
mod dotenv;
mod identities;
mod signature;
mod sops;

use std::path::Path;

use age_file::{AgeFile, AgeFileError};
use dotenv::{DotenvError, Values};
pub(crate) use identities::IdentityFile;
use identities::{Identities, IdentitiesError};
use sops::{Document, SopsError};

/// Why a file gives no values. It shows none of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The file is no text, and not encrypted by age.
    #[error("it is not UTF-8, expected text or an age file")]
    NotText,
    /// What age encrypted is no text.
    #[error("what age encrypted is not UTF-8, expected text")]
    NotTextInside,
    /// Somebody would think that it is encrypted.
    #[error("it is not an age file, although its name ends in `.age`: expected {}", signature::EXPECTED)]
    NotAge,
    /// A plain or decrypted text is not a dotenv file.
    #[error(transparent)]
    Dotenv(#[from] DotenvError),
    /// An age file cannot be decrypted.
    #[error(transparent)]
    AgeFile(#[from] AgeFileError),
    /// A file of SOPS cannot be decrypted.
    #[error(transparent)]
    Sops(#[from] SopsError),
    /// There is nothing to decrypt it with.
    #[error(transparent)]
    Identities(#[from] IdentitiesError),
    /// The file has no values.
    #[error("it has no values, expected NAME=value")]
    Empty,
}

impl ImportError {
    /// The stable code of the fault.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Identities(_) => "invalid-identity",
            _ => "invalid-file",
        }
    }
}

/// The values in `bytes`, which are those of the file at `path`. The identities are read only if something is
/// encrypted. Blocks.
///
/// # Errors
/// The file is of no known form, was changed, or cannot be decrypted; a name is not that of a secret.
pub(crate) fn read(bytes: &[u8], path: &Path, identities: &IdentityFile) -> Result<Values, ImportError> {
    let values = if signature::is_age(bytes) {
        let file = AgeFile::parse(bytes)?;
        let text = file.decrypt(&Identities::read(identities)?)?;
        dotenv::parse(str::from_utf8(&text).map_err(|_| ImportError::NotTextInside)?)?
    } else {
        if path.extension().is_some_and(|extension| extension == "age") {
            return Err(ImportError::NotAge);
        }
        let text = str::from_utf8(bytes).map_err(|_| ImportError::NotText)?;
        match Document::parse(text, path)? {
            Some(document) => document.decrypt(&Identities::read(identities)?)?,
            None => dotenv::parse(text)?,
        }
    };
    if values.is_empty() { Err(ImportError::Empty) } else { Ok(values) }
}

#[cfg(test)]
mod tests;
