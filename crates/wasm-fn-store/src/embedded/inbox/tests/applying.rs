//! Tests of changes that several inboxes apply: all come to the same, and what is out of date has no effect.

use super::*;
use crate::{
    AppliedEntry,
    inbox::{ChangeOutcome, InboxChange, LogPlace, ShardHolder},
};

/// Two inboxes that apply the same log.
struct Pair {
    inboxes: [EmbeddedInbox; 2],
    sequence: u64,
    folders: [tempfile::TempDir; 2],
}

fn holder(process: &str, fence: u64) -> ShardHolder {
    ShardHolder { shard: 7, process: process.to_owned(), fence }
}

impl Pair {
    fn new() -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        Self { inboxes: [0, 1].map(|at: usize| open(folders[at].path())), sequence: 0, folders }
    }

    /// Has both apply `change`, which may end a delivery of the first. Returns what it led to for that.
    async fn apply(&mut self, change: InboxChange, ends: Option<Receipt>) -> ChangeOutcome {
        self.sequence += 1;
        let place = LogPlace { log: 1, sequence: self.sequence, digest: 100 + self.sequence };
        let mut outcomes = Vec::new();
        for (at, inbox) in self.inboxes.iter().enumerate() {
            let own = ends.filter(|_| at == 0).and_then(|receipt| inbox.delivery(receipt));
            let entry = AppliedEntry { place, now_ms: 3, changes: vec![(change.clone(), own)] };
            outcomes.extend(inbox.apply(vec![entry.clone()]).await.unwrap().remove(0));
            assert!(inbox.apply(vec![entry]).await.unwrap()[0].is_empty(), "it is applied once");
            assert_eq!(inbox.applied().await.unwrap(), place);
        }
        let [first, second] = <[_; 2]>::try_from(outcomes).unwrap();
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        self.same().await;
        first
    }

    /// Both have the same, apart from what is in flight.
    async fn same(&self) {
        let mut of = Vec::new();
        for inbox in &self.inboxes {
            let mut counts = inbox.counts().await.unwrap();
            for counts in &mut counts {
                counts.waiting += counts.in_flight;
                counts.in_flight = 0;
            }
            of.push(counts);
        }
        assert_eq!(of[0], of[1]);
    }

    async fn put(&mut self, events: Vec<NewEvent>) -> Vec<Put> {
        let change = InboxChange::Put { events, marks: Vec::new(), holders: Vec::new() };
        let ChangeOutcome::Put(put) = self.apply(change, None).await else { panic!() };
        put.unwrap()
    }

    /// Takes the only event that there is to take of the first.
    async fn take(&self) -> TakenEvent {
        let [event] = <[_; 1]>::try_from(take(&self.inboxes[0], 9, 9).await).unwrap();
        event
    }

    async fn finish(
        &mut self,
        event: &TakenEvent,
        of: ShardHolder,
        finish: Finish,
    ) -> Result<(), InboxError> {
        let position = self.inboxes[0].delivery(event.receipt).unwrap().position();
        let change = InboxChange::Finish {
            trigger: event.trigger.to_string(),
            position,
            attempt: event.attempt,
            holder: of,
            finish,
        };
        let ChangeOutcome::Finished(finished) = self.apply(change, Some(event.receipt)).await else {
            panic!()
        };
        finished
    }
}

#[tokio::test]
async fn inboxes_that_apply_the_same_have_the_same() {
    let mut pair = Pair::new();
    assert_eq!(pair.put(vec![event("t", "a"), event("t", "b")]).await, [Put::Accepted; 2]);
    assert_eq!(pair.put(vec![event("t", "a")]).await, [Put::Duplicate]);
    let held = pair.apply(InboxChange::Hold(holder("p", 1)), None).await;
    assert!(matches!(held, ChangeOutcome::Held(true)));
    let [a, b] = <[_; 2]>::try_from(take(&pair.inboxes[0], 9, 9).await).unwrap();
    pair.finish(&a, holder("p", 1), acknowledged()).await.unwrap();
    pair.finish(&b, holder("p", 1), retry(50)).await.unwrap();
    // The other knows when it is due, and not what it was due before.
    assert!(take(&pair.inboxes[1], 49, 9).await.is_empty());
    let again = pair.inboxes[1].clone();
    assert_eq!(ids(&take(&again, 50, 9).await), ["b"]);
    // What was applied is there after a restart.
    let Pair { inboxes, folders: [folder, _], .. } = pair;
    inboxes[0].release().await;
    drop(inboxes);
    assert_eq!(open(folder.path()).applied().await.unwrap().sequence, 5);
}

