//! Why the control plane refuses a request.

use std::io;

use wasm_fn_core::{Digest, FunctionName, Revision, TokenName};
use wasm_fn_secrets::KeyError;
use wasm_fn_store::StoreError;

use crate::{
    access::TokenError, host::Rejection, publish::TableError, secrets::SecretsError, state::ChangeError,
};

/// Why a change was not made. The state stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state does not allow it.
    #[error(transparent)]
    Plan(#[from] ChangeError),
    /// The function has changed after the revision that was expected, or the state is older than that.
    #[error("`{function}` is at revision {found}, expected {expected}")]
    Conflict {
        /// The function.
        function: FunctionName,
        /// The revision expected.
        expected: Revision,
        /// The revision of the function's last change.
        found: Revision,
    },
    /// The component was not uploaded.
    #[error("component {0} is not on this node, expected it to be uploaded first")]
    ComponentMissing(Digest),
    /// The host refuses the component.
    #[error("{}", .0.message)]
    Rejected(Rejection),
    /// Too many of them are under way.
    #[error("{found} {what} are under way, expected at most {found}")]
    Busy {
        /// The kind of work.
        what: &'static str,
        /// How many of them are under way.
        found: usize,
    },
    /// A secret in the data directory cannot be replaced.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A version cannot have its secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The keys of secrets cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed, and what was to be taken away is refused for a while.
    #[error("{cause}")]
    Suspended {
        /// The token.
        token: TokenName,
        /// Why it is not taken away for good.
        cause: StoreError,
    },
    /// No table can be built from the state.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The disk failed.
    #[error("data directory cannot be read or written: {0}")]
    Disk(#[from] io::Error),
    /// The node shares it with others.
    #[error("{0} is part of the key of the cluster, expected a node that is alone")]
    OfCluster(&'static str),
    /// Another process has the state now.
    #[error("the change was not made: another process is taking this node over")]
    HandedOver,
    /// The node is stopping.
    #[error("the change was interrupted: the node is stopping")]
    Interrupted,
}
