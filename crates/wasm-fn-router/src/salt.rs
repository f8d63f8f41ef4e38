//! What places users, and nobody but the node knows.

use std::fmt;

/// Key of the hash that places sticky keys. Stages with different salts place the same user
/// independently, and users cannot work out where they are placed without it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u64; 2]);

impl fmt::Debug for Salt {
    /// Hides the salt: whoever knows it can choose a cohort.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}
