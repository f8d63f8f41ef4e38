//! Why the admin API did not answer.

use std::{error::Error, io, time::Duration};

use hyper_util::client::legacy;
use wasm_fn_api::Problem;

use super::SessionError;
use crate::{config::NodeAddress, fault::Fault};

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there.
    #[error("no node answers at {node}: {cause}")]
    Unreachable { node: NodeAddress, cause: String },
    /// What is there does not prove that it is the node.
    #[error("{node} has no certificate that can be trusted: {cause}")]
    Untrusted { node: NodeAddress, cause: String },
    /// The connection ended before the answer did.
    #[error("the node at {node} ended the connection: {cause}")]
    Ended { node: NodeAddress, cause: String },
    /// The node took too long.
    #[error("the node at {node} did not answer within {wait:?}")]
    Slow { node: NodeAddress, wait: Duration },
    /// The node refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The server is not a node, or is a node of another version.
    #[error("the answer of {node} cannot be read: {what}")]
    Unexpected { node: NodeAddress, what: String },
    /// The address is the one that serves functions.
    #[error("{node} serves functions, expected the address of the admin API")]
    DataPlane { node: NodeAddress },
    /// The file to send cannot be read.
    #[error("the file cannot be read: {0}")]
    File(io::Error),
    /// The user's login does not give a token.
    #[error(transparent)]
    Session(#[from] Box<SessionError>),
    /// The request cannot be written as a URL.
    #[error("the request cannot be written: {0}")]
    Query(String),
}

impl ClientError {
    /// Converts an error of hyper's client.
    pub(super) fn transport(node: &NodeAddress, error: &legacy::Error) -> Self {
        let (node, cause) = (node.clone(), innermost(error));
        if is_of_certificate(error) {
            Self::Untrusted { node, cause }
        } else if error.is_connect() {
            Self::Unreachable { node, cause }
        } else {
            Self::Ended { node, cause }
        }
    }

    /// The body of an answer broke off.
    pub(super) fn ended_early(node: &NodeAddress, error: &(dyn Error + 'static)) -> Self {
        Self::Ended { node: node.clone(), cause: innermost(error) }
    }

    /// Whether the same request may succeed later: the node is unreachable, or cannot answer now.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Ended { .. } | Self::Slow { .. } => true,
            Self::Refused(problem) => problem.status >= 500,
            Self::Session(error) => error.is_passing(),
            Self::Untrusted { .. }
            | Self::Unexpected { .. }
            | Self::DataPlane { .. }
            | Self::File(_)
            | Self::Query(_) => false,
        }
    }

    /// Turns this into a command's fault; `error` says what did not happen.
    pub(crate) fn fault(self, error: impl Into<String>) -> Fault {
        let code = match self {
            Self::Refused(problem) => return Fault::refused(error, *problem),
            Self::Session(session) => return session.fault(error),
            Self::Unreachable { .. } => {
                return Fault::new("unreachable", error, self).help(
                    "start a node with `wasm-fn serve`, or choose another one with --server or WASM_FN_SERVER",
                );
            }
            Self::Untrusted { .. } => {
                return Fault::new("untrusted-node", error, self).help(
                    "pass the certificate of the authority that issued it with --ca or WASM_FN_CA, and name the node as its certificate does",
                );
            }
            Self::Ended { .. } => "connection-ended",
            Self::Slow { .. } => "timeout",
            Self::Unexpected { .. } => {
                return Fault::new("unexpected-answer", error, self).help(
                    "check that --server is the address of the admin API, not the one that serves functions",
                );
            }
            Self::DataPlane { .. } => {
                return Fault::new("not-the-admin-api", error, self).help(
                    "pass it with --server or WASM_FN_SERVER; `wasm-fn serve` logs it as `admin`, by default 127.0.0.1:8081",
                );
            }
            Self::File(_) => "unreadable-file",
            Self::Query(_) => "invalid-request",
        };
        Fault::new(code, error, self)
    }
}

/// Whether a certificate of the server is at fault.
fn is_of_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // The source of such an error is not the error in it, but the source of that.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

/// The last cause in the chain, which is the one from the system.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
