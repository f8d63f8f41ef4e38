//! Follows the log: applies what it has after the replica's end, and proves that it has everything.
//!
//! The broker says when there is a commit, and is asked for it. It is asked once a second which is the last,
//! so that a message that did not come delays a commit, and is never waited for.

use std::{collections::VecDeque, future::pending, pin::Pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::{NodeName, Revision};
use wasm_fn_store::Record;

use super::{
    Fault, Inner, StoreOptions,
    reading::{self, LogState, ReadError},
};
use crate::{
    Replica,
    contact::patience,
    link::{AskError, DEPOSED_LEADER_MAX, Session, Subscription},
    snapshots::SnapshotError,
};

/// How often the log is asked for its last message at least, and how often in the time of a lease: one answer
/// may be late without the node being out of touch.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECKS_IN_LEASE: u32 = 5;

/// For how long a message may be gone of a log that was just asked for its state, and is trimmed meanwhile.
const TRIMMED_WAIT: Duration = Duration::from_secs(3);

/// How soon a replica that takes nothing is tried again.
const REPLICA_WAIT: Duration = Duration::from_secs(1);

/// How often a message is looked for that the log says it has.
const MISSING_MAX: u32 = 3;

/// The header with the number of a message that the broker tells of.
const SEQUENCE: &str = "Nats-Sequence";

/// An answer that is waited for, with what was known when it was asked for.
type Checking = Pin<Box<dyn Future<Output = (Asked, Result<LogState, ReadError>)> + Send>>;

/// Why the follower stops to follow over a connection.
enum End {
    /// The connection is of no use.
    Lost(String),
    Fault(Fault),
}

/// What was known when the log was asked for its last message.
struct Asked {
    when: Instant,
    /// What the replica had, which the log has to have.
    at: Revision,
    /// The node whose replica was the furthest, and how far it was, which the log has to have, too.
    furthest: Option<(NodeName, Revision)>,
}

/// What is known over one connection.
struct Following<'a, R> {
    inner: &'a Arc<Inner<R>>,
    session: &'a Session,
    /// The last message that the log is known to have.
    target: u64,
    /// What the log was when the replica's end was last compared with it.
    checked: Option<LogState>,
    /// When questions were asked, and what has to be applied for each to prove something.
    unproved: VecDeque<(Instant, u64)>,
    answered: Instant,
    /// How often a message was looked for in vain.
    missing: u32,
    /// Since when the broker does not have what the replica needs to go on.
    missed: Option<Instant>,
}

pub(super) async fn run<R: Replica>(inner: Arc<Inner<R>>, stop: CancellationToken) {
    let (mut number, mut shorter) = (0, None);
    loop {
        let session = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            session = inner.options.link.session_after(number) => session,
        };
        number = session.number();
        inner.checked.send_replace(0);
        inner.options.contact.missing("node has just been connected to the broker");
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // Its client may connect again by itself, and this is another connection then.
            reason = session.ended() => End::Lost(reason),
            end = follow(&inner, &session, &mut shorter) => end,
        };
        match end {
            End::Lost(reason) => {
                inner.options.contact.missing(&reason);
                session.end(reason);
            }
            End::Fault(fault) if fault.is_lasting() => {
                inner.fail(fault);
                return;
            }
            End::Fault(fault) => {
                inner.fail(fault);
                // The same connection is as good as before.
                number -= 1;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = sleep(REPLICA_WAIT) => {}
                }
            }
        }
    }
}

