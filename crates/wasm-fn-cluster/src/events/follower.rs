//! Follows the log of changes, and applies to the node's own inbox what comes.
//!
//! The broker says when there is a message, and is asked for it, unless this node has sent it. It is asked
//! once a second which is the last, so that news that did not come delays a change, and is never waited for.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::Revision;
use wasm_fn_store::{AppliedEntry, LogPlace, StoreError};

use super::{
    inner::Inner,
    message::{self, Changes, ChangesError},
    snapshot::{self, Snapshot},
};
use crate::{
    ClusterError,
    link::{AskError, DEPOSED_LEADER_MAX, Kept, MESSAGE_ID, Session, StreamInfo, Subscription},
};

/// How often the log is asked for its last message.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon a log that is not obeyed, or an inbox that takes nothing, is tried again.
const FAULT_WAIT: Duration = Duration::from_secs(1);

/// Questions that are asked before the first is answered.
const IN_FLIGHT: usize = 16;

/// Messages that are applied at once.
const MESSAGES_MAX: u64 = 256;

/// Bytes after which no more are applied at once.
const BYTES_MAX: usize = 8 << 20;

/// The header with the number of a message that the broker tells of.
const SEQUENCE: &str = "Nats-Sequence";

/// An answer that is waited for, with what was known when it was asked for.
type Checking = Pin<Box<dyn Future<Output = (Begun, Result<Option<StreamInfo>, ClusterError>)> + Send>>;

/// When the log was asked for its last message, and what was applied then, which it has to have.
#[derive(Clone, Copy)]
struct Begun {
    when: Instant,
    at: u64,
}

/// Why the follower stops to follow over a connection.
enum End {
    /// The connection is of no use.
    Lost(String),
    /// The log is not obeyed, or the inbox takes nothing.
    Fault(StoreError),
}

/// A message of the log.
enum Found {
    /// One that this node has sent, by its id.
    Own(String),
    Foreign(Changes),
}

struct Following<'a> {
    inner: &'a Arc<Inner>,
    session: &'a Session,
    /// What tells the log from others, once it was checked over this connection.
    log: Option<u64>,
    answered: Instant,
}

pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let (mut number, mut shorter) = (0, None);
    loop {
        let session = tokio::select! {
            () = stop.cancelled() => return,
            session = inner.options.link.session_after(number) => session,
        };
        number = session.number();
        inner.checked.send_replace(0);
        let end = tokio::select! {
            () = stop.cancelled() => return,
            reason = session.ended() => End::Lost(reason),
            end = follow(&inner, &session, &mut shorter) => end,
        };
        inner.checked.send_replace(0);
        match end {
            End::Lost(reason) => session.end(reason),
            End::Fault(error) => {
                inner.fail(error);
                // The same connection is as good as before.
                number -= 1;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(FAULT_WAIT) => {}
                }
            }
        }
    }
}

