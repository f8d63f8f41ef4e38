//! What can go wrong with a registry.

use std::time::Duration;

use wasm_fn_core::Digest;

use crate::{reference::Reference, signature::SignatureError};

/// Longest text of a registry in a message, characters.
const TEXT_CHARS_MAX: usize = 200;

/// Why something could not be resolved, pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error("registry {registry} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// The innermost error.
        cause: String,
    },
    /// Its certificate is not trusted.
    #[error("the certificate of registry {registry} is not trusted: {cause}")]
    Untrusted {
        /// Host and port.
        registry: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It, its token service or its storage is where nothing may be read from.
    #[error("registry {registry} cannot be asked: {cause}")]
    Prohibited {
        /// Host and port.
        registry: String,
        /// The host and its address.
        cause: String,
    },
    /// It took too long.
    #[error("registry {registry} was not done within {}", humantime::format_duration(*.within))]
    TimedOut {
        /// Host and port.
        registry: String,
        /// How long it may take.
        within: Duration,
    },
    /// The credentials do not suffice, or there are none.
    #[error("registry {registry} refuses access to {repository} {}: {cause}", credentials(*.had))]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// The repository.
        repository: String,
        /// Whether there were credentials.
        had: bool,
        /// What the registry says.
        cause: String,
    },
    /// There is no such tag or digest.
    #[error("registry has no {0}: {1}")]
    NotFound(Reference, String),
    /// The manifest is there, and what it names is not.
    #[error("the module of {0} is not in the registry any more: {1}")]
    ModuleGone(Reference, String),
    /// Something that is not a module.
    #[error("{reference} is {found}, expected an artifact with one layer of type application/wasm")]
    NotWasm {
        /// The artifact.
        reference: Reference,
        /// What it is.
        found: String,
    },
    /// A file to push that is not a module.
    #[error("it is not WebAssembly: {0}")]
    NotAModule(String),
    /// The module is larger than the caller takes.
    #[error("the module of {reference} has {found} bytes, expected at most {max} bytes")]
    TooLarge {
        /// The artifact.
        reference: Reference,
        /// Its size.
        found: u64,
        /// The largest size.
        max: u64,
    },
    /// What came is not what was asked for.
    #[error("the {what} of {reference} has the digest sha256:{found}, expected sha256:{expected}")]
    DigestMismatch {
        /// `manifest` or `module`.
        what: &'static str,
        /// The artifact.
        reference: Box<Reference>,
        /// The digest of what came.
        found: Digest,
        /// The digest that was asked for.
        expected: Digest,
    },
    /// A refusal for another reason.
    #[error("registry {registry} answers with status {status}: {cause}")]
    Refused {
        /// Host and port.
        registry: String,
        /// HTTP status.
        status: u16,
        /// What the registry says.
        cause: String,
    },
    /// An answer that the specification does not allow.
    #[error("registry {registry} does not answer as a registry: {cause}")]
    Malformed {
        /// Host and port.
        registry: String,
        /// What is wrong.
        cause: String,
    },
    /// No good signature.
    #[error("{reference} is not verified: {cause}")]
    Signature {
        /// The artifact.
        reference: Reference,
        /// What is wrong.
        cause: SignatureError,
    },
    /// What was pulled could not be written.
    #[error("what was pulled cannot be written")]
    Write(#[source] std::io::Error),
    /// This machine's own setup, such as its certificates.
    #[error("no client for registries can be made: {0}")]
    Setup(String),
}

fn credentials(had: bool) -> &'static str {
    if had { "with these credentials" } else { "without credentials" }
}

/// What a registry says, in a form that can be shown: one line, bounded.
pub(crate) fn shown(text: &str) -> String {
    let text = text.trim();
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The innermost cause of an error. The outer ones repeat the address.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    shown(&inner.to_string())
}

/// The error of type `E` among an error and its causes.
pub(crate) fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| {
        // What an error of input or output carries is not its source.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let carried = carried.and_then(|carried| find(carried));
        error.downcast_ref().or(carried)
    })
}
