//! `restore`: a backup becomes a data directory, as a whole or not at all.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io::{self, BufReader},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tempfile::TempDir;
use wasm_fn_api::BackupManifest;
use wasm_fn_control::{stored_state, verify_journal};
use wasm_fn_store::{Blobs, EmbeddedStore};

use super::{DONE, archive};
use crate::{args, fault::Fault, output::Output};

/// The prefix of the folder that a restore works in. One that is left was interrupted.
const WORK: &str = ".wasm-fn-restore-";

/// A folder that a new file system may contain.
const LOST: &str = "lost+found";

/// What was restored, and where.
#[derive(Debug, Serialize)]
struct Restored {
    data_dir: PathBuf,
    revision: u64,
    functions: u64,
    components: usize,
}

pub(in crate::commands) async fn restore(args: args::Restore, output: Output) -> Result<u8, Fault> {
    let args::Restore { file, data_dir, .. } = args;
    let failed =
        |code, cause: String| Fault::new(code, format!("{} was not restored", file.display()), cause);
    let archive = File::open(&file)
        .map_err(|error| failed("unreadable-file", format!("the file cannot be read: {error}")))?;
    let unwritable = |error: io::Error| {
        failed("unwritable-directory", format!("data directory {}: {error}", data_dir.display()))
    };
    if let Some(found) = occupant(&data_dir).map_err(unwritable)? {
        let cause =
            format!("data directory {} contains {found:?}, expected an empty one", data_dir.display());
        return Err(failed("directory-not-empty", cause)
            .help("choose another --data-dir, or move the old directory away first"));
    }
    let made = !data_dir.exists();
    let restored = restore_into(&data_dir, archive, &unwritable, &failed).await;
    if restored.is_err() && made {
        // Only succeeds if nothing is in it.
        let _ = fs::remove_dir(&data_dir);
    }
    let BackupManifest { revision, functions, components, .. } = restored?;
    let restored = Restored { data_dir, revision, functions, components: components.len() };
    output.data(&restored, |restored| {
        let Restored { data_dir, revision, functions, components } = restored;
        let data_dir = data_dir.display();
        format!("{data_dir}: revision {revision}, functions {functions}, components {components}")
    })?;
    output.talk("the node makes a new admin token and a new preview key at its start");
    let serve = format!("wasm-fn serve --data-dir {}", restored.data_dir.display());
    output.next(&[(serve, "start a node on it")]);
    Ok(DONE)
}

/// Restores `archive` into `data_dir`, which is empty or does not exist. Works in a folder within it, which
/// is on the same disk even if the data directory is a mount point, and adds the state last: without it, a
/// directory is no node's.
async fn restore_into(
    data_dir: &Path,
    archive: File,
    unwritable: &impl Fn(io::Error) -> Fault,
    failed: &impl Fn(&'static str, String) -> Fault,
) -> Result<BackupManifest, Fault> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unwritable)?;
    let work = TempDir::with_prefix_in(WORK, data_dir).map_err(unwritable)?;
    let manifest = archive::read(BufReader::new(archive), Some(work.path()))
        .map_err(|error| failed("damaged-backup", error.to_string()))?;
    check(work.path(), &manifest)
        .await
        .map_err(|cause| failed("damaged-backup", format!("it is damaged: {cause}")))?;
    let (blobs, state) = (data_dir.join(Blobs::FOLDER), data_dir.join(EmbeddedStore::FILE));
    fs::rename(work.path().join(Blobs::FOLDER), &blobs).map_err(unwritable)?;
    // Unlike a rename, a link fails if a node was started there meanwhile.
    if let Err(error) = fs::hard_link(work.path().join(EmbeddedStore::FILE), state) {
        // The components go with the folder that they came from.
        fs::rename(&blobs, work.path().join(Blobs::FOLDER)).map_err(unwritable)?;
        return Err(unwritable(error));
    }
    work.close().map_err(unwritable)?;
    File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    Ok(manifest)
}

/// The first thing in `data_dir` that a restore would mix with; `None` if the directory is empty or does not
/// exist. Removes what an interrupted restore left.
fn occupant(data_dir: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(WORK) {
            fs::remove_dir_all(entry.path())?;
        } else if name != LOST {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Checks that a node can start on the state in `folder`: it can be read, its journal is whole, and every
/// component that it names was in the backup.
async fn check(folder: &Path, manifest: &BackupManifest) -> Result<(), String> {
    let store = EmbeddedStore::open(folder).map_err(|error| error.to_string())?;
    let verified = verify_journal(&store, None).await.map_err(|error| error.to_string())?.revision;
    let state = stored_state(&store).await.map_err(|error| error.to_string())?;
    if (verified.0, state.revision().0) != (manifest.revision, manifest.revision) {
        let (found, expected) = (state.revision().0, manifest.revision);
        return Err(format!("its state is at revision {found}, expected {expected}"));
    }
    let components = manifest.components.iter().map(|component| &*component.sha256);
    let components: HashSet<_> = components.collect();
    for (name, function) in state.functions() {
        for (no, version) in &function.versions {
            let digest = version.build.digest.to_string();
            if !components.contains(&*digest) {
                return Err(format!("component {digest} of {name} {no} is not in it"));
            }
        }
    }
    Ok(())
}
