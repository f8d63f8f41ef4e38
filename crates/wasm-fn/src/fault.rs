//! Why a command failed, for people and for programs.

use std::io;

use serde::Serialize;
use wasm_fn_api::Problem;

/// Exit code for an invalid command line: `EX_USAGE` of sysexits.h.
///
/// clap's own code, 2, would mean "rolled back".
pub(crate) const USAGE: u8 = 64;

/// Exit code for an error.
pub(crate) const ERROR: u8 = 1;

/// Exit code when the command waited for a rollout that was aborted or rolled back.
pub(crate) const ROLLED_BACK: u8 = 2;

/// Exit code when the command stopped waiting for a rollout that continues.
pub(crate) const UNDECIDED: u8 = 3;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Standard output has no reader any more. The command ends without a message.
    ReaderGone,
    /// A message to print.
    Told(Box<Told>),
}

/// The message to print.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// Stable code to branch on, such as `revision-conflict` or `unreachable`.
    pub(crate) code: String,
    /// What did not happen.
    #[serde(rename = "title")]
    pub(crate) error: String,
    /// Why it did not happen: the thing, what was found, what was expected.
    #[serde(rename = "detail")]
    pub(crate) cause: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// The HTTP status, if a node sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The node's revision, for `revision-conflict`.
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

    /// `error` did not happen because of `failure` and what caused that.
    pub(crate) fn caused(code: &str, error: impl Into<String>, failure: &anyhow::Error) -> Self {
        Self::new(code, error, causes(failure))
    }

    /// Adds advice on what to do about it.
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

    /// A write to standard output failed.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::new("output", "standard output cannot be written to", error)
    }
}

/// What `failure` and each of its causes say. Some errors end with what their cause says, which is told once.
fn causes(failure: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in failure.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
