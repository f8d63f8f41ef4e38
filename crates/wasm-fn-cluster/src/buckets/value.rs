//! A value as messages: one with the key's subject, and one for each further part of what is too large for
//! it. Pure.
//!
//! The parts of a value follow its first message in the stream, so that their numbers tell that they belong
//! together. A key that was deleted has a message for another second, without a value.

use bytes::Bytes;
use wasm_fn_store::KeyRevision;

use crate::link::Kept;

/// Bytes of a message. With the broker's encoding a whole answer stays below its usual limit of 1 MiB.
pub(super) const PART_BYTES: usize = 256 << 10;

/// The header that says that a key was deleted.
pub(super) const DELETED: &str = "Wasm-Fn-Deleted";

/// The header with the size of a value of several parts.
pub(super) const BYTES: &str = "Wasm-Fn-Bytes";

/// The value of a key, as the stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) revision: KeyRevision,
    /// Bytes of the value.
    pub(super) bytes: u64,
    /// The value, or its first part.
    pub(super) first: Bytes,
}

/// How many parts follow the first message of a value.
pub(super) fn further_parts(bytes: u64) -> u64 {
    bytes.div_ceil(PART_BYTES as u64).saturating_sub(1)
}

impl Stored {
    /// The value in a message; `None` if the key was deleted.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(kept: Kept) -> Result<Option<Self>, String> {
        if kept.header(DELETED).is_some() {
            return Ok(None);
        }
        let bytes = match kept.header(BYTES) {
            Some(text) => {
                text.parse().map_err(|_| format!("header {BYTES} is {text:?}, expected a number"))?
            }
            None => kept.payload.len() as u64,
        };
        Ok(Some(Self { revision: KeyRevision(kept.sequence), bytes, first: kept.payload }))
    }

    /// How many parts follow.
    pub(super) fn further_parts(&self) -> u64 {
        further_parts(self.bytes)
    }

    /// The value, if it is whole.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        (self.first.len() as u64 == self.bytes).then_some(&self.first)
    }
}
