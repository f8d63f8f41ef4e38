//! Why the admin API gave no answer.

use std::{error::Error, io, time::Duration};

use http::uri::Authority;
use hyper_util::client::legacy;
use wasm_fn_api::Problem;

use crate::fault::Fault;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there.
    #[error("no node answers at http://{node}: {cause}")]
    Unreachable { node: Authority, cause: String },
    /// The connection ended before the answer did.
    #[error("the node at http://{node} ended the connection: {cause}")]
    Ended { node: Authority, cause: String },
    /// The node takes too long.
    #[error("the node at http://{node} did not answer within {wait:?}")]
    Slow { node: Authority, wait: Duration },
    /// The node refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something else than a node answers, or one of another version.
    #[error("the answer of http://{node} cannot be read: {what}")]
    Unexpected { node: Authority, what: String },
    /// The file to send cannot be read.
    #[error("the file cannot be read: {0}")]
    File(io::Error),
    /// The request cannot be written as a URL.
    #[error("the request cannot be written: {0}")]
    Query(String),
}

impl ClientError {
    /// What hyper's client says.
    pub(super) fn transport(node: &Authority, error: &legacy::Error) -> Self {
        let (node, cause) = (node.clone(), innermost(error));
        if error.is_connect() { Self::Unreachable { node, cause } } else { Self::Ended { node, cause } }
    }

    /// The body of an answer did not end well.
    pub(super) fn ended_early(node: &Authority, error: &(dyn Error + 'static)) -> Self {
        Self::Ended { node: node.clone(), cause: innermost(error) }
    }

    /// Whether the same request may be answered a little later: the node is away, or cannot answer now.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Ended { .. } | Self::Slow { .. } => true,
            Self::Refused(problem) => problem.status >= 500,
            Self::Unexpected { .. } | Self::File(_) | Self::Query(_) => false,
        }
    }

    /// The fault of a command that wanted to do something: `error` says what did not happen.
    pub(crate) fn fault(self, error: impl Into<String>) -> Fault {
        let code = match self {
            Self::Refused(problem) => return Fault::refused(error, *problem),
            Self::Unreachable { .. } => {
                return Fault::new("unreachable", error, self).help(
                    "start a node with `wasm-fn serve`, or name another one with --server or WASM_FN_SERVER",
                );
            }
            Self::Ended { .. } => "connection-ended",
            Self::Slow { .. } => "timeout",
            Self::Unexpected { .. } => {
                return Fault::new("unexpected-answer", error, self).help(
                    "check that --server names the admin address, not the one where functions are called",
                );
            }
            Self::File(_) => "unreadable-file",
            Self::Query(_) => "invalid-request",
        };
        Fault::new(code, error, self)
    }
}

/// The last cause, which is the one that the system names.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
