//! Backups: the state and the components, as one archive.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _},
    path::PathBuf,
};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use wasm_fn_api::{BackupManifest, BackupMember, END_BYTES, MemberHeader};
use wasm_fn_control::{Backup, ControlError, host::Host};
use wasm_fn_store::Store;

use crate::{ApiError, admin::Shared};

/// Size of one piece of a file, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Reads a backup of the state and the components, as they are now.
pub(crate) async fn backup<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
) -> Result<Response, ApiError> {
    let backup = admin.control.backup().await?;
    let (program, now_ms) = (admin.options.program_version.clone(), admin.control.now().0);
    let archive = tokio::task::spawn_blocking(move || Archive::new(backup, program, now_ms)).await;
    let archive = archive.map_err(|_| ControlError::Interrupted)?;
    let archive = archive.map_err(|error| ApiError::internal(format!("backup cannot be read: {error}")))?;
    let bytes = archive.bytes;
    tracing::info!(revision = archive.backup.revision.0, bytes, "a backup is being read");
    let mut response = Response::new(Body::from_stream(stream::try_unfold(archive, Archive::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BackupManifest::MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

/// An archive that is read piece by piece.
struct Archive {
    parts: VecDeque<Part>,
    /// The file that is being read, and how much of it is left.
    open: Option<(tokio::fs::File, u64)>,
    /// Size of the whole archive.
    bytes: u64,
    /// Keeps the files until the archive has been read.
    backup: Backup,
}

/// What an archive consists of.
enum Part {
    /// Headers, padding and the manifest.
    Bytes(Bytes),
    /// The contents of an open file, of this size.
    File(File, u64),
    /// The contents of the file at this path, of this size. It is opened when it is its turn, because there
    /// may be more of them than a process may open.
    Path(PathBuf, u64),
}

impl Archive {
    /// Lays out the archive of `backup`. Blocks.
    fn new(backup: Backup, program: String, now_ms: u64) -> io::Result<Self> {
        let mut state = backup.state.try_clone()?;
        let digest = sha256(&mut state)?;
        let state_bytes = state.stream_position()?;
        state.rewind()?;
        let mut components = Vec::with_capacity(backup.components.len());
        for (digest, path) in &backup.components {
            let metadata = std::fs::metadata(path);
            let metadata = metadata
                .map_err(|error| io::Error::new(error.kind(), format!("component {digest}: {error}")))?;
            components.push(BackupMember { sha256: digest.to_string(), bytes: metadata.len() });
        }
        let manifest = BackupManifest {
            format: BackupManifest::FORMAT,
            program,
            created_ms: now_ms,
            revision: backup.revision.0,
            functions: backup.functions,
            state: BackupMember { sha256: digest, bytes: state_bytes },
            components,
        };
        let json = serde_json::to_vec_pretty(&manifest)?;
        let mut layout = Layout { parts: VecDeque::new(), bytes: 0, modified_s: now_ms / 1000 };
        let json_bytes = json.len() as u64;
        layout.member(BackupManifest::NAME, json_bytes, Part::Bytes(json.into()));
        layout.member(BackupManifest::STATE, state_bytes, Part::File(state, state_bytes));
        for (member, (_, path)) in manifest.components.iter().zip(&backup.components) {
            let name = BackupManifest::component_name(&member.sha256);
            layout.member(&name, member.bytes, Part::Path(path.clone(), member.bytes));
        }
        layout.zeros(END_BYTES);
        Ok(Self { parts: layout.parts, open: None, bytes: layout.bytes, backup })
    }

    /// The next piece.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            if let Some((file, left)) = &mut self.open {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.take(*left).read(&mut piece).await?;
                *left -= read as u64;
                if *left == 0 {
                    self.open = None;
                } else if read == 0 {
                    tracing::error!("backup is broken off: a component became shorter");
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if read > 0 {
                    piece.truncate(read);
                    return Ok(Some((piece.into(), self)));
                }
                continue;
            }
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Part::Bytes(bytes)) => return Ok(Some((bytes, self))),
                Some(Part::File(file, bytes)) => self.open = Some((file.into(), bytes)),
                Some(Part::Path(path, bytes)) => {
                    let file = tokio::fs::File::open(&path).await.inspect_err(|error| {
                        tracing::error!(component = %path.display(), %error, "backup is broken off");
                    });
                    self.open = Some((file?, bytes));
                }
            }
        }
    }
}

/// The parts of an archive so far.
struct Layout {
    parts: VecDeque<Part>,
    bytes: u64,
    modified_s: u64,
}

impl Layout {
    fn member(&mut self, name: &str, bytes: u64, contents: Part) {
        let header = MemberHeader { name: name.to_owned(), bytes }.to_block(self.modified_s);
        self.bytes += header.len() as u64 + bytes;
        self.parts.push_back(Part::Bytes(header.to_vec().into()));
        self.parts.push_back(contents);
        self.zeros(MemberHeader::padding(bytes));
    }

    fn zeros(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bytes += bytes as u64;
            self.parts.push_back(Part::Bytes(vec![0; bytes].into()));
        }
    }
}

/// SHA-256 of the rest of `file`, as hexadecimal digits.
fn sha256(file: &mut File) -> io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&piece[..read]);
    }
}
