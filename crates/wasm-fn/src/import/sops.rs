//! Decrypts files of SOPS in JSON and dotenv form, if age encrypts their data key.
//!
//! SOPS documents its format by its code (`sops.go`, `aes/cipher.go` and `stores/` of getsops/sops). Names
//! stay readable, each value is encrypted by itself with a data key, and the data key is encrypted to each
//! recipient. A MAC over all values in their order shows what was changed, removed or moved. Only flat files
//! are read: a secret has one name.

mod cipher;
mod form;
mod metadata;

use std::path::Path;

use sha2::{Digest as _, Sha512};
use wasm_fn_core::{SecretName, SecretNameError};
use zeroize::Zeroizing;

use super::{
    age_file::{AgeFile, AgeFileError},
    dotenv::{self, DotenvError, Values},
    identities::Identities,
};
use cipher::{DataKey, Decrypted, Encrypted, EncryptedError};
use form::{Form, FormError, Scalar};
use metadata::{Metadata, Rule};

/// What the hash begins with if it has encrypted values only: the SHA-256 of `sops`.
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// A file of SOPS, before it is decrypted.
pub(super) struct Document {
    form: Form,
    /// Names and values in the order of the file.
    entries: Vec<(String, Scalar)>,
    rule: Rule,
    /// Whether the MAC is over encrypted values only.
    mac_only_encrypted: bool,
    /// The MAC, encrypted.
    mac: String,
    /// When SOPS wrote it, as text: the MAC is bound to it.
    last_modified: String,
    /// The data key, encrypted to each recipient.
    data_keys: Vec<String>,
}

/// Why a file of SOPS gives no values. It shows none of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SopsError {
    /// It is in another form, or what SOPS adds is missing, or is not supported.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The MAC is not as SOPS writes it.
    #[error("`mac` of SOPS is not as SOPS writes it, expected ENC[AES256_GCM,…]")]
    MacForm,
    /// None of the identities is that of a recipient, or age's part was changed.
    #[error(transparent)]
    Age(AgeFileError),
    /// The data key cannot be decrypted for another reason.
    #[error("its data key cannot be decrypted: {0}")]
    DataKey(AgeFileError),
    /// The data key is none.
    #[error("its data key has {0} bytes, expected 32")]
    DataKeyLength(usize),
    /// A value is plain that has to be encrypted.
    #[error("{name:?} is not encrypted, and by the rule in the file it has to be")]
    Plain { name: String },
    /// A value cannot be decrypted.
    #[error("the value of {name:?} {error}")]
    Value { name: String, error: EncryptedError },
    /// The MAC cannot be decrypted.
    #[error("its MAC {0}, or `lastmodified` was changed")]
    MacValue(EncryptedError),
    /// The MAC is another.
    #[error("MAC mismatch: a value was changed, added, removed or moved since SOPS wrote the file")]
    Mac,
    /// A name is not that of a secret.
    #[error(transparent)]
    Name(#[from] SecretNameError),
    /// Two values have one name.
    #[error("{0} is there twice, expected each name once")]
    Twice(SecretName),
    /// A value of a dotenv file has wrong quotes.
    #[error("the value of {name} has {found}, expected {expected}")]
    Quotes { name: SecretName, found: &'static str, expected: &'static str },
    /// A file that was encrypted as a whole is not a dotenv file.
    #[error("what SOPS encrypted is no dotenv file: {0}")]
    Inside(DotenvError),
    /// A file that was encrypted as a whole is no text.
    #[error("what SOPS encrypted is not UTF-8, expected lines of NAME=value")]
    NotText,
}

