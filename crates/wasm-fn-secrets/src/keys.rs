//! The keys that secrets are sealed under: a data key for values, and the node's key for data keys.

use std::{collections::BTreeMap, fmt, str::FromStr};

use zeroize::Zeroizing;

use crate::{
    SealedValue, SecretPlace, SecretValue, UnsealError,
    sealed::{Context, Envelope, Nonce, SealedError, Unopened},
};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// How the text of a node's key begins, so that scanners for leaked secrets find it.
const NODE_KEY_PREFIX: &str = "wfk_";

/// Bytes of a key's id.
const ID_BYTES: usize = 8;

/// Names a key without giving it away: a hash of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

/// A text is not the id of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has {found} characters, expected 16 hexadecimal digits")]
pub struct KeyIdError {
    found: usize,
}

/// The key that a node has from outside its state. It seals data keys.
pub struct NodeKey(Bytes);

/// The key that values are sealed under.
pub struct DataKey(Bytes);

/// A data key that only a node's key opens.
///
/// As text it is `<id of the data key>@v1:<id of the node's key>:<nonce>:<ciphertext>`.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    key: KeyId,
    envelope: Envelope,
}

/// The data keys of a node. New values are sealed under the current one; the older ones open what a rotation
/// has not sealed again yet.
#[derive(Debug)]
pub struct Keyring {
    current: KeyId,
    keys: BTreeMap<KeyId, DataKey>,
}

/// Why a text is not the key of a node. Nothing of it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeKeyError {
    /// It does not begin as such a key.
    #[error("found {bytes} bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits")]
    Prefix {
        /// Bytes found.
        bytes: usize,
    },
    /// It has another length.
    #[error("found {found} characters behind wfk_, expected 64 hexadecimal digits")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character is no digit.
    #[error("character {at} behind wfk_ is no hexadecimal digit, expected 64 of them")]
    Digit {
        /// Its number, from 1 on.
        at: usize,
    },
}

/// Why a data key cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The node has another key.
    #[error("data key {key} is sealed under the node key {found}, and this node has the node key {expected}")]
    Node {
        /// The data key.
        key: KeyId,
        /// The key that it is sealed under.
        found: KeyId,
        /// The node's.
        expected: KeyId,
    },
    /// It was changed.
    #[error("data key {key} cannot be opened: it was changed")]
    Broken {
        /// The data key.
        key: KeyId,
    },
}

/// The bytes of a key, which are overwritten when it is dropped.
type Bytes = Zeroizing<[u8; KEY_BYTES]>;

impl KeyId {
    /// The id of the key `bytes`, which is used for `purpose`.
    fn of(bytes: &[u8; KEY_BYTES], purpose: &str) -> Self {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&blake3::derive_key(purpose, bytes)[..ID_BYTES]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let mut id = [0; ID_BYTES];
        // Each key has one id, so that ids can be compared as texts.
        let is_lower = !text.contains(|c: char| c.is_ascii_uppercase());
        let decoded = hex::decode_to_slice(text, &mut id);
        if is_lower && decoded.is_ok() {
            Ok(Self(id))
        } else {
            Err(KeyIdError { found: text.chars().count() })
        }
    }
}

