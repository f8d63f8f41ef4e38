//! The secret key that places users.

use std::fmt;

/// Key of the hash that places sticky keys. Stages with different salts place the same user independently,
/// and without the salt users cannot work out where they are placed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u64; 2]);

impl fmt::Debug for Salt {
    /// Hides the salt: a user who knows it can choose a cohort.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}
