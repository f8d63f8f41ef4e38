//! A mark in the data directory that the memory of a guest was not clean, for whoever looks at the node from
//! outside. It stays until the node starts again.

use std::{fs, io, path::Path};

/// The name of the mark, in the data directory.
pub const ISOLATION_FAULT: &str = "isolation-fault";

/// Puts the mark. The log and the metrics tell of the fault in any case.
pub(super) fn remember(data_dir: &Path) {
    if let Err(error) = fs::write(data_dir.join(ISOLATION_FAULT), []) {
        tracing::error!(%error, "the isolation fault is not marked in the data directory");
    }
}

/// Removes the mark of the process before.
pub(super) fn forget(data_dir: &Path) -> io::Result<()> {
    match fs::remove_file(data_dir.join(ISOLATION_FAULT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