async fn follow<R: Replica>(inner: &Arc<Inner<R>>, session: &Session, shorter: &mut Option<Instant>) -> End {
    let mut following = Following {
        inner,
        session,
        target: 0,
        checked: None,
        unproved: VecDeque::new(),
        answered: Instant::now(),
        missing: 0,
        missed: None,
    };
    let mut told = match session.subscribe(&inner.options.names.committed).await {
        Ok(told) => told,
        Err(error) => return End::Lost(error.to_string()),
    };
    inner.options.messages.introduced(session).await;
    match following.run(&mut told, shorter).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

impl<R: Replica> Following<'_, R> {
    async fn run(
        &mut self,
        told: &mut Subscription,
        shorter: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, End> {
        let mut ticks = interval(CHECK_EVERY.min(self.inner.options.lease / CHECKS_IN_LEASE));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checking: Option<Checking> = None;
        loop {
            let check = async {
                match &mut checking {
                    Some(checking) => checking.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                (asked, state) = check => {
                    checking = None;
                    self.take(asked, state, shorter).await?;
                }
                _ = ticks.tick() => {
                    checking.get_or_insert_with(|| self.ask());
                }
                () = self.inner.nudge.notified() => {
                    checking.get_or_insert_with(|| self.ask());
                }
                message = told.next() => {
                    let message = message.ok_or_else(|| End::Lost("connection to the broker was lost".to_owned()))?;
                    let sequence = message.headers.get(SEQUENCE);
                    let sequence = sequence.and_then(|sequence| sequence.as_str().parse().ok());
                    self.target = self.target.max(sequence.unwrap_or(0));
                }
            }
            self.catch_up().await?;
        }
    }

    /// Asks which message is the last.
    fn ask(&self) -> Checking {
        let (session, names) = (self.session.clone(), self.inner.options.names.clone());
        let asked = Asked {
            when: Instant::now(),
            at: self.inner.head.borrow().revision,
            furthest: self.inner.options.messages.furthest(),
        };
        let patience = patience(self.inner.options.lease);
        Box::pin(async move { (asked, reading::state(&session, &names, patience).await) })
    }

    /// Takes the answer to a question.
    async fn take(
        &mut self,
        asked: Asked,
        state: Result<LogState, ReadError>,
        shorter: &mut Option<Instant>,
    ) -> Result<(), End> {
        let state = match state {
            Ok(state) => state,
            Err(error) => return self.unanswered(error),
        };
        self.answered = Instant::now();
        let Asked { when, at, furthest } = asked;
        if state.last < at.0 {
            let since = *shorter.get_or_insert(when);
            let reason = format!("log ends with revision {}, expected {at} or a later one", state.last);
            if !state.is_replicated || when.saturating_duration_since(since) > DEPOSED_LEADER_MAX {
                let revision = Revision(state.last).next();
                return Err(End::Fault(Fault::Diverged { revision, reason }));
            }
            self.doubt(reason);
            return Ok(());
        }
        *shorter = None;
        // What another node has was in the log. If it is no more, this node may not go on from there.
        if let Some((node, head)) = furthest.filter(|(_, head)| state.last < head.0) {
            self.doubt(format!("log ends with revision {}, and the node {node} has {head}", state.last));
            return Ok(());
        }
        let is_other = self
            .checked
            .as_ref()
            .is_none_or(|checked| (&checked.created, checked.first) != (&state.created, state.first));
        if is_other {
            if !self.check_end(&state, when).await? {
                return Ok(());
            }
            (self.checked, self.missed) = (Some(state.clone()), None);
            self.inner.checked.send_replace(self.session.number());
        }
        self.target = self.target.max(state.last);
        self.unproved.push_back((when, state.last));
        Ok(())
    }

    /// The log does not have what it had. Nothing is taken from it, or added to it, until it has.
    fn doubt(&mut self, reason: String) {
        tracing::warn!(reason, "log of the cluster is not followed");
        self.inner.options.contact.missing(reason);
        self.inner.checked.send_replace(0);
        self.checked = None;
    }

    /// Compares the replica's end with the log, which reached that far at `when`. Where the log begins later,
    /// the replica goes on from a snapshot. Returns whether the log goes on from the replica's end.
    async fn check_end(&mut self, state: &LogState, when: Instant) -> Result<bool, End> {
        let end = self.inner.end.lock().await.clone();
        let names = &self.inner.options.names;
        let wait = patience(self.inner.options.lease);
        match reading::check_end(self.session, names, state, end.as_ref(), wait).await {
            Ok(()) => Ok(true),
            Err(ReadError::Behind(first)) => {
                self.skip_to(state, when, first, end).await?;
                Ok(false)
            }
            Err(ReadError::Fault(fault)) => Err(End::Fault(fault)),
            // It may have been trimmed since it was asked for its state.
            Err(ReadError::Missing(sequence)) => {
                let reason = "log has no record of that revision".to_owned();
                self.missed(state, when, Revision(sequence), reason)?;
                Ok(false)
            }
            Err(ReadError::Unanswered(error)) => Err(End::Lost(error.to_string())),
        }
    }

    /// The broker, asked at `when`, does not have what the replica needs to go on from `revision`. That is so
    /// for a moment if another node trims the log, or if a server answers that leads no longer.
    fn missed(
        &mut self,
        state: &LogState,
        when: Instant,
        revision: Revision,
        reason: String,
    ) -> Result<(), End> {
        let since = *self.missed.get_or_insert(when);
        let wait = if state.is_replicated { DEPOSED_LEADER_MAX } else { TRIMMED_WAIT };
        if when.saturating_duration_since(since) > wait {
            return Err(End::Fault(Fault::Diverged { revision, reason }));
        }
        self.doubt(reason);
        Ok(())
    }

    /// Goes on from the newest snapshot, since the log begins with the revision `first`, later than `end`,
    /// which the replica ends with. What is not possible now is tried again.
    async fn skip_to(
        &mut self,
        state: &LogState,
        when: Instant,
        first: Revision,
        end: Option<Record>,
    ) -> Result<(), End> {
        let at = end.as_ref().map_or(Revision(0), |end| end.revision);
        let (inner, session) = (self.inner, self.session);
        let StoreOptions { snapshots, replica, chain, .. } = &inner.options;
        let received = async {
            let Some(newest) = snapshots.newest(session).await? else { return Ok(None) };
            let revision = newest.base.revision();
            if revision <= at || revision.next() < first {
                return Ok(None);
            }
            let received = snapshots.receive(session, &newest.base, replica.folder()).await?;
            received.verify(&**chain, end.as_ref()).await?;
            Ok(Some(received))
        };
        match received.await {
            Ok(Some(received)) => {
                let revision = received.last.revision;
                inner.jump(received).await.map_err(End::Fault)?;
                tracing::info!(from = at.0, to = revision.0, "state goes on from a snapshot");
                (self.answered, self.missed) = (Instant::now(), None);
                // What is behind it follows.
                inner.nudge.notify_one();
                Ok(())
            }
            Ok(None) => {
                let reason = format!("log begins with revision {first}, expected {}", at.next());
                self.missed(state, when, at.next(), reason)
            }
            Err(SnapshotError::Diverged { revision, reason }) => {
                Err(End::Fault(Fault::Diverged { revision, reason }))
            }
            Err(SnapshotError::Store(error)) => Err(End::Fault(Fault::Replica(error))),
            Err(error) => {
                self.doubt(error.to_string());
                Ok(())
            }
        }
    }

    /// Applies what the log is known to have.
    async fn catch_up(&mut self) -> Result<(), End> {
        if self.checked.is_none() {
            return Ok(());
        }
        loop {
            let at = self.inner.head.borrow().revision;
            while let Some((asked, last)) = self.unproved.pop_front_if(|(_, last)| *last <= at.0) {
                self.inner.options.contact.caught_up(asked, Revision(last));
            }
            if at.0 >= self.target {
                return Ok(());
            }
            let names = &self.inner.options.names;
            match reading::after(self.session, names, at, self.target, patience(self.inner.options.lease))
                .await
            {
                Ok(commits) => {
                    (self.missing, self.answered) = (0, Instant::now());
                    self.inner.apply(commits).await.map_err(End::Fault)?;
                }
                Err(ReadError::Fault(fault)) => return Err(End::Fault(fault)),
                Err(ReadError::Missing(sequence)) => {
                    self.missing += 1;
                    if self.missing > MISSING_MAX {
                        let reason = "log has no record of that revision, and has later ones".to_owned();
                        return Err(End::Fault(Fault::Diverged { revision: Revision(sequence), reason }));
                    }
                    // Whoever was asked may not have it yet: the next check says what there is.
                    self.target = at.0;
                    return Ok(());
                }
                Err(error) => return self.unanswered(error),
            }
        }
    }

    /// Nothing came for a question. The connection is given up if that has been so for the time of a lease.
    fn unanswered(&self, error: ReadError) -> Result<(), End> {
        let ReadError::Unanswered(error) = error else { return Ok(()) };
        self.inner.options.contact.missing(error.to_string());
        if error == AskError::Lost || self.answered.elapsed() > self.inner.options.lease {
            return Err(End::Lost(error.to_string()));
        }
        Ok(())
    }
}
