//! Keeps the log short: has a snapshot written when there is much that the last one does not have, and then
//! takes out of the log what slow nodes no longer need. The node with the lease of housekeeping does it.
//!
//! What is taken out is in a snapshot that the bucket has. So a node that does it although another has the
//! lease meanwhile does no harm.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::Revision;

use super::Inner;
use crate::{
    HOUSEKEEPING, Leases, Replica,
    link::{AskError, Session, StreamInfo},
    snapshots::{Snapshot, SnapshotError, Snapshots},
};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long to wait after a failure.
const FAILED_WAIT: Duration = Duration::from_secs(60);

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of changes behind the last snapshot that are worth keeping for slow nodes.
const BYTES_MAX: u64 = 256 << 20;

/// A snapshot is written when the changes have this part of its size. All snapshots together are then at most
/// so many times what the changes are.
const SIZE_DIVISOR: u64 = 8;

/// What the log has, and the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Log {
    first: u64,
    last: u64,
    bytes: u64,
    /// The revision of the last snapshot and its size.
    snapshot: Option<(u64, u64)>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum TrimError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Unanswered(#[from] AskError),
    #[error("{0}")]
    Broker(String),
}

impl Log {
    /// How many changes it has, how large each is, and how many to keep behind the snapshot.
    fn sizes(&self, keep: u64) -> (u64, u64, u64) {
        // An empty stream begins behind its end.
        let count = (self.last + 1).saturating_sub(self.first.max(1));
        let each = self.bytes.checked_div(count).unwrap_or(0).max(1);
        (count, each, keep.min(BYTES_MAX / each).max(1))
    }

    /// Whether a snapshot is to be written, so that about `keep` changes stay behind the last one.
    fn is_due(&self, keep: u64) -> bool {
        let (count, each, keep) = self.sizes(keep);
        let (at, size) = self.snapshot.unwrap_or((self.first.max(1) - 1, 0));
        let new = self.last.saturating_sub(at);
        count > 0 && new >= keep && new.saturating_mul(each) >= size / SIZE_DIVISOR
    }

    /// With which revision it is to begin, if what is before can be taken out.
    fn begin(&self, keep: u64) -> Option<u64> {
        let (_, _, keep) = self.sizes(keep);
        let begin = (self.snapshot?.0 + 1).saturating_sub(keep);
        (begin > self.first).then_some(begin)
    }
}

/// Keeps the log short until `stop`.
pub(super) async fn run(
    inner: Arc<Inner<impl Replica>>,
    leases: Leases,
    snapshots: Snapshots,
    keep: u64,
    stop: CancellationToken,
) {
    let keeping = async {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = false;
        loop {
            ticks.tick().await;
            if leases.held(HOUSEKEEPING).is_none() || !inner.options.contact.is_in_touch() {
                continue;
            }
            let Some(session) = inner.options.link.session() else { continue };
            if let Err(error) = look(&inner, &session, &snapshots, keep, &mut said).await {
                tracing::warn!(%error, "log of the cluster is not trimmed");
                sleep(FAILED_WAIT).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeping => {}
    }
}

async fn look(
    inner: &Arc<Inner<impl Replica>>,
    session: &Session,
    snapshots: &Snapshots,
    keep: u64,
    said: &mut bool,
) -> Result<(), TrimError> {
    let names = &inner.options.names;
    let info = session.stream(&names.log, PATIENCE).await;
    let info = info.map_err(|error| TrimError::Broker(error.to_string()))?;
    let Some(info) = info else { return Ok(()) };
    let newest = snapshots.newest(session).await?;
    // Of a log that has not what the snapshot has, nothing may be lost.
    let own = inner.head.borrow().revision;
    if newest.as_ref().is_some_and(|newest| newest.base.revision() > own.min(Revision(info.state.last))) {
        return Ok(());
    }
    let (first, last, bytes) = (info.state.first, info.state.last, info.state.bytes);
    let of = |newest: &Option<Snapshot>| {
        let snapshot = newest.as_ref().map(|newest| (newest.base.revision().0, newest.bytes));
        Log { first, last, bytes, snapshot }
    };
    let newest = if of(&newest).is_due(keep) {
        let written = snapshots.write(session, &inner.options.replica).await?;
        let Snapshot { base, bytes } = &written;
        tracing::info!(revision = base.revision().0, bytes, "snapshot of the state was written");
        Some(written)
    } else {
        newest
    };
    if let (Some(begin), Some(newest)) = (of(&newest).begin(keep), newest)
        && may_trim(&info, said)
        && snapshots.has(session, &newest).await?
    {
        trim(session, &names.log, begin).await?;
    }
    Ok(())
}

/// Whether the log's settings let anything be taken out of it.
fn may_trim(info: &StreamInfo, said: &mut bool) -> bool {
    let may = info.config.get("deny_purge") != Some(&Value::Bool(true));
    if !may && !std::mem::replace(said, true) {
        tracing::warn!("log of the cluster was made by an earlier release, and is never trimmed");
    }
    may
}

/// Takes what is before `begin` out of the log.
async fn trim(session: &Session, log: &str, begin: u64) -> Result<(), TrimError> {
    let (what, question) = (format!("STREAM.PURGE.{log}"), json!({ "seq": begin }));
    let purged = session.ask::<Value>(&what, &question, PATIENCE).await?;
    purged.map_err(|error| TrimError::Broker(error.to_string()))?;
    tracing::info!(begin, "log of the cluster was trimmed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_kept_short_and_nothing_is_taken_out_that_no_snapshot_has() {
        let steps = |first, last, snapshot| {
            let log = Log { first, last, bytes: 100 * last, snapshot };
            (log.is_due(10), log.begin(10))
        };
        let sized = |at| Some((at, 80));
        assert_eq!(steps(0, 0, None), (false, None), "a log that never had anything");
        assert_eq!(steps(1, 9, None), (false, None));
        assert_eq!(steps(1, 10, None), (true, None));
        assert_eq!(steps(501, 509, None), (false, None), "it goes on from a node that was alone");
        assert_eq!(steps(501, 510, None), (true, None));
        assert_eq!(steps(1, 12, sized(10)), (false, None), "all of it may be needed");
        assert_eq!(steps(1, 20, sized(10)), (true, None));
        assert_eq!(steps(1, 22, sized(20)), (false, Some(11)));
        assert_eq!(steps(11, 22, sized(20)), (false, None));
        assert_eq!(steps(11, 50, sized(30)), (true, Some(21)), "never more than the snapshot has");
    }

    #[test]
    fn large_changes_are_kept_for_less_long_and_a_large_snapshot_is_written_less_often() {
        let large = Log { first: 1, last: 5, bytes: 5 * BYTES_MAX, snapshot: None };
        assert!(large.is_due(10));
        let after = Log { snapshot: Some((5, 100)), ..large };
        assert_eq!((after.is_due(10), after.begin(10)), (false, Some(5)));
        let rare = Log { first: 1, last: 29, bytes: 2900, snapshot: Some((10, 16_000)) };
        assert!(!rare.is_due(10));
        assert!(Log { last: 30, bytes: 3000, ..rare }.is_due(10));
    }
}
