//! Single values of SOPS: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use aes_gcm::{
    AesGcm, KeyInit as _,
    aead::{
        AeadInPlace as _,
        consts::{U12, U32},
        generic_array::ArrayLength,
    },
    aes::Aes256,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

/// The key of all values of a file.
pub(super) struct DataKey(Zeroizing<[u8; 32]>);

/// An encrypted value.
#[derive(Debug)]
pub(super) struct Encrypted<'a> {
    data: &'a str,
    nonce: &'a str,
    tag: &'a str,
    kind: &'a str,
}

/// A value as it is hashed.
pub(super) struct Decrypted {
    /// Text, or a number or a boolean as SOPS writes it.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    is_bool: bool,
}

/// Why a value cannot be decrypted, behind "the value".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncryptedError {
    /// A part is not base64.
    #[error("is not as SOPS writes it: {0} is not base64")]
    Base64(&'static str),
    /// The nonce is of no known length.
    #[error("has a nonce of {0} bytes, expected 32 or 12")]
    Nonce(usize),
    /// The tag is of no known length.
    #[error("has a tag of {0} bytes, expected 16")]
    Tag(usize),
    /// The type is not known.
    #[error("is of the type {0:?}, expected str, int, float, bool or bytes")]
    Kind(String),
    /// The tag is not that of this value, key and name.
    #[error("was changed, or moved from another name or file")]
    Changed,
}

impl DataKey {
    /// The key that is `bytes`, if there are 32.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }
}

impl<'a> Encrypted<'a> {
    /// The parts of `text`, if it is an encrypted value.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix("ENC[AES256_GCM,data:")?.strip_suffix(']')?;
        let (data, text) = text.split_once(",iv:")?;
        let (nonce, text) = text.split_once(",tag:")?;
        let (tag, kind) = text.split_once(",type:")?;
        Some(Self { data, nonce, tag, kind })
    }

    /// Decrypts it. It is bound to `place`: the name of a value with `:` behind it.
    ///
    /// # Errors
    /// It was not encrypted with this key for this place.
    pub(super) fn decrypt(&self, key: &DataKey, place: &str) -> Result<Decrypted, EncryptedError> {
        // SOPS has more types, which occur in YAML only.
        if !["str", "int", "float", "bool", "bytes"].contains(&self.kind) {
            return Err(EncryptedError::Kind(self.kind.to_owned()));
        }
        let decoded = |what, text| BASE64_STANDARD.decode(text).map_err(|_| EncryptedError::Base64(what));
        let mut bytes = Zeroizing::new(decoded("data", self.data)?);
        let (nonce, tag) = (decoded("iv", self.nonce)?, decoded("tag", self.tag)?);
        let tag: [u8; 16] = tag.try_into().map_err(|tag: Vec<u8>| EncryptedError::Tag(tag.len()))?;
        match nonce.len() {
            32 => open::<U32>(key, &nonce, place, &mut bytes, tag)?,
            12 => open::<U12>(key, &nonce, place, &mut bytes, tag)?,
            other => return Err(EncryptedError::Nonce(other)),
        }
        Ok(Decrypted { bytes, is_bool: self.kind == "bool" })
    }
}

fn open<Nonce: ArrayLength<u8>>(
    key: &DataKey,
    nonce: &[u8],
    place: &str,
    bytes: &mut [u8],
    tag: [u8; 16],
) -> Result<(), EncryptedError> {
    let cipher = AesGcm::<Aes256, Nonce>::new(key.0.as_slice().into());
    let opened = cipher.decrypt_in_place_detached(nonce.into(), place.as_bytes(), bytes, &tag.into());
    opened.map_err(|_| EncryptedError::Changed)
}

impl Decrypted {
    /// The value as programs write it: SOPS hashes booleans as `True` and `False`.
    pub(super) fn shown(mut self) -> Zeroizing<Vec<u8>> {
        if self.is_bool {
            self.bytes.make_ascii_lowercase();
        }
        self.bytes
    }
}
