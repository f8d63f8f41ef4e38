//! Writes to one bucket, by this node: what is asked for meanwhile is written together.
//!
//! A write is planned from the record of the bucket and from what its keys have, and kept only if the record
//! is still that one. So it does not matter that both are remembered from the write before: if another node
//! has written since, it is planned anew.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};
use wasm_fn_store::{BucketAddress, BucketConsistency, BucketError, BucketQuota, KeyRevision};

use super::{
    asking::{Asking, Trouble},
    batch::{Batch, Sent},
    draft::{Change, Draft, Found, Taken, Told},
    record::{Fate, Head},
};

/// Longest time for a write.
const WRITE_WAIT: Duration = Duration::from_secs(5);

/// Operations of a draft at most.
const OPERATIONS_MAX: usize = 256;

/// For how long a writer without work remembers the bucket.
const IDLE: Duration = Duration::from_secs(10);

/// Keys that a writer remembers at most, and bytes of the value of each.
const REMEMBERED_MAX: usize = 256;
const REMEMBERED_BYTES: u64 = 64;

/// The longest pause before a write that was overtaken is tried again.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What is asked of a writer.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) change: Change,
    pub(super) quota: BucketQuota,
    pub(super) reply: oneshot::Sender<Result<Done, BucketError>>,
}

/// What an operation is told, and the revision of the first of its keys that was set.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) told: Told,
    pub(super) revision: Option<KeyRevision>,
}

/// Writes to one bucket.
pub(super) struct Writer {
    asking: Arc<Asking>,
    address: BucketAddress,
    /// What the bucket was when it was looked at last.
    head: Option<Head>,
    /// What some keys have, as of that record.
    found: Found,
}

/// How one try ended.
enum Tried {
    /// Some operations were answered.
    Answered,
    /// It is to be tried again, for this reason.
    Again(String),
}

impl Writer {
    pub(super) fn new(asking: Arc<Asking>, address: BucketAddress) -> Self {
        Self { asking, address, head: None, found: Found::new() }
    }