impl NodeKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The key in `text`: `wfk_` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is not a key.
    pub fn parse(text: &str) -> Result<Self, NodeKeyError> {
        let digits = text.strip_prefix(NODE_KEY_PREFIX).ok_or(NodeKeyError::Prefix { bytes: text.len() })?;
        let found = digits.chars().count();
        if found != 2 * KEY_BYTES {
            return Err(NodeKeyError::Length { found });
        }
        if let Some(at) = digits.chars().position(|c| !c.is_ascii_hexdigit()) {
            return Err(NodeKeyError::Digit { at: at + 1 });
        }
        let mut bytes = Bytes::default();
        hex::decode_to_slice(digits, &mut *bytes).expect("there are 64 hexadecimal digits");
        Ok(Self(bytes))
    }

    /// The key as text, for the file that keeps it.
    pub fn expose(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(*self.0));
        let mut text = Zeroizing::new(String::with_capacity(NODE_KEY_PREFIX.len() + digits.len()));
        text.push_str(NODE_KEY_PREFIX);
        text.push_str(&digits);
        text
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0, "wasm-fn 2026 id of a node key")
    }

    /// Seals `key`. `nonce` is random.
    pub fn seal(&self, key: &DataKey, nonce: Nonce) -> SealedDataKey {
        let envelope = Envelope::seal(&*key.0, &context(key.id()), self.id(), &self.0, nonce);
        SealedDataKey { key: key.id(), envelope }
    }

    /// Opens `sealed`.
    ///
    /// # Errors
    /// It is sealed under the key of another node, or it was changed.
    pub fn open(&self, sealed: &SealedDataKey) -> Result<DataKey, KeyError> {
        let SealedDataKey { key, ref envelope } = *sealed;
        let opened = envelope.open(&context(key), self.id(), &self.0).map_err(|unopened| match unopened {
            Unopened::Key => KeyError::Node { key, found: envelope.key(), expected: self.id() },
            Unopened::Broken => KeyError::Broken { key },
        })?;
        let mut bytes = Bytes::default();
        if opened.len() != KEY_BYTES {
            return Err(KeyError::Broken { key });
        }
        bytes.copy_from_slice(&opened);
        let opened = DataKey(bytes);
        if opened.id() == key { Ok(opened) } else { Err(KeyError::Broken { key }) }
    }
}

/// What the data key `key` is sealed for.
fn context(key: KeyId) -> Context {
    Context::new(&["wasm-fn data key", &key.to_string()])
}

impl fmt::Debug for NodeKey {
    /// Hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id())
    }
}

impl DataKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0, "wasm-fn 2026 id of a data key")
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    /// Hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id())
    }
}

impl SealedDataKey {
    /// The id of the data key.
    pub fn id(&self) -> KeyId {
        self.key
    }

    /// The id of the node's key that opens it.
    pub fn node_key(&self) -> KeyId {
        self.envelope.key()
    }
}

impl fmt::Display for SealedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.envelope)
    }
}

impl fmt::Debug for SealedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDataKey({} under {})", self.key, self.node_key())
    }
}

impl FromStr for SealedDataKey {
    type Err = SealedError;

    fn from_str(text: &str) -> Result<Self, SealedError> {
        let (key, envelope) = text.split_once('@').unwrap_or((text, ""));
        let key = key.parse().map_err(|KeyIdError { found }| SealedError::Part {
            part: "data key",
            found,
            expected: "16 hexadecimal digits",
        })?;
        Ok(Self { key, envelope: envelope.parse()? })
    }
}

impl Keyring {
    /// The keyring whose `current` key seals, and which opens what `older` ones sealed.
    pub fn new(current: DataKey, older: impl IntoIterator<Item = DataKey>) -> Self {
        let id = current.id();
        let keys = older.into_iter().chain([current]).map(|key| (key.id(), key)).collect();
        Self { current: id, keys }
    }

    /// The id of the key that seals.
    pub fn current(&self) -> KeyId {
        self.current
    }

    /// Seals `value` for `place`. `nonce` is random.
    pub fn seal(&self, value: &SecretValue, place: SecretPlace<'_>, nonce: Nonce) -> SealedValue {
        SealedValue::seal(value, place, &self.keys[&self.current], nonce)
    }

    /// Opens `sealed` in `place`.
    ///
    /// # Errors
    /// None of the keys opens it there.
    pub fn open(&self, sealed: &SealedValue, place: SecretPlace<'_>) -> Result<SecretValue, UnsealError> {
        match self.keys.get(&sealed.key()) {
            Some(key) => sealed.open(place, key),
            None => Err(UnsealError::Key {
                place: place.to_string(),
                found: sealed.key(),
                expected: self.keys.keys().map(KeyId::to_string).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Seals again what is sealed under an older key. `None` if it is under the current one already.
    ///
    /// # Errors
    /// None of the keys opens it in `place`.
    pub fn reseal(
        &self,
        sealed: &SealedValue,
        place: SecretPlace<'_>,
        nonce: Nonce,
    ) -> Result<Option<SealedValue>, UnsealError> {
        if sealed.key() == self.current {
            return Ok(None);
        }
        self.open(sealed, place).map(|value| Some(self.seal(&value, place, nonce)))
    }
}

#[cfg(test)]
mod tests;
