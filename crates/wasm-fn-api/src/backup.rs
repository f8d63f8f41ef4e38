//! The archive of a backup: a tar file that holds a data directory's state and components.
//!
//! `manifest.json` comes first and names everything that follows: `state.redb`, then `blobs/<sha256>` for
//! each component, in this order. So a reader can check each member as it comes, and knows when one is
//! missing. Headers are those of POSIX ustar, so that any tar can list and unpack a backup. The tokens and
//! keys of the node are not in it.

use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

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
        let mut header = Header::new_ustar();
        header.set_path(&self.name).expect("names of a backup are short and relative");
        header.set_entry_type(EntryType::Regular);
        header.set_size(self.bytes);
        header.set_mtime(modified_s);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        *header.as_bytes()
    }

    /// Reads a header; `None` for an empty block, which ends the archive.
    ///
    /// # Errors
    /// The block is anything else than the header of a plain file.
    pub fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Option<Self>, NoHeader> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(block);
        let mut summed = header.clone();
        summed.set_cksum();
        let is_file = header.as_ustar().is_some() && header.entry_type().is_file();
        if !is_file || summed.as_bytes() != block {
            return Err(NoHeader);
        }
        let name = str::from_utf8(&header.path_bytes()).map_err(|_| NoHeader)?.to_owned();
        Ok(Some(Self { name, bytes: header.entry_size().map_err(|_| NoHeader)? }))
    }

    /// How many bytes of zeros follow contents of `bytes`.
    pub fn padding(bytes: u64) -> usize {
        let over = usize::try_from(bytes % BLOCK_BYTES as u64).unwrap_or_default();
        (BLOCK_BYTES - over) % BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests;