    /// Writes what is asked for, until there is nothing to do for a while.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Operation>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match timeout(IDLE, asked.recv()).await {
                    Ok(Some(operation)) => waiting.push_back(operation),
                    Ok(None) => return,
                    // What is sent until then is still done.
                    Err(_) => asked.close(),
                }
            }
            while waiting.len() < OPERATIONS_MAX
                && let Ok(operation) = asked.try_recv()
            {
                waiting.push_back(operation);
            }
            // Nobody waits for these any more.
            waiting.retain(|operation| !operation.reply.is_closed());
            if !waiting.is_empty() {
                self.write(&mut waiting).await;
            }
        }
    }

    /// Writes the first of `waiting`, with as many others as go with it, and answers them.
    async fn write(&mut self, waiting: &mut VecDeque<Operation>) {
        let deadline = Instant::now() + WRITE_WAIT;
        let mut pause = Duration::from_millis(1);
        loop {
            let trouble = match self.try_once(waiting, deadline).await {
                Ok(Tried::Answered) => return,
                Ok(Tried::Again(reason)) if Instant::now() + pause >= deadline => Trouble::Unanswered(reason),
                Ok(Tried::Again(_)) => {
                    (self.head, pause) = (None, (pause * 2).min(PAUSE_MAX));
                    self.found.clear();
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    continue;
                }
                Err(trouble) => trouble,
            };
            self.head = None;
            self.found.clear();
            for operation in waiting.drain(..) {
                let _ = operation.reply.send(Err(trouble.to_error(&self.asking.stream)));
            }
            return;
        }
    }

    async fn try_once(
        &mut self,
        waiting: &mut VecDeque<Operation>,
        deadline: Instant,
    ) -> Result<Tried, Trouble> {
        let asking = Arc::clone(&self.asking);
        asking.check_touch()?;
        let head = match self.head.take() {
            Some(head) => head,
            None => asking.head(&self.address, BucketConsistency::Strong).await?,
        };
        self.find(&head, waiting).await?;
        let mut draft = Draft::new(&self.address.name, head.usage(), &self.found);
        let mut answers = Vec::new();
        for operation in waiting.iter() {
            match draft.take(&operation.change, &operation.quota) {
                Taken::Yes(told) => answers.push(Ok(told)),
                Taken::Refused(error) => answers.push(Err(error)),
                Taken::Later => break,
            }
        }
        if draft.changes().next().is_none() {
            // What is answered has to be so now, and all of it at one moment.
            let now = asking.head(&self.address, BucketConsistency::Strong).await?;
            if now.sequence != head.sequence {
                return Ok(Tried::Again("other nodes write to the bucket at the same time".to_owned()));
            }
            answer(waiting, answers, &self.found);
            self.remember(head);
            return Ok(Tried::Answered);
        }
        let write = format!("{:016x}", rand::random::<u64>());
        let new_id = || format!("{:016x}", rand::random::<u64>());
        let record = head.next(&write, draft.usage(), asking.revision(), new_id).ok_or(Trouble::Gone)?;
        let subject = asking.subjects.record(&self.address);
        let batch = Batch::new(&asking.subjects, subject, &head, &record, &draft, &self.found);
        let Some(sequence) = self.send(&batch, &head, &write, deadline).await? else {
            return Ok(Tried::Again("other nodes write to the bucket at the same time".to_owned()));
        };
        let stored = batch.stored(sequence, &draft);
        self.found.extend(stored);
        answer(waiting, answers, &self.found);
        self.remember(Head { sequence, record: Some(record) });
        Ok(Tried::Answered)
    }

    /// Remembers `head`, and what some keys have as of it.
    fn remember(&mut self, head: Head) {
        self.head = Some(head);
        self.found.retain(|_, stored| stored.as_ref().is_none_or(|stored| stored.bytes <= REMEMBERED_BYTES));
        if self.found.len() > REMEMBERED_MAX {
            self.found.clear();
        }
    }

    /// Finds out what the keys of `waiting` have that are not known.
    async fn find(&mut self, head: &Head, waiting: &VecDeque<Operation>) -> Result<(), Trouble> {
        let mut keys: Vec<&str> =
            waiting.iter().flat_map(|operation| operation.change.keys()).map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| !self.found.contains_key(*key));
        let stored = match head.live() {
            Some(record) => self.asking.outlines_of(&record.id, &keys).await?,
            None => vec![None; keys.len()],
        };
        let found: Vec<_> = keys.into_iter().map(str::to_owned).zip(stored).collect();
        self.found.extend(found);
        Ok(())
    }

    /// Sends `batch`, which follows `head`, until it is known what became of it. Returns the number of its
    /// record; `None` if it was overtaken.
    async fn send(
        &self,
        batch: &Batch,
        head: &Head,
        write: &str,
        deadline: Instant,
    ) -> Result<Option<u64>, Trouble> {
        let asking = &*self.asking;
        let (mut after, mut reason, mut is_sent) = (0, asking.link.reason(), false);
        loop {
            let Ok(session) = timeout_at(deadline, asking.link.session_after(after)).await else {
                return Err(gave_up(is_sent, reason));
            };
            let kept = match batch.send(&session, deadline).await {
                Sent::Kept(sequence) => Some(sequence),
                Sent::Overtaken if !is_sent => return Ok(None),
                Sent::Full(reason) if !is_sent => return Err(Trouble::Full(reason)),
                Sent::Impossible(reason) if !is_sent => return Err(Trouble::Broken(reason)),
                Sent::Refused(why) => {
                    reason = why;
                    None
                }
                Sent::Unanswered(why) | Sent::Full(why) | Sent::Impossible(why) => {
                    (reason, is_sent) = (why, true);
                    None
                }
                // It may have been overtaken by itself.
                Sent::Overtaken => None,
            };
            if let Some(sequence) = kept {
                batch.tidy(&session).await;
                return Ok(Some(sequence));
            }
            if Instant::now() >= deadline {
                return Err(gave_up(is_sent, reason));
            }
            if is_sent {
                let now = asking.head(&self.address, BucketConsistency::Strong).await;
                match now.map(|now| now.fate(write, head.sequence)) {
                    Ok(Fate::Made(sequence)) => return Ok(Some(sequence)),
                    Ok(Fate::Overtaken) => return Ok(None),
                    Ok(Fate::Forgotten) => return Err(Trouble::Unknown(reason)),
                    Ok(Fate::Open) => {}
                    Err(_) => return Err(Trouble::Unknown(reason)),
                }
            }
            tokio::select! {
                _ = session.ended() => after = session.number(),
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
    }
}

/// The trouble of a write that nobody waits for any longer.
fn gave_up(is_sent: bool, reason: String) -> Trouble {
    if is_sent { Trouble::Unknown(reason) } else { Trouble::Unanswered(reason) }
}

/// Tells the first of `waiting` their `answers`.
fn answer(waiting: &mut VecDeque<Operation>, answers: Vec<Result<Told, BucketError>>, found: &Found) {
    for answer in answers {
        let Some(Operation { change, reply, .. }) = waiting.pop_front() else { return };
        let revision = change.keys().find_map(|key| Some(found.get(key)?.as_ref()?.revision));
        let _ = reply.send(answer.map(|told| Done { told, revision }));
    }
}
