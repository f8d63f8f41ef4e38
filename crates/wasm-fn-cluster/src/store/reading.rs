//! Reads the log. Its leader answers every question.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use wasm_fn_core::Revision;
use wasm_fn_store::{Commit, Record};

use super::Fault;
use crate::{
    ClusterError,
    link::{AskError, Session},
    log::{self, MessageError},
    names::Names,
};
use wasm_fn_queue::BrokerError;

/// Questions that are asked before the first is answered.
const IN_FLIGHT: usize = 32;

/// Commits of one batch at most.
const BATCH_MAX: u64 = 1000;

/// Bytes after which a batch ends.
const BATCH_BYTES: usize = 8 << 20;

/// What the log has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogState {
    /// When it was made, which tells it from others of its name.
    pub(super) created: String,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether several servers have it, one of which may not know yet that it leads no longer.
    pub(super) is_replicated: bool,
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// There is no such message.
    Missing(u64),
    /// The log begins with this revision, and the replica ends before the one before.
    Behind(Revision),
    /// It cannot be obeyed.
    Fault(Fault),
    /// There is no answer.
    Unanswered(AskError),
}

/// What the log has. `None` as an error says that the connection is of no use.
pub(super) async fn state(
    session: &Session,
    names: &Names,
    patience: Duration,
) -> Result<LogState, ReadError> {
    let info = session.stream(&names.log, patience).await;
    let unanswered = |error| ReadError::Unanswered(error);
    let info = info.map_err(|error| {
        unanswered(match error {
            ClusterError::Broker(BrokerError::Silent) => AskError::Silent,
            ClusterError::Broker(BrokerError::NoJetStream) => AskError::Nobody,
            ClusterError::Broker(BrokerError::Disconnected) => AskError::Lost,
            error => AskError::Answer(error.to_string()),
        })
    })?;
    // A new connection names what is wrong.
    let info = info.ok_or_else(|| unanswered(AskError::Lost))?;
    let replicas = info.config.get("num_replicas").and_then(serde_json::Value::as_u64);
    Ok(LogState {
        created: info.created,
        first: info.state.first,
        last: info.state.last,
        is_replicated: replicas.is_some_and(|replicas| replicas > 1),
    })
}

/// Some commits after `revision`, up to `last` at most.
pub(super) async fn after(
    session: &Session,
    names: &Names,
    revision: Revision,
    last: u64,
    patience: Duration,
) -> Result<Vec<Commit>, ReadError> {
    let last = last.min(revision.0.saturating_add(BATCH_MAX));
    let asked = stream::iter(revision.next().0..=last).map(|sequence| async move {
        let asked = session.message(&names.log, sequence, patience).await;
        (sequence, asked)
    });
    let mut answers = std::pin::pin!(asked.buffered(IN_FLIGHT));
    let (mut commits, mut bytes) = (Vec::new(), 0);
    while let Some((sequence, answer)) = answers.next().await {
        let kept = match answer {
            Ok(Some(kept)) => kept,
            // What was read before is of use.
            _ if !commits.is_empty() => break,
            Ok(None) => return Err(ReadError::Missing(sequence)),
            Err(error) => return Err(ReadError::Unanswered(error)),
        };
        bytes += kept.payload.len();
        match read(names, sequence, &kept.payload) {
            Ok(commit) => commits.push(commit),
            Err(_) if !commits.is_empty() => break,
            Err(fault) => return Err(ReadError::Fault(fault)),
        }
        if bytes > BATCH_BYTES {
            break;
        }
    }
    Ok(commits)
}

fn read(names: &Names, sequence: u64, payload: &[u8]) -> Result<Commit, Fault> {
    log::read(sequence, payload).map_err(|error| match error {
        MessageError::Newer { found } => Fault::Newer { log: names.log.to_string(), found },
        MessageError::Malformed(reason) => Fault::Diverged { revision: Revision(sequence), reason },
    })
}

/// Checks that the log, which has `state`, goes on from `end`, the last record of the replica. The log has to
/// reach that far, and may begin later.
pub(super) async fn check_end(
    session: &Session,
    names: &Names,
    state: &LogState,
    end: Option<&Record>,
    patience: Duration,
) -> Result<(), ReadError> {
    let at = end.map_or(Revision(0), |record| record.revision);
    let diverged = |revision, reason| Err(ReadError::Fault(Fault::Diverged { revision, reason }));
    // A stream that never had a message begins with the number 0.
    let first = Revision(state.first.max(1));
    if at.next() < first || session.record().base_revision() > at {
        return Err(ReadError::Behind(first));
    }
    let base = session.record().base.as_ref();
    if let (Some(base), Some(end)) = (base, end)
        && base.revision() == at
    {
        let reason = "the cluster began with another record of that revision";
        return if base.is_at(end) { Ok(()) } else { diverged(at, reason.to_owned()) };
    }
    let Some(end) = end else { return Ok(()) };
    if at.next() == first {
        // Whether the next record follows is checked when it is applied.
        return Ok(());
    }
    let kept = session.message(&names.log, at.0, patience).await.map_err(ReadError::Unanswered)?;
    let Some(kept) = kept else { return Err(ReadError::Missing(at.0)) };
    let commit = read(names, at.0, &kept.payload).map_err(ReadError::Fault)?;
    if commit.record == end.text {
        return Ok(());
    }
    diverged(at, "log has another record of that revision than this node has".to_owned())
}
