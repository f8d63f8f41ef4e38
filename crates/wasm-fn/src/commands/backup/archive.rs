//! Reads the archive of a backup, and trusts nothing in it before it is checked.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use wasm_fn_api::{BLOCK_BYTES, BackupManifest, BackupMember, MemberHeader};
use wasm_fn_core::Digest;

/// Maximum size of a manifest: that of a node with a million components.
const MANIFEST_BYTES_MAX: u64 = 128 << 20;

/// Size of one piece, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The file is something else.
    #[error(
        "it is not a backup: found {found}, expected a tar archive that begins with {}",
        BackupManifest::NAME
    )]
    Other { found: String },
    /// A newer program wrote it.
    #[error(
        "it has format {found}, expected at most {}, the newest that this program knows",
        BackupManifest::FORMAT
    )]
    Newer { found: u64 },
    /// It is incomplete or was changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// Its contents cannot be written.
    #[error("{place} cannot be written: {error}")]
    Write { place: String, error: io::Error },
}

/// An archive that is read from its beginning.
struct Reader<R> {
    archive: R,
    /// The member that is being read, for errors.
    member: String,
}

/// Checks every byte of `archive` against its manifest. Writes its members into the folder `into`, if there
/// is one, and makes them durable. Blocks.
pub(super) fn read(archive: impl Read, into: Option<&Path>) -> Result<BackupManifest, ArchiveError> {
    let mut reader = Reader { archive, member: "its beginning".to_owned() };
    let manifest = reader.manifest()?;
    reader.member(BackupManifest::STATE, &manifest.state, into)?;
    if let Some(folder) = into {
        let blobs = folder.join("blobs");
        let made = DirBuilder::new().mode(0o700).create(&blobs);
        made.map_err(|error| ArchiveError::Write { place: blobs.display().to_string(), error })?;
    }
    for component in &manifest.components {
        reader.member(&BackupManifest::component_name(&component.sha256), component, into)?;
    }
    reader.end()?;
    if let Some(folder) = into {
        for folder in [&folder.join("blobs"), folder] {
            let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| ArchiveError::Write { place: folder.display().to_string(), error })?;
        }
    }
    Ok(manifest)
}

impl<R: Read> Reader<R> {
    fn manifest(&mut self) -> Result<BackupManifest, ArchiveError> {
        let other = |found: String| ArchiveError::Other { found };
        let mut block = [0; BLOCK_BYTES];
        let read = self.fill(&mut block)?;
        let header = MemberHeader::parse(&block).ok().flatten().filter(|_| read == BLOCK_BYTES);
        let Some(header) = header else {
            return Err(other(if read == 0 {
                "an empty file".to_owned()
            } else {
                "other contents".to_owned()
            }));
        };
        if header.name != BackupManifest::NAME {
            return Err(other(format!("a tar archive that begins with {:?}", header.name)));
        }
        self.member = header.name;
        if header.bytes > MANIFEST_BYTES_MAX {
            let found = header.bytes;
            return Err(self.damaged(format!("has {found} bytes, expected at most {MANIFEST_BYTES_MAX}")));
        }
        let mut json = Vec::new();
        self.contents(header.bytes, |piece| {
            json.extend_from_slice(piece);
            Ok(())
        })?;
        /// What every format has.
        #[derive(serde::Deserialize)]
        struct Versioned {
            format: u64,
        }
        let unreadable = |error: serde_json::Error| self.damaged(format!("cannot be read: {error}"));
        let Versioned { format } = serde_json::from_slice(&json).map_err(unreadable)?;
        if format > BackupManifest::FORMAT {
            return Err(ArchiveError::Newer { found: format });
        }
        if format == 0 {
            return Err(self.damaged("has format 0, expected at least 1".to_owned()));
        }
        let manifest: BackupManifest = serde_json::from_slice(&json).map_err(unreadable)?;
        // Digests become names of files.
        if let Some(bad) = manifest.components.iter().find(|member| member.sha256.parse::<Digest>().is_err())
        {
            return Err(self.damaged(format!("names the component {:?}, expected a digest", bad.sha256)));
        }
        Ok(manifest)
    }

