//! `backup` and `restore`: a node's state and components as one file, and back.

mod archive;
mod restore;

use std::{
    fs::File,
    io::{BufReader, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tempfile::NamedTempFile;
use wasm_fn_api::BackupManifest;
use wasm_fn_core::format_bytes;

use super::{DONE, connect};
use crate::{args, client::Client, fault::Fault, output::Output};

pub(super) use restore::restore;

/// What a backup holds, and where it is.
#[derive(Debug, Serialize)]
struct Saved {
    file: PathBuf,
    revision: u64,
    functions: u64,
    components: usize,
    bytes: u64,
}

pub(super) async fn backup(args: args::Backup, output: Output) -> Result<u8, Fault> {
    let args::Backup { file, connection } = args;
    let error = || format!("{} was not written", file.display());
    if file.exists() {
        return Err(exists(error()));
    }
    let client = connect(&connection)?;
    let saved = save(&client, &file, &error).await?;
    output.data(&saved, |saved| {
        let Saved { file, revision, functions, components, bytes } = saved;
        let (file, bytes) = (file.display(), format_bytes(*bytes));
        format!("{file}: revision {revision}, functions {functions}, components {components}, {bytes}")
    })?;
    Ok(DONE)
}

fn exists(error: String) -> Fault {
    Fault::new("file-exists", error, "the file exists, expected a new one")
        .help("choose another name, or remove the file first")
}

/// Reads a backup of the node into a draft beside `file`, and gives it its name once it is checked.
async fn save(client: &Client, file: &Path, error: &impl Fn() -> String) -> Result<Saved, Fault> {
    let unwritable = |cause: std::io::Error| Fault::new("unwritable-file", error(), cause);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Only the owner may read it: configurations hold environment variables, which may be secrets.
    let mut draft = NamedTempFile::with_prefix_in(".wasm-fn-backup-", folder).map_err(unwritable)?;
    let pieces = client.pieces("/v1/backup", BackupManifest::MEDIA_TYPE).await;
    let mut pieces = pieces.map_err(|refused| refused.fault(error()))?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await.map_err(|broken| broken.fault(error()))? {
        draft.write_all(&piece).map_err(unwritable)?;
        bytes += piece.len() as u64;
    }
    draft.as_file().sync_all().map_err(unwritable)?;
    draft.rewind().map_err(unwritable)?;
    let manifest = archive::read(BufReader::new(draft.as_file()), None).map_err(|damaged| {
        Fault::new("damaged-backup", error(), format!("what the node sent was refused: {damaged}"))
    })?;
    // Another process may have been faster.
    draft.persist_noclobber(file).map_err(|failed| match failed.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(error()),
        _ => unwritable(failed.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    let BackupManifest { revision, functions, components, .. } = manifest;
    Ok(Saved { file: file.to_owned(), revision, functions, components: components.len(), bytes })
}
