//! Preparing a component: its steps, its result, and why it fails.

use std::{io, sync::Arc};

use wasm_fn_core::Digest;

use super::kind::{Kind, KindError};

/// A component that is ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedComponent {
    /// How it is called.
    pub kind: Kind,
    /// Whether its native code was in the cache already.
    pub cached: bool,
    /// Whether it serves with code of one pass, which optimised code takes the place of later.
    pub is_baseline: bool,
}

/// A step of preparing a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareStep {
    /// Checking imports and exports.
    Checking,
    /// Compiling to native code.
    Compiling,
    /// Making a first instance.
    Loading,
}

/// The progress of preparing a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareProgress {
    /// The current step.
    pub step: PrepareStep,
    /// Number of functions to compile, once known.
    pub functions: u64,
}

/// Why a component cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// It is not a function.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// It is invalid.
    #[error("component is invalid: {reason}")]
    Invalid {
        /// The message of the compiler.
        reason: String,
    },
    /// It is valid, but the engine does not run it.
    #[error("component uses what this node does not run: {reason}")]
    Unsupported {
        /// The message of the compiler.
        reason: String,
    },
    /// Compiling it would take too much.
    #[error("component takes too much to compile: {reason}")]
    TooCostly {
        /// What is over a limit, and the limit.
        reason: String,
    },
    /// Its imports are not those of the node.
    #[error("component does not fit this node: {reason}")]
    Link {
        /// What it imports, and what the node offers.
        reason: String,
    },
    /// It does not start.
    #[error("component does not start: {reason}")]
    Start {
        /// Why.
        reason: String,
    },
    /// It needs more memory to start than its limit.
    #[error("component needs more memory to start than its limit of {limit_bytes} bytes")]
    Memory {
        /// The configured limit.
        limit_bytes: u64,
    },
    /// Too many other components are being compiled.
    #[error("component is not compiled now: {reason}")]
    Busy {
        /// How many.
        reason: String,
    },
    /// The bytes that the data directory has for it are others.
    #[error("component {digest} is changed in the data directory: its file has the digest {found}")]
    Changed {
        /// The component.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// The data directory failed.
    #[error("component {digest}: {source}")]
    Io {
        /// The component.
        digest: Digest,
        /// The error of the system.
        source: Arc<io::Error>,
    },
}

impl PrepareError {
    pub(crate) fn io(digest: Digest, source: io::Error) -> Self {
        Self::Io { digest, source: Arc::new(source) }
    }

    /// Converts `error` if the system failed and not the component.
    pub(super) fn of_host(digest: Digest, error: &wasmtime::Error) -> Option<Self> {
        let is_io = error.chain().any(|cause| cause.is::<io::Error>());
        is_io.then(|| Self::io(digest, io::Error::other(format!("{error:#}"))))
    }

    /// Converts an error of the linker, which names an interface, an item of it, and what is wrong with that.
    pub(super) fn of_linker(error: &wasmtime::Error) -> Self {
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        let reason = match causes.as_slice() {
            [interface, item, .., cause] if interface.starts_with("component imports") => {
                let name = |text: &str| text.split('`').nth(1).unwrap_or(text).to_owned();
                let (interface, item) = (name(interface), name(item));
                if cause.ends_with("implementation is missing") {
                    format!("imports `{item}` of {interface}, which is not offered")
                } else {
                    format!("imports `{item}` of {interface} with another type than is offered: {cause}")
                }
            }
            _ => format!("{error:#}"),
        };
        Self::Link { reason }
    }

    /// Whether a later attempt can succeed.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}
