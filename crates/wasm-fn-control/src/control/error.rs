//! Why the control plane does not do what it was asked.

use std::io;

use wasm_fn_core::{Digest, Revision};
use wasm_fn_store::StoreError;

use crate::{host::Rejection, publish::TableError, state::ChangeError};

/// A change that was not made; the state is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state does not allow it.
    #[error(transparent)]
    Plan(#[from] ChangeError),
    /// Somebody else was faster.
    #[error("state is at revision {found}, expected {expected}")]
    Conflict {
        /// The revision expected.
        expected: Revision,
        /// The revision found.
        found: Revision,
    },
    /// The component was not uploaded.
    #[error("component {0} is not on this node, expected it to be uploaded first")]
    ComponentMissing(Digest),
    /// The host refuses the component.
    #[error("{}", .0.message)]
    Rejected(Rejection),
    /// Too much at once.
    #[error("{found} {what} are under way, expected at most {found}")]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state makes no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk.
    #[error("component cannot be read: {0}")]
    Disk(#[from] io::Error),
    /// Another process has the state now.
    #[error("the change was not made: another process takes this node over")]
    HandedOver,
    /// The node is stopping.
    #[error("the change was interrupted: the node is stopping")]
    Interrupted,
}
