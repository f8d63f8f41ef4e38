//! A commit as a message of the log. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_store::{Commit, Subject};

/// The newest format of messages that this program reads, and the one that it writes.
pub(crate) const FORMAT: u64 = 1;

/// Why a message is no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// A newer program wrote it.
    #[error("message has format {found}, expected at most {FORMAT}")]
    Newer {
        /// The format found.
        found: u64,
    },
    /// It is something else.
    #[error("message is no commit: {0}")]
    Malformed(String),
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

#[derive(Serialize, Deserialize)]
struct Message {
    format: u64,
    revision: u64,
    subject: MessageSubject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    record: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forgets_traps: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MessageSubject {
    Function(String),
    Access,
}

/// The message of `commit`.
pub(crate) fn write(commit: &Commit) -> Bytes {
    let Commit { revision, subject, document, record, forgets_traps } = commit;
    let message = Message {
        format: FORMAT,
        revision: revision.0,
        subject: match subject {
            Subject::Function(function) => MessageSubject::Function(function.to_string()),
            Subject::Access => MessageSubject::Access,
        },
        document: document.clone(),
        record: record.clone(),
        forgets_traps: *forgets_traps,
    };
    serde_json::to_vec(&message).expect("a struct of texts and numbers is JSON").into()
}

/// The commit that the message with the number `sequence` is.
pub(crate) fn read(sequence: u64, payload: &[u8]) -> Result<Commit, MessageError> {
    let malformed = |error: serde_json::Error| MessageError::Malformed(error.to_string());
    let AnyFormat { format } = serde_json::from_slice(payload).map_err(malformed)?;
    if format > FORMAT {
        return Err(MessageError::Newer { found: format });
    }
    let message: Message = serde_json::from_slice(payload).map_err(malformed)?;
    if message.revision != sequence {
        let reason = format!("it is of revision {}, expected {sequence}", message.revision);
        return Err(MessageError::Malformed(reason));
    }
    let subject = match message.subject {
        MessageSubject::Function(name) => {
            let name: Result<FunctionName, _> = name.parse();
            Subject::Function(name.map_err(|error| MessageError::Malformed(error.to_string()))?)
        }
        MessageSubject::Access => Subject::Access,
    };
    Ok(Commit {
        revision: Revision(sequence),
        subject,
        document: message.document,
        record: message.record,
        forgets_traps: message.forgets_traps,
    })
}

#[cfg(test)]
mod tests;