    /// Reads the member `name`, which must come next and be as `expected`.
    fn member(
        &mut self,
        name: &str,
        expected: &BackupMember,
        into: Option<&Path>,
    ) -> Result<(), ArchiveError> {
        let before = std::mem::replace(&mut self.member, name.to_owned());
        let mut block = [0; BLOCK_BYTES];
        let read = self.fill(&mut block)?;
        if read < BLOCK_BYTES {
            return Err(ArchiveError::Damaged(format!("it ends after {before}, expected {name} next")));
        }
        match MemberHeader::parse(&block) {
            Ok(Some(header)) if header.name == name && header.bytes == expected.bytes => {}
            Ok(Some(MemberHeader { name: found, bytes })) => {
                let BackupMember { bytes: expected, .. } = expected;
                return Err(ArchiveError::Damaged(format!(
                    "after {before}, found {found:?} of {bytes} bytes, expected {name} of {expected} bytes"
                )));
            }
            Ok(None) => {
                return Err(ArchiveError::Damaged(format!("it ends after {before}, expected {name} next")));
            }
            Err(error) => {
                return Err(ArchiveError::Damaged(format!(
                    "after {before}, {error}, expected that of {name}"
                )));
            }
        }
        let mut file = match into {
            Some(folder) => {
                let path = folder.join(name);
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let place = path.display().to_string();
                Some((file.map_err(|error| ArchiveError::Write { place: place.clone(), error })?, place))
            }
            None => None,
        };
        let mut hash = Sha256::new();
        self.contents(expected.bytes, |piece| {
            hash.update(piece);
            match &mut file {
                Some((file, place)) => {
                    file.write_all(piece).map_err(|error| ArchiveError::Write { place: place.clone(), error })
                }
                None => Ok(()),
            }
        })?;
        let found = Digest(hash.finalize().into()).to_string();
        if found != expected.sha256 {
            return Err(self.damaged(format!("has the digest {found}, expected {}", expected.sha256)));
        }
        if let Some((file, place)) = file {
            file.sync_all().map_err(|error| ArchiveError::Write { place, error })?;
        }
        Ok(())
    }

    /// Passes the next `bytes` on in pieces, and skips their padding.
    fn contents(
        &mut self,
        bytes: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let (mut piece, mut left) = (vec![0; PIECE_BYTES], bytes);
        while left > 0 {
            let wanted = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let read = self.fill(&mut piece[..wanted])?;
            each(&piece[..read])?;
            left -= read as u64;
            if read < wanted {
                return Err(self.damaged(format!("ends after {} of {bytes} bytes", bytes - left)));
            }
        }
        let padding = MemberHeader::padding(bytes);
        let read = self.fill(&mut piece[..padding])?;
        if read < padding {
            return Err(self.damaged("ends within the zeros after it".to_owned()));
        }
        Ok(())
    }

    /// Checks that only zeros follow, and at least one block of them.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let (mut piece, mut zeros) = (vec![0; PIECE_BYTES], 0);
        loop {
            let read = self.fill(&mut piece)?;
            if piece[..read].iter().any(|&byte| byte != 0) {
                let member = &self.member;
                let reason = format!("after {member}, found more contents, expected its end");
                return Err(ArchiveError::Damaged(reason));
            }
            zeros += read;
            if read < piece.len() {
                break;
            }
        }
        if zeros < BLOCK_BYTES {
            let member = &self.member;
            return Err(ArchiveError::Damaged(format!("after {member}, the end of the archive is missing")));
        }
        Ok(())
    }

    /// Reads until `piece` is full or the archive ends; returns how much.
    fn fill(&mut self, piece: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < piece.len() {
            match self.archive.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        Ok(filled)
    }

    fn damaged(&self, what: String) -> ArchiveError {
        ArchiveError::Damaged(format!("{} {what}", self.member))
    }
}

#[cfg(test)]
mod tests;
