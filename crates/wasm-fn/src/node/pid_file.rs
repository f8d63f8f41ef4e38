//! The file with the id of the process that serves a data directory, for `kill -USR2 $(cat DIR/pid)`.

use std::{fs, io, path::Path};

/// Name of the file in the data directory.
const FILE: &str = "pid";

/// Writes this process's id into `data_dir`. Blocks.
pub(super) fn write(data_dir: &Path) {
    if let Err(error) = replace(data_dir) {
        tracing::warn!(%error, file = %data_dir.join(FILE).display(), "pid file was not written");
    }
}

/// Replaces the file atomically: a reader finds either the old id or the new one.
fn replace(data_dir: &Path) -> io::Result<()> {
    let draft = data_dir.join(format!("{FILE}.{}", std::process::id()));
    fs::write(&draft, format!("{}\n", std::process::id()))?;
    fs::rename(&draft, data_dir.join(FILE))
}

/// Removes the file: no process serves `data_dir` now. Blocks.
pub(super) fn remove(data_dir: &Path) {
    match fs::remove_file(data_dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %data_dir.join(FILE).display(), "pid file was not removed");
        }
        _ => {}
    }
}
