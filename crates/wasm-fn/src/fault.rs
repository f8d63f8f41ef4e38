//! Why a command ends without success, as people and programs are told.

use std::io;

use serde::Serialize;
use wasm_fn_api::Problem;

/// Exit code of a command line that is wrong: `EX_USAGE` of sysexits.h.
///
/// clap's own 2 would read as "rolled back".
pub(crate) const USAGE: u8 = 64;

/// Exit code of an error.
pub(crate) const ERROR: u8 = 1;

/// Exit code of a rollout that was waited for, and was aborted or rolled back.
pub(crate) const ROLLED_BACK: u8 = 2;

/// Exit code of a rollout that was waited for, and goes on.
pub(crate) const UNDECIDED: u8 = 3;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody reads standard output any more: the end, and nothing to tell.
    ReaderGone,
    /// Something to tell.
    Told(Box<Told>),
}

/// What is told.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// Stable word to branch on, such as `revision-conflict` or `unreachable`.
    pub(crate) code: String,
    /// What did not happen.
    #[serde(rename = "title")]
    pub(crate) error: String,
    /// Why: the thing, what was found, what was expected.
    #[serde(rename = "detail")]
    pub(crate) cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// The HTTP status, when a node said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The revision that the node has, with `revision-conflict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
}

impl Fault {
    /// `error` did not happen because of `cause`.
    pub(crate) fn new(code: &str, error: impl Into<String>, cause: impl ToString) -> Self {
        Self::Told(Box::new(Told {
            code: code.to_owned(),
            error: error.into(),
            cause: cause.to_string(),
            help: None,
            status: None,
            revision: None,
        }))
    }

    /// With what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.help = Some(help.into());
        }
        self
    }

    /// `error` did not happen because the node refused.
    pub(crate) fn refused(error: impl Into<String>, problem: Problem) -> Self {
        let Problem { status, detail, code, help, revision, .. } = problem;
        let (status, error) = (Some(status), error.into());
        Self::Told(Box::new(Told { code, error, cause: detail, help, status, revision }))
    }

    /// Standard output took no more.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::new("output", "standard output cannot be written", error)
    }
}
