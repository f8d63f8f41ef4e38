//! Why a runtime does not start.

use std::{io, path::PathBuf};

use crate::code::engine::EngineError;

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No engine can be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data directory failed.
    #[error("artefact cache in {}: {source}", dir.display())]
    Artifacts {
        /// The data directory.
        dir: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The interfaces of the host do not fit each other.
    #[error("host interfaces: {0}")]
    Linker(String),
}