impl Document {
    /// Reads `text`, the contents of the file at `path`; `None` if SOPS has nothing to do with it.
    ///
    /// # Errors
    /// It is in a form that is not read, or its data key needs more than one age identity.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Option<Self>, SopsError> {
        let Some((form, entries, metadata)) = form::parse(text, path)? else { return Ok(None) };
        let Metadata { rule, mac_only_encrypted, mac, last_modified, data_keys } = metadata;
        Ok(Some(Self { form, entries, rule, mac_only_encrypted, mac, last_modified, data_keys }))
    }

    /// The values.
    ///
    /// # Errors
    /// None of `identities` opens the data key, the file was changed, or it has a name that is not that of a
    /// secret.
    pub(super) fn decrypt(self, identities: &Identities) -> Result<Values, SopsError> {
        let key = self.data_key(identities)?;
        let values = self.values(&key)?;
        if self.form == Form::Whole {
            let [text] = &values[..] else { return Ok(Values::new()) };
            let text = str::from_utf8(text).map_err(|_| SopsError::NotText)?;
            return dotenv::parse(text).map_err(SopsError::Inside);
        }
        let mut secrets = Values::new();
        for ((name, _), value) in self.entries.iter().zip(values) {
            let name: SecretName = name.parse()?;
            if secrets.iter().any(|(known, _)| *known == name) {
                return Err(SopsError::Twice(name));
            }
            let value = if self.form == Form::Dotenv { meant(&name, value)? } else { value };
            secrets.push((name, value));
        }
        Ok(secrets)
    }

    fn data_key(&self, identities: &Identities) -> Result<DataKey, SopsError> {
        let mut last = None;
        for key in &self.data_keys {
            match AgeFile::parse(key.as_bytes()).and_then(|file| file.decrypt(identities)) {
                Ok(key) => return DataKey::new(&key).ok_or(SopsError::DataKeyLength(key.len())),
                Err(AgeFileError::NoIdentity { .. }) => {}
                Err(error) => last = Some(error),
            }
        }
        // A key that is damaged says more than one for somebody else.
        Err(last.map_or_else(
            || {
                SopsError::Age(AgeFileError::NoIdentity {
                    file: identities.file().to_owned(),
                    recipients: self.data_keys.len(),
                    untried: identities.untried(),
                })
            },
            SopsError::DataKey,
        ))
    }

    /// The values of the entries, once it is sure that they are those that SOPS wrote.
    fn values(&self, key: &DataKey) -> Result<Vec<Zeroizing<Vec<u8>>>, SopsError> {
        let mut hash = Sha512::new();
        if self.mac_only_encrypted {
            hash.update(ENCRYPTED_ONLY);
        }
        let mut values = Vec::new();
        for (name, scalar) in &self.entries {
            // SOPS leaves empty values as they are.
            if self.rule.encrypts(name) && !scalar.is_empty() {
                let value = decrypted(name, scalar, key)?;
                hash.update(&value.bytes);
                values.push(value.shown());
            } else {
                if !self.mac_only_encrypted {
                    hash.update(scalar.hashed());
                }
                values.push(Zeroizing::new(scalar.to_string().into_bytes()));
            }
        }
        let mac = Encrypted::parse(&self.mac).ok_or(SopsError::MacForm)?;
        let mac = mac.decrypt(key, &self.last_modified).map_err(SopsError::MacValue)?;
        let computed = hex::encode_upper(hash.finalize());
        if *mac.bytes == computed.as_bytes() { Ok(values) } else { Err(SopsError::Mac) }
    }
}

fn decrypted(name: &str, scalar: &Scalar, key: &DataKey) -> Result<Decrypted, SopsError> {
    let name = || name.to_owned();
    let encrypted = match scalar {
        Scalar::Text(text) => Encrypted::parse(text),
        Scalar::Number(_) | Scalar::Bool(_) => None,
    };
    let encrypted = encrypted.ok_or_else(|| SopsError::Plain { name: name() })?;
    let place = format!("{}:", name());
    encrypted.decrypt(key, &place).map_err(|error| SopsError::Value { name: name(), error })
}

/// What a value of a dotenv file means: SOPS keeps the quotes, and what is plain is read without them.
fn meant(name: &SecretName, value: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, SopsError> {
    // What is no text is refused as every value is.
    let Ok(text) = str::from_utf8(&value) else { return Ok(value) };
    dotenv::unquoted(text).map_err(|(found, expected)| SopsError::Quotes {
        name: name.clone(),
        found,
        expected,
    })
}

#[cfg(test)]
mod tests;
