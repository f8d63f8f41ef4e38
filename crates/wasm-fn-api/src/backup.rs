//! The archive of a backup: a tar file that holds a data directory's state and components.
//!
//! `manifest.json` comes first and names everything that follows: `state.redb`, then `blobs/<sha256>` for
//! each component, in this order. So a reader can check each member as it comes, and knows when one is
//! missing. Headers are those of POSIX ustar, so that any tar can list and unpack a backup. The tokens and
//! keys of the node are not in it.

use serde::{Deserialize, Serialize};

/// The contents of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The format of the archive.
    pub format: u64,
    /// Version of the program that made the backup.
    pub program: String,
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// The revision of the state.
    pub revision: u64,
    /// Number of functions.
    pub functions: u64,
    /// The member `state.redb`.
    pub state: BackupMember,
    /// The members in `blobs/`, each named by its digest.
    pub components: Vec<BackupMember>,
}

/// One member of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMember {
    /// SHA-256 of its contents, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Size of its contents.
    pub bytes: u64,
}

/// The header of a member of a tar file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberHeader {
    /// The path.
    pub name: String,
    /// Size of the contents.
    pub bytes: u64,
}

/// A block that is not the header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found a block that is not the header of a file in a tar archive")]
pub struct NoHeader;

/// Size of a block: headers take one, and contents are padded to whole ones.
pub const BLOCK_BYTES: usize = 512;

/// Two empty blocks end an archive.
pub const END_BYTES: usize = 2 * BLOCK_BYTES;

/// The largest size in octal digits. Larger ones are written as GNU tar does.
const OCTAL_MAX: u64 = (1 << 33) - 1;

// Offsets and lengths of the fields of a header (POSIX.1-2017, pax, ustar interchange format).
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;

impl BackupManifest {
    /// The format of the archives that this program writes. It is also the newest that it reads.
    pub const FORMAT: u64 = 1;

    /// The media type of the archive.
    pub const MEDIA_TYPE: &str = "application/x-tar";

    /// The name of the first member.
    pub const NAME: &str = "manifest.json";

    /// The name of the member with the state.
    pub const STATE: &str = "state.redb";

    /// The name of the member with the component of this digest.
    pub fn component_name(sha256: &str) -> String {
        format!("blobs/{sha256}")
    }
}

impl MemberHeader {
    /// The header as it is written, for a file that was changed at `modified_s`, Unix seconds, and that only
    /// its owner may read.
    ///
    /// # Panics
    /// If the name is longer than 100 bytes. Those of a backup are not.
    pub fn to_block(&self, modified_s: u64) -> [u8; BLOCK_BYTES] {
        assert!(self.name.len() <= NAME.len(), "names of a backup are short");
        let mut block = [0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(NAME.start, self.name.as_bytes());
        // Mode, owner, group.
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        if self.bytes <= OCTAL_MAX {
            put(SIZE.start, format!("{:011o}\0", self.bytes).as_bytes());
        } else {
            put(SIZE.start, &[0x80, 0, 0, 0]);
            put(SIZE.start + 4, &self.bytes.to_be_bytes());
        }
        put(136, format!("{:011o}\0", modified_s.min(OCTAL_MAX)).as_bytes());
        put(TYPE, b"0");
        put(MAGIC.start, b"ustar\x0000");
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[CHECKSUM].copy_from_slice(sum.as_bytes());
        block
    }

    /// Reads a header; `None` for an empty block, which ends the archive.
    ///
    /// # Errors
    /// The block is anything else than the header of a plain file.
    pub fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Option<Self>, NoHeader> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let is_file = matches!(block[TYPE], b'0' | 0) && block[MAGIC].starts_with(b"ustar");
        if !is_file || octal(&block[CHECKSUM]) != Some(u64::from(checksum(block))) {
            return Err(NoHeader);
        }
        let name = block[NAME].split(|&byte| byte == 0).next().unwrap_or_default();
        let name = str::from_utf8(name).map_err(|_| NoHeader)?.to_owned();
        let bytes = match block[SIZE] {
            [0x80, 0, 0, 0, ref size @ ..] => size.try_into().ok().map(u64::from_be_bytes),
            ref size => octal(size),
        };
        Ok(Some(Self { name, bytes: bytes.ok_or(NoHeader)? }))
    }

    /// How many bytes of zeros follow contents of `bytes`.
    pub fn padding(bytes: u64) -> usize {
        let over = usize::try_from(bytes % BLOCK_BYTES as u64).unwrap_or_default();
        (BLOCK_BYTES - over) % BLOCK_BYTES
    }
}

/// The sum of all bytes of a header, with blanks in place of the sum itself.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let blanked = |(at, &byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { byte };
    block.iter().enumerate().map(blanked).map(u32::from).sum()
}

/// Octal digits, between blanks and zeros.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(field).ok()?.trim_matches(|c| c == ' ' || c == '\0');
    u64::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests;
