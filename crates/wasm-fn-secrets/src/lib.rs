//! Secrets of functions: their values, how they are sealed at rest, and how they are kept out of logs; and
//! how nodes that share a key seal what they tell each other.
//!
//! This crate knows neither where sealed values are stored nor who sees them, and neither HTTP nor guests.
//!
//! Invariants: no clock, no randomness (keys and nonces are arguments), no environment, no input or output;
//! nothing here prints a value or a key, in errors neither; what holds one overwrites it when it is dropped.

mod keys;
mod mask;
mod message;
mod sealed;
mod set;
mod value;

pub use keys::{DataKey, KeyError, KeyId, KeyIdError, Keyring, NodeKey, NodeKeyError, SealedDataKey};
pub use message::{MessageKey, fingerprint};
pub use sealed::{NONCE_BYTES, Nonce, SealedError, SealedValue, SecretPlace, SecretRevision, UnsealError};
pub use set::{SecretSet, SecretSetError};
pub use value::{SecretValue, SecretValueError};
