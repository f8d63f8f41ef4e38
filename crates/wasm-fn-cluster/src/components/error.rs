//! Why a component was not put, got or deleted.

use std::path::PathBuf;

use async_nats::jetstream::{self, ErrorCode};
use wasm_fn_core::Digest;

use crate::link::AskError;

/// Why a component was not put, got or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// There is no such component.
    #[error("cluster has no component {digest}")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// The bytes are others.
    #[error("component has the digest {found}, expected {expected}")]
    Digest {
        /// The digest of the bytes.
        found: Digest,
        /// What they were to be.
        expected: Digest,
    },
    /// There is no room for it.
    #[error("cluster has no room for the component of {bytes} bytes: {reason}")]
    Full {
        /// Its size.
        bytes: u64,
        /// What the broker said.
        reason: String,
    },
    /// The broker did not do it.
    #[error("broker did not do what was asked of the component: {reason}")]
    Broker {
        /// Why.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("file {} cannot be read or written: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl ComponentError {
    pub(super) fn unanswered(error: AskError) -> Self {
        Self::Broker { reason: error.to_string() }
    }

    /// What the broker's refusal of a part of a component of `bytes` means.
    pub(super) fn refused(error: &jetstream::Error, bytes: u64) -> Self {
        let full = [
            ErrorCode::STREAM_STORE_FAILED,
            ErrorCode::INSUFFICIENT_RESOURCES,
            ErrorCode::STORAGE_RESOURCES_EXCEEDED,
            ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ];
        let reason = error.to_string();
        if full.contains(&error.error_code()) {
            Self::Full { bytes, reason }
        } else {
            Self::Broker { reason }
        }
    }
}
