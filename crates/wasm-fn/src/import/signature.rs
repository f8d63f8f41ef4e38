//! What age files begin with. The format is <https://c2sp.org/age>.

/// What binary age files begin with, up to the number of the version.
pub(super) const BINARY: &[u8] = b"age-encryption.org/";

/// What armored age files begin with, behind white space at most.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// How an age file begins, for errors.
pub(super) const EXPECTED: &str =
    "`age-encryption.org/v1` or `-----BEGIN AGE ENCRYPTED FILE-----` as its beginning";

/// Whether `bytes` begin as an age file does.
pub(super) fn is_age(bytes: &[u8]) -> bool {
    bytes.starts_with(BINARY) || bytes.trim_ascii_start().starts_with(ARMOR)
}
