//! The file that says which process serves a data directory, for `kill -USR2 $(cat DIR/pid)`.

use std::{fs, io, path::Path};

/// The file in the data directory.
const FILE: &str = "pid";

/// Says that this process serves `data_dir`. Blocks.
pub(super) fn write(data_dir: &Path) {
    if let Err(error) = replace(data_dir) {
        tracing::warn!(%error, file = %data_dir.join(FILE).display(), "file with the process's number was not written");
    }
}

/// Whoever reads it meanwhile finds one number or the other.
fn replace(data_dir: &Path) -> io::Result<()> {
    let draft = data_dir.join(format!("{FILE}.{}", std::process::id()));
    fs::write(&draft, format!("{}\n", std::process::id()))?;
    fs::rename(&draft, data_dir.join(FILE))
}

/// Says that none does. Blocks.
pub(super) fn remove(data_dir: &Path) {
    match fs::remove_file(data_dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %data_dir.join(FILE).display(), "file with the process's number was not removed");
        }
        _ => {}
    }
}