#[tokio::test]
async fn a_process_that_lost_its_shard_has_no_effect() {
    let mut pair = Pair::new();
    pair.put(vec![event("t", "a")]).await;
    pair.apply(InboxChange::Hold(holder("old", 1)), None).await;
    let taken = pair.take().await;
    assert!(matches!(pair.apply(InboxChange::Hold(holder("new", 2)), None).await, ChangeOutcome::Held(true)));
    let late = pair.apply(InboxChange::Hold(holder("old", 1)), None).await;
    assert!(matches!(late, ChangeOutcome::Held(false)), "{late:?}");
    let mut taken = taken;
    // Not with the fence of another either.
    for fence in [1, 2, 3] {
        let refused = pair.finish(&taken, holder("old", fence), acknowledged()).await;
        assert!(matches!(refused, Err(InboxError::NotInFlight)), "{refused:?}");
        // It waits again, for whoever may take it.
        taken = pair.take().await;
        assert_eq!((&*taken.id, taken.attempt), ("a", 1));
    }
    pair.finish(&taken, holder("new", 2), acknowledged()).await.unwrap();
}

#[tokio::test]
async fn a_process_that_takes_its_own_shard_again_ends_what_it_took_before() {
    let mut pair = Pair::new();
    pair.put(vec![event("t", "a")]).await;
    pair.apply(InboxChange::Hold(holder("p", 1)), None).await;
    let taken = pair.take().await;
    pair.apply(InboxChange::Hold(holder("p", 4)), None).await;
    pair.finish(&taken, holder("p", 1), acknowledged()).await.unwrap();
    assert_eq!(counts(&pair.inboxes[1]).await.waiting, 0);
}

#[tokio::test]
async fn an_attempt_is_ended_once() {
    let mut pair = Pair::new();
    pair.put(vec![event("t", "a")]).await;
    pair.apply(InboxChange::Hold(holder("p", 1)), None).await;
    let first = pair.take().await;
    let position = pair.inboxes[0].delivery(first.receipt).unwrap().position();
    pair.finish(&first, holder("p", 1), retry(5)).await.unwrap();
    let again = InboxChange::Finish {
        trigger: "t".to_owned(),
        position,
        attempt: 1,
        holder: holder("p", 1),
        finish: retry(8),
    };
    let outcome = pair.apply(again, None).await;
    assert!(matches!(outcome, ChangeOutcome::Finished(Err(InboxError::NotInFlight))), "{outcome:?}");
    let second = pair.take().await;
    assert_eq!((second.attempt, second.due_ms), (2, 5));
    pair.finish(&second, holder("p", 1), dead()).await.unwrap();
    let dispose = |letters, is_redriven| InboxChange::Dispose {
        trigger: "t".to_owned(),
        letters,
        last: position,
        is_redriven,
    };
    let redriven = pair.apply(dispose(DeadLetters::All, true), None).await;
    assert!(matches!(redriven, ChangeOutcome::Disposed(Ok((1, None)))), "{redriven:?}");
    assert_eq!(pair.take().await.attempt, 1);
}

#[tokio::test]
async fn a_mark_is_changed_by_the_holder_alone() {
    let mut pair = Pair::new();
    pair.apply(InboxChange::Hold(holder("p", 3)), None).await;
    let put = |of: ShardHolder, id: &str| InboxChange::Put {
        events: vec![event("t", id)],
        marks: vec![Mark {
            trigger: "t".to_owned(),
            name: "tick/t".to_owned(),
            value: Some(id.to_owned().into()),
        }],
        holders: vec![of],
    };
    for (of, id, is_put) in [
        (holder("p", 2), "before", false),
        (holder("q", 9), "another", false),
        (holder("p", 3), "own", true),
        (holder("p", 5), "later", true),
    ] {
        let outcome = pair.apply(put(of, id), None).await;
        let ChangeOutcome::Put(done) = outcome else { panic!("{outcome:?}") };
        assert_eq!(done.is_ok(), is_put, "{id}: {done:?}");
    }
    for inbox in &pair.inboxes {
        assert_eq!(inbox.marks("tick/", 9).await.unwrap()[0].1, "later");
        assert_eq!(counts(inbox).await.waiting, 2);
    }
}

#[tokio::test]
async fn a_copy_knows_how_far_it_is_until_it_leaves_the_log() {
    let mut pair = Pair::new();
    pair.apply(InboxChange::Hold(holder("p", 3)), None).await;
    pair.put(vec![event("t", "a")]).await;
    let folder = tempfile::tempdir().unwrap();
    pair.inboxes[0].copy(folder.path().to_owned(), || {}).await.unwrap();
    let copy = open(folder.path());
    assert_eq!(copy.applied().await.unwrap(), pair.inboxes[0].applied().await.unwrap());
    copy.leave_log().await.unwrap();
    assert_eq!(copy.applied().await.unwrap(), LogPlace::default());
    assert_eq!(ids(&take(&copy, 9, 9).await), ["a"]);
}