async fn follow(inner: &Arc<Inner>, session: &Session, shorter: &mut Option<Instant>) -> End {
    let mut following = Following { inner, session, log: None, answered: Instant::now() };
    let mut told = match session.subscribe(&inner.options.names.changed).await {
        Ok(told) => told,
        Err(error) => return End::Lost(error.to_string()),
    };
    match following.run(&mut told, shorter).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

impl Following<'_> {
    async fn run(
        &mut self,
        told: &mut Subscription,
        shorter: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, End> {
        let mut ticks = interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reached = self.inner.news.watch();
        let mut checking: Option<Checking> = None;
        loop {
            let check = async {
                match &mut checking {
                    Some(checking) => checking.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                message = told.next() => {
                    let lost = || End::Lost("connection to the broker was lost".to_owned());
                    let headers = message.ok_or_else(lost)?.headers;
                    let sequence = headers.get(SEQUENCE).and_then(|sequence| sequence.as_str().parse().ok());
                    if let Some(sequence) = sequence {
                        let id = headers.get(MESSAGE_ID).map(|id| id.as_str());
                        let own = id.filter(|id| self.inner.sent.has(id));
                        self.inner.news.heard(sequence, own.map(str::to_owned));
                    }
                }
                _ = reached.changed() => {}
                _ = ticks.tick() => {
                    checking.get_or_insert_with(|| {
                        let (session, names) = (self.session.clone(), self.inner.options.names.clone());
                        let begun = Begun { when: Instant::now(), at: self.inner.place().sequence };
                        Box::pin(async move { (begun, session.stream(&names.events, PATIENCE).await) })
                    });
                }
                (begun, info) = check => {
                    checking = None;
                    self.take(begun, info, shorter).await?;
                }
            }
            self.catch_up().await?;
        }
    }

    /// Takes what the broker says of the log.
    async fn take(
        &mut self,
        Begun { when, at }: Begun,
        info: Result<Option<StreamInfo>, ClusterError>,
        shorter: &mut Option<Instant>,
    ) -> Result<(), End> {
        let info = match info {
            Ok(Some(info)) => info,
            Ok(None) => return Err(End::Lost("log of the inbox is gone".to_owned())),
            Err(error) => return self.unanswered(error.to_string()),
        };
        self.answered = Instant::now();
        let (log, place) = (message::mark(info.created.as_bytes()), self.inner.place());
        if place.log != 0 && place.log != log {
            let reason = "it is another log than the one whose changes this node has".to_owned();
            return Err(End::Fault(diverged(place.sequence, reason)));
        }
        if info.state.last < at {
            let since = *shorter.get_or_insert(when);
            let last = info.state.last;
            let reason = format!("log of the inbox ends with {last}, expected {at} or a later one");
            if info.cluster.is_none() || when.saturating_duration_since(since) > DEPOSED_LEADER_MAX {
                return Err(End::Fault(diverged(last + 1, reason)));
            }
            tracing::warn!(reason, "log of the inbox is not followed");
            self.log = None;
            self.inner.checked.send_replace(0);
            return Ok(());
        }
        *shorter = None;
        self.inner.news.heard(info.state.last, None);
        if self.log != Some(log) {
            self.check(&info, place).await?;
            self.log = Some(log);
            self.inner.mend();
            self.inner.checked.send_replace(self.session.number());
        }
        self.inner.log_bytes.send_replace(info.state.bytes);
        Ok(())
    }

    /// Checks that the log goes on from what was applied. If it has been shortened since, begins from its
    /// snapshot.
    async fn check(&self, info: &StreamInfo, place: LogPlace) -> Result<(), End> {
        let first = info.state.first.max(1);
        if place.log == 0 || place.sequence + 1 < first {
            let found = snapshot::read(self.session, &self.inner.options.names).await;
            let found = match found {
                Ok(found) => found,
                Err(error) => return self.unanswered(error.to_string()),
            };
            return match found {
                Some(snapshot) if place.log == 0 || snapshot.sequence > place.sequence => {
                    self.begin_from(&snapshot).await
                }
                _ if place.sequence + 1 >= first => Ok(()),
                _ => {
                    let reason = format!("log of the inbox begins with {first}, and there is no snapshot");
                    Err(End::Fault(diverged(place.sequence + 1, reason)))
                }
            };
        }
        if place.sequence < first {
            return Ok(());
        }
        let kept = self.session.message(&self.inner.options.names.events, place.sequence, PATIENCE).await;
        match kept {
            Ok(Some(kept)) if message::mark(&kept.payload) == place.digest => Ok(()),
            Ok(_) => {
                let reason = "log of the inbox has another change there than this node has".to_owned();
                Err(End::Fault(diverged(place.sequence, reason)))
            }
            Err(error) => self.unanswered(error.to_string()),
        }
    }

    async fn begin_from(&self, snapshot: &Snapshot) -> Result<(), End> {
        let installed = snapshot::install(self.inner, snapshot).await;
        installed.map_err(|error| match error {
            snapshot::SnapshotError::Store(error) => End::Fault(error),
            error => End::Lost(error.to_string()),
        })
    }

    /// Applies what the log is known to have.
    async fn catch_up(&mut self) -> Result<(), End> {
        let Some(log) = self.log else { return Ok(()) };
        loop {
            let (at, target) = (self.inner.place().sequence, self.inner.news.target());
            if at >= target {
                return Ok(());
            }
            let found = self.read(at + 1, target.min(at + MESSAGES_MAX)).await?;
            if found.is_empty() {
                // Whoever was asked may not have it yet: the next check says what there is.
                return Ok(());
            }
            self.apply(log, at, found).await?;
        }
    }

    /// Some messages from `from` on, without a gap.
    async fn read(&mut self, from: u64, to: u64) -> Result<Vec<Found>, End> {
        let own = self.inner.news.own(from, to);
        let (session, inner) = (self.session, self.inner);
        let asked = stream::iter(from..=to).map(|sequence| {
            let own = own.get(&sequence).cloned();
            async move {
                match own {
                    Some(id) => Ok::<_, AskError>(Some(Asked::Own(id))),
                    None => {
                        let kept = session.message(&inner.options.names.events, sequence, PATIENCE).await?;
                        Ok(kept.map(Asked::Kept))
                    }
                }
            }
        });
        let mut answers = std::pin::pin!(asked.buffered(IN_FLIGHT));
        let (mut found, mut bytes, mut sequence) = (Vec::new(), 0, from);
        while let Some(answer) = answers.next().await {
            let next = match answer {
                Ok(Some(Asked::Own(id))) => Found::Own(id),
                Ok(Some(Asked::Kept(kept))) => self.of_kept(sequence, kept)?,
                Ok(None) => break,
                // What was read before is of use.
                Err(_) if !found.is_empty() => break,
                Err(error) => {
                    self.unanswered(error.to_string())?;
                    break;
                }
            };
            self.answered = Instant::now();
            bytes += match &next {
                Found::Own(_) => message::BATCH_BYTES,
                Found::Foreign(changes) => changes.changes.iter().map(message::size).sum(),
            };
            found.push(next);
            sequence += 1;
            if bytes > BYTES_MAX {
                break;
            }
        }
        Ok(found)
    }

    fn of_kept(&self, sequence: u64, kept: Kept) -> Result<Found, End> {
        if let Some(id) = kept.header(MESSAGE_ID).filter(|id| self.inner.sent.has(id)) {
            return Ok(Found::Own(id.to_owned()));
        }
        match message::read(&kept.payload) {
            Ok(changes) => Ok(Found::Foreign(changes)),
            Err(ChangesError::Newer { found }) => Err(End::Fault(StoreError::Newer {
                path: self.inner.options.names.events.as_ref().into(),
                found,
                known: message::FORMAT,
            })),
            Err(error) => Err(End::Fault(diverged(sequence, error.to_string()))),
        }
    }

    /// Applies messages that follow `at`.
    async fn apply(&self, log: u64, at: u64, found: Vec<Found>) -> Result<(), End> {
        let inner = Arc::clone(self.inner);
        // It goes on if this is dropped: what was taken out of what is on its way would else be lost.
        let applied = tokio::spawn(async move {
            let (mut entries, mut own) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
            for (sequence, found) in (at + 1..).zip(found) {
                let (digest, now_ms, changes) = match found {
                    Found::Own(id) => {
                        let Some(batch) = inner.sent.take(&id) else {
                            // It was given up, and is read like any other.
                            inner.news.forget(sequence);
                            break;
                        };
                        let of = (message::mark(&batch.payload), batch.now_ms, batch.to_apply());
                        own.push(Some((id, batch)));
                        of
                    }
                    Found::Foreign(Changes { mark, now_ms, changes, .. }) => {
                        own.push(None);
                        (mark, now_ms, changes.into_iter().map(|change| (change, None)).collect())
                    }
                };
                entries.push(AppliedEntry { place: LogPlace { log, sequence, digest }, now_ms, changes });
            }
            let Some(place) = entries.last().map(|entry| entry.place) else { return Ok(()) };
            let own = own.into_iter();
            match inner.options.replica.apply(entries).await {
                Ok(outcomes) => {
                    inner.place.send_replace(place);
                    inner.news.applied(place.sequence);
                    for (own, outcomes) in own.zip(outcomes) {
                        if let Some((_, batch)) = own {
                            inner.settle(batch.changes, outcomes);
                        }
                    }
                    Ok(())
                }
                Err(error) => {
                    own.flatten().for_each(|(id, batch)| inner.sent.put(id, batch));
                    Err(error)
                }
            }
        });
        match applied.await {
            Ok(applied) => applied.map_err(End::Fault),
            Err(error) => Err(End::Lost(error.to_string())),
        }
    }

    /// Nothing came for a question. The connection is given up if that has been so for the time of a lease.
    fn unanswered(&self, reason: String) -> Result<(), End> {
        if self.answered.elapsed() > self.inner.options.lease {
            return Err(End::Lost(reason));
        }
        tracing::debug!(reason, "log of the inbox was not read");
        Ok(())
    }
}

/// What is known of a message before it is read.
enum Asked {
    Own(String),
    Kept(Kept),
}

fn diverged(sequence: u64, reason: String) -> StoreError {
    StoreError::Diverged { revision: Revision(sequence), reason }
}
