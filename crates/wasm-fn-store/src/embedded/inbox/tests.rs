//! Tests of the embedded inbox: what is put comes out, once at a time, in order, and nothing is lost.

mod applying;
mod model;

use std::collections::BTreeSet;

use super::*;
use crate::inbox::InboxBound;

const LIMITS: InboxLimits = InboxLimits {
    events_max: 100,
    bytes_max: 100_000,
    trigger_events_max: 80,
    trigger_bytes_max: 80_000,
    event_bytes_max: 10_000,
    dead_max: 2,
    dead_bytes_max: 1000,
    remembered_max: 3,
    remembered_ms: 1000,
    triggers_max: 5,
    marks_max: 2,
};

fn open(folder: &Path) -> EmbeddedInbox {
    EmbeddedInbox::open(folder, LIMITS).unwrap()
}

fn key(trigger: &str, id: &str) -> EventKey {
    EventKey { trigger: trigger.to_owned(), id: id.to_owned() }
}

fn event(trigger: &str, id: &str) -> NewEvent {
    NewEvent {
        key: key(trigger, id),
        due_ms: 0,
        ordering_key: None,
        body: Bytes::from(format!("body of {id}")),
    }
}

fn due(trigger: &str, id: &str, due_ms: u64) -> NewEvent {
    NewEvent { due_ms, ..event(trigger, id) }
}

fn ordered(trigger: &str, id: &str, ordering_key: &str) -> NewEvent {
    NewEvent { ordering_key: Some(ordering_key.to_owned()), ..event(trigger, id) }
}

fn retry(due_ms: u64) -> Finish {
    Finish::Retry { due_ms, reason: "status 500".to_owned() }
}

fn dead() -> Finish {
    Finish::Dead { reason: "given up".to_owned() }
}

fn acknowledged() -> Finish {
    Finish::Acknowledged { text: "204 v3".to_owned() }
}

async fn put(inbox: &EmbeddedInbox, events: impl IntoIterator<Item = NewEvent>) {
    let events = Vec::from_iter(events);
    let accepted = vec![Put::Accepted; events.len()];
    assert_eq!(inbox.put(0, events, Vec::new()).await.unwrap(), accepted);
}

/// Takes at most `events_max` events, with one of each trigger whose name begins with `p` in flight, and none
/// of `paused`.
async fn take(inbox: &EmbeddedInbox, now_ms: u64, events_max: usize) -> Vec<TakenEvent> {
    let admit = |trigger: &str, in_flight: usize| match trigger {
        "paused" => false,
        trigger if trigger.starts_with('p') => in_flight < 1,
        _ => true,
    };
    inbox.take(now_ms, Take { events_max, bytes_max: u64::MAX, admit }).await.unwrap()
}

fn ids(events: &[TakenEvent]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

/// Waits until everything before is on disk.
async fn flush(inbox: &EmbeddedInbox) {
    inbox.put(0, Vec::new(), Vec::new()).await.unwrap();
}

async fn state(inbox: &EmbeddedInbox, now_ms: u64, trigger: &str, id: &str) -> Option<EventState> {
    inbox.state(now_ms, key(trigger, id)).await.unwrap()
}

/// The only count.
async fn counts(inbox: &EmbeddedInbox) -> TriggerCounts {
    let [counts] = <[_; 1]>::try_from(inbox.counts().await.unwrap()).unwrap();
    counts
}

const ALL: EventPage = EventPage { after: None, limit: 99 };

#[tokio::test]
async fn event_is_taken_as_it_was_put_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    inbox.put(7, vec![NewEvent { due_ms: 9, ..ordered("t", "a", "k") }], Vec::new()).await.unwrap();
    assert_eq!(inbox.next_due_ms(), Some(9));
    assert_eq!(take(&inbox, 8, 9).await, []);
    let taken = take(&inbox, 9, 9).await;
    let expected = TakenEvent {
        receipt: taken[0].receipt,
        trigger: "t".into(),
        id: "a".to_owned(),
        attempt: 1,
        due_ms: 9,
        arrived_ms: 7,
        ordering_key: Some("k".to_owned()),
        body: Bytes::from_static(b"body of a"),
    };
    assert_eq!(taken, [expected]);
    assert_eq!(take(&inbox, 99, 9).await, []);
    assert_eq!(inbox.next_due_ms(), None);
    assert_eq!(state(&inbox, 9, "t", "a").await, Some(EventState::Running { attempts: 0 }));
    inbox.finish(10, taken[0].receipt, acknowledged()).await.unwrap();
    let expected = EventState::Acknowledged { at_ms: 10, text: "204 v3".to_owned() };
    assert_eq!(state(&inbox, 10, "t", "a").await, Some(expected));
    let again = inbox.finish(11, taken[0].receipt, acknowledged()).await.unwrap_err();
    assert_eq!(again.to_string(), "event is not in flight");
    assert_eq!(counts(&inbox).await.waiting, 0);
}

#[tokio::test]
async fn duplicates_are_not_put_until_they_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    let put_at = async |now_ms, id| inbox.put(now_ms, vec![event("t", id)], Vec::new()).await.unwrap()[0];
    let twice = vec![event("t", "a"), event("t", "a"), event("other", "a")];
    let puts = inbox.put(0, twice, Vec::new()).await.unwrap();
    assert_eq!(puts, [Put::Accepted, Put::Duplicate, Put::Accepted]);
    assert_eq!(put_at(1, "a").await, Put::Duplicate, "it waits");
    let finish = async |now_ms| {
        let taken = take(&inbox, now_ms, 9).await;
        for event in &taken {
            inbox.finish(now_ms, event.receipt, acknowledged()).await.unwrap();
        }
        flush(&inbox).await;
    };
    finish(10).await;
    assert_eq!(put_at(1009, "a").await, Put::Duplicate, "it is remembered for a second");
    assert_eq!(state(&inbox, 1010, "t", "a").await, None);
    assert_eq!(put_at(1010, "a").await, Put::Accepted);
    finish(1020).await;
    // Three are remembered.
    for id in ["b", "c", "d"] {
        assert_eq!(put_at(1020, id).await, Put::Accepted);
        finish(1020).await;
    }
    assert_eq!(put_at(1021, "b").await, Put::Duplicate);
    assert_eq!(put_at(1021, "a").await, Put::Accepted, "three others were finished later");
}

#[tokio::test]
async fn triggers_take_turns_within_their_concurrency() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, (0..60).map(|n| event("busy", &format!("busy-{n}")))).await;
    put(&inbox, ["x", "y"].map(|id| event("idle", id))).await;
    put(&inbox, ["p1", "p2"].map(|id| event("p", id))).await;
    put(&inbox, [event("paused", "never")]).await;
    let taken = take(&inbox, 1, 7).await;
    assert_eq!(ids(&taken), ["busy-0", "x", "p1", "busy-1", "y", "busy-2", "busy-3"]);
    assert_eq!(ids(&take(&inbox, 1, 2).await), ["busy-4", "busy-5"], "p has one in flight");
    let p1 = taken.iter().find(|event| event.id == "p1").unwrap();
    inbox.finish(2, p1.receipt, retry(50)).await.unwrap();
    let taken = take(&inbox, 3, 99).await;
    assert_eq!(
        taken.iter().filter(|event| &*event.trigger == "p").map(|event| &event.id).collect::<Vec<_>>(),
        ["p2"]
    );
    assert_eq!(taken.len(), 55);
}

#[tokio::test]
async fn ordering_key_holds_over_retries_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    let late = NewEvent { due_ms: 5, ..ordered("t", "a1", "a") };
    put(&inbox, [late, ordered("t", "a2", "a"), ordered("t", "b1", "b"), event("t", "free")]).await;
    assert_eq!(ids(&take(&inbox, 0, 9).await), ["b1", "free"], "a2 is behind a1");
    let taken = take(&inbox, 5, 9).await;
    assert_eq!(ids(&taken), ["a1"]);
    inbox.finish(5, taken[0].receipt, retry(20)).await.unwrap();
    assert_eq!(take(&inbox, 19, 9).await, []);
    assert_eq!(inbox.next_due_ms(), Some(20));
    drop(inbox);

    let inbox = open(folder.path());
    assert_eq!(ids(&take(&inbox, 0, 9).await), ["b1", "free"], "they were in flight");
    let taken = take(&inbox, 20, 9).await;
    assert_eq!((ids(&taken), taken[0].attempt), (vec!["a1"], 2));
    inbox.finish(20, taken[0].receipt, dead()).await.unwrap();
    let taken = take(&inbox, 20, 9).await;
    assert_eq!(ids(&taken), ["a2"]);
    inbox.redrive(21, "t", DeadLetters::All).await.unwrap();
    assert_eq!(take(&inbox, 21, 9).await, [], "a1 is behind a2 now");
    inbox.finish(22, taken[0].receipt, acknowledged()).await.unwrap();
    assert_eq!(ids(&take(&inbox, 22, 9).await), ["a1"]);
}

#[tokio::test]
async fn released_event_is_taken_again_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, [ordered("t", "a", "k"), ordered("t", "b", "k")]).await;
    for _ in 0..3 {
        let taken = take(&inbox, 1, 9).await;
        assert_eq!((ids(&taken), taken[0].attempt), (vec!["a"], 1));
        inbox.finish(1, taken[0].receipt, Finish::Released).await.unwrap();
        assert_eq!((counts(&inbox).await.waiting, counts(&inbox).await.in_flight), (2, 0));
    }
}

#[tokio::test]
async fn taken_bytes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    let large = |id: &str| NewEvent { body: Bytes::from(vec![1; 5000]), ..event("t", id) };
    put(&inbox, ["a", "b", "c"].map(large)).await;
    let take = async |bytes_max| {
        inbox.take(1, Take { events_max: 9, bytes_max, admit: |_: &str, _| true }).await.unwrap()
    };
    assert_eq!(ids(&take(1).await), ["a"], "at least one");
    assert_eq!(ids(&take(10_002).await), ["b", "c"]);
}

#[tokio::test]
async fn full_inbox_refuses_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    let many = |trigger: &'static str, count| (0..count).map(move |n| event(trigger, &n.to_string()));
    let refusal = async |events: Vec<NewEvent>, marks: Vec<Mark>| {
        inbox.put(0, events, marks).await.unwrap_err().to_string()
    };
    let mark = |name: &str| Mark {
        trigger: "t".to_owned(),
        name: name.to_owned(),
        value: Some(Bytes::from_static(b"1")),
    };
    let error = refusal(many("t", 81).collect(), vec![mark("m")]).await;
    assert_eq!(error, "inbox is full: 81 waiting events of `t`, expected at most 80");
    assert_eq!(inbox.marks("", 9).await.unwrap(), [], "the mark goes with the events");
    put(&inbox, many("t", 80)).await;
    let error = refusal(many("u", 10).chain(many("v", 11)).collect(), Vec::new()).await;
    assert_eq!(error, "inbox is full: 101 waiting events, expected at most 100");
    let names = ["u", "v", "w", "x", "y"];
    let error = refusal(names.map(|name| event(name, "a")).to_vec(), Vec::new()).await;
    assert_eq!(error, "inbox is full: 6 triggers, expected at most 5");
    let error =
        refusal(vec![NewEvent { body: Bytes::from(vec![0; 10_000]), ..event("u", "a") }], vec![]).await;
    assert_eq!(error, "event has 10001 bytes, expected at most 10000");
    let error = refusal(vec![event("u", &"i".repeat(513))], Vec::new()).await;
    assert_eq!(error, "id of an event has 513 bytes, expected at most 512");
    let error = refusal(Vec::new(), ["m", "n", "o"].map(mark).to_vec()).await;
    assert_eq!(error, "inbox is full: 3 marks, expected at most 2");
    let large = |id: &str| NewEvent { body: Bytes::from(vec![0; 9000]), ..event("u", id) };
    let error = refusal((0..9).map(|n| large(&n.to_string())).collect(), Vec::new()).await;
    assert_eq!(error, "inbox is full: 81009 bytes of waiting events of `u`, expected at most 80000");
    assert_eq!(counts(&inbox).await.waiting, 80);
    // There is room again once some are handled.
    for event in take(&inbox, 1, 10).await {
        inbox.finish(1, event.receipt, acknowledged()).await.unwrap();
    }
    flush(&inbox).await;
    put(&inbox, many("u", 30)).await;
}

#[tokio::test]
async fn trigger_with_too_many_dead_letters_is_blocked_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, ["a", "b", "c", "d"].map(|id| event("t", id))).await;
    let taken = take(&inbox, 1, 3).await;
    for event in &taken[..2] {
        inbox.finish(5, event.receipt, dead()).await.unwrap();
    }
    let error = inbox.finish(5, taken[2].receipt, dead()).await.unwrap_err();
    assert_eq!(error.to_string(), "inbox is full: 3 dead letters of `t`, expected at most 2");
    assert_eq!(take(&inbox, 9, 9).await, []);
    let expected = EventState::Waiting { due_ms: 5, attempts: 1, reason: "given up".to_owned() };
    assert_eq!(state(&inbox, 9, "t", "c").await, Some(expected));
    assert!(counts(&inbox).await.is_blocked);
    drop(inbox);

    let inbox = open(folder.path());
    assert_eq!(take(&inbox, 9, 9).await, [], "a restart does not unblock it");
    let letters = inbox.dead_letters("t", ALL).await.unwrap();
    let shown: Vec<_> = letters.iter().map(|letter| (letter.id.as_str(), &letter.state)).collect();
    let expected = EventState::Dead { at_ms: 5, attempts: 1, reason: "given up".to_owned() };
    assert_eq!(shown, [("a", &expected), ("b", &expected)]);
    let page = EventPage { after: Some(letters[0].position), limit: 1 };
    assert_eq!(inbox.dead_letters("t", page).await.unwrap(), letters[1..]);
    let named = ["b", "b", "c", "zzz"].map(str::to_owned).to_vec();
    assert_eq!(inbox.discard(10, "t", DeadLetters::Ids(named)).await.unwrap(), 1);
    assert_eq!(state(&inbox, 10, "t", "b").await, Some(EventState::Discarded { at_ms: 10 }));
    assert_eq!(inbox.put(10, vec![event("t", "b")], Vec::new()).await.unwrap(), [Put::Duplicate]);
    assert_eq!(ids(&take(&inbox, 11, 9).await), ["d", "c"]);
    assert_eq!(inbox.redrive(12, "t", DeadLetters::All).await.unwrap(), 1);
    assert_eq!(inbox.redrive(12, "nobody", DeadLetters::All).await.unwrap(), 0);
    let taken = take(&inbox, 12, 9).await;
    assert_eq!((ids(&taken), taken[0].attempt, &taken[0].body[..]), (vec!["a"], 1, &b"body of a"[..]));
    let counts = counts(&inbox).await;
    assert_eq!((counts.dead, counts.dead_bytes, counts.is_blocked), (0, 0, false));
}

#[tokio::test]
async fn dead_letters_are_moved_in_several_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let limits = InboxLimits { dead_max: 1000, dead_bytes_max: u64::MAX, ..InboxLimits::STANDARD };
    let inbox = EmbeddedInbox::open(folder.path(), limits).unwrap();
    put(&inbox, (0..600).map(|n| event("t", &n.to_string()))).await;
    let died = take(&inbox, 1, 600).await.into_iter().map(|event| {
        let inbox = inbox.clone();
        async move { inbox.finish(1, event.receipt, dead()).await }
    });
    futures_util::future::try_join_all(died).await.unwrap();
    let some = (0..300).map(|n: u32| n.to_string()).collect();
    assert_eq!(inbox.discard(2, "t", DeadLetters::Ids(some)).await.unwrap(), 300);
    assert_eq!(inbox.redrive(2, "t", DeadLetters::All).await.unwrap(), 300);
    assert_eq!(take(&inbox, 2, 999).await.len(), 300);
}

#[tokio::test]
async fn forgotten_trigger_is_gone_and_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, ["a", "b", "c"].map(|id| ordered("t", id, id))).await;
    put(&inbox, [event("other", "x")]).await;
    let taken = take(&inbox, 1, 3).await;
    assert_eq!(ids(&taken), ["a", "x", "b"]);
    inbox.finish(1, taken[0].receipt, dead()).await.unwrap();
    let last = inbox.counts().await.unwrap().iter().find(|of| &*of.trigger == "t").unwrap().last;
    assert!(!inbox.forget("t", last - 1).await.unwrap(), "it has a later event");
    assert!(inbox.forget("t", last).await.unwrap());
    assert!(inbox.forget("t", last).await.unwrap());
    let error = inbox.finish(2, taken[2].receipt, acknowledged()).await.unwrap_err();
    assert!(matches!(error, InboxError::NotInFlight), "{error}");
    assert_eq!(counts(&inbox).await.trigger, "other".into());
    assert_eq!(state(&inbox, 2, "t", "a").await, None);
    put(&inbox, [event("t", "a")]).await;
    assert_eq!(ids(&take(&inbox, 2, 9).await), ["a"]);
    drop(inbox);
    // Opening it again sweeps to the end.
    let inbox = open(folder.path());
    loop {
        flush(&inbox).await;
        let rows = |database: &Database| {
            use redb::ReadableTableMetadata as _;
            let read = database.begin_read()?;
            let bodies = read.open_table(tables::BODIES)?.len()?;
            Ok((bodies, read.open_table(tables::IDS)?.len()?, read.open_table(tables::FORGOTTEN)?.len()?))
        };
        if inbox.group.read(rows).unwrap() == (2, 2, 0) {
            break;
        }
    }
    assert_eq!(ids(&take(&inbox, 3, 9).await), ["x", "a"]);
}

#[tokio::test]
async fn more_events_than_are_known_in_memory_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = EmbeddedInbox::open(folder.path(), InboxLimits::STANDARD).unwrap();
    let count = 1000_u64;
    // The later ones are due first.
    put(&inbox, (0..count).map(|n| due("t", &format!("{n:04}"), count - n))).await;
    let mut seen = Vec::new();
    for now_ms in [100, 500, 900, count] {
        loop {
            let taken = take(&inbox, now_ms, 70).await;
            seen.extend(taken.iter().map(|event| event.due_ms));
            // Half of them is tried again later.
            for event in taken.iter().filter(|event| event.attempt == 1 && event.due_ms % 2 == 0) {
                inbox.finish(now_ms, event.receipt, retry(now_ms)).await.unwrap();
            }
            if taken.is_empty() {
                break;
            }
        }
    }
    assert_eq!(seen.len() as u64, count + count / 2);
    assert_eq!(BTreeSet::from_iter(seen).len() as u64, count);
}

#[tokio::test]
async fn changes_wake_whoever_waits() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    inbox.changed().await;
    let waiter = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.changed().await }
    });
    put(&inbox, [event("t", "a")]).await;
    waiter.await.unwrap();
}

#[tokio::test]
async fn marks_are_kept_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    let mark = |name: &str, value: Option<&'static str>| Mark {
        trigger: "t".to_owned(),
        name: name.to_owned(),
        value: value.map(Bytes::from),
    };
    inbox
        .put(0, vec![event("t", "a")], vec![mark("tick/b", Some("1")), mark("tick/a", Some("2"))])
        .await
        .unwrap();
    inbox.put(0, Vec::new(), vec![mark("tick/b", Some("3")), mark("other", None)]).await.unwrap();
    drop(inbox);
    let inbox = open(folder.path());
    let expected = [("tick/a", "2"), ("tick/b", "3")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from(value)));
    assert_eq!(inbox.marks("tick/", 9).await.unwrap(), expected);
    assert_eq!(inbox.marks("tick/", 1).await.unwrap(), expected[..1]);
    assert_eq!(inbox.marks("u", 9).await.unwrap(), []);
    inbox.put(0, Vec::new(), vec![mark("tick/a", None)]).await.unwrap();
    assert_eq!(inbox.marks("", 9).await.unwrap(), expected[1..]);
}

#[tokio::test]
async fn copy_holds_what_was_there_at_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, ["a", "b"].map(|id| event("t", id))).await;
    let taken = take(&inbox, 1, 1).await;
    inbox.finish(1, taken[0].receipt, dead()).await.unwrap();
    let (copy_to, (begun, begins)) = (tempfile::tempdir().unwrap(), tokio::sync::oneshot::channel());
    let copied = inbox.copy(copy_to.path().to_owned(), move || begun.send(()).unwrap());
    let later = async {
        begins.await.unwrap();
        put(&inbox, [event("t", "c")]).await;
    };
    let (copied, ()) = tokio::join!(copied, later);
    copied.unwrap();
    let copy = open(copy_to.path());
    assert_eq!(ids(&take(&copy, 9, 9).await), ["b"]);
    let (letter, body) = copy.show(key("t", "a")).await.unwrap().unwrap();
    assert_eq!((letter.id.as_str(), &body[..]), ("a", &b"body of a"[..]));
    put(&copy, [event("t", "d")]).await;
    assert_eq!(ids(&take(&copy, 9, 9).await), ["d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_an_inbox_is_replaced() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inbox = open(folder.path());
    put(&inbox, [event("t", "former")]).await;
    let taken = take(&inbox, 1, 9).await;
    put(&open(other.path()), [event("t", "next")]).await;
    let asking = tokio::spawn({
        let inbox = inbox.clone();
        async move {
            while inbox.state(1, key("t", "next")).await.unwrap().is_none() {
                inbox.put(1, vec![event("u", "any")], Vec::new()).await.unwrap();
            }
        }
    });
    let nothing = inbox.replace_with(other.path().join("nothing")).await.unwrap_err();
    assert!(matches!(nothing, StoreError::Database { .. }), "{nothing}");
    assert!(inbox.state(1, key("t", "former")).await.unwrap().is_some(), "it is as before");
    inbox.replace_with(other.path().join(EmbeddedInbox::FILE)).await.unwrap();
    asking.await.unwrap();
    assert!(inbox.state(1, key("t", "former")).await.unwrap().is_none());
    let error = inbox.finish(1, taken[0].receipt, acknowledged()).await.unwrap_err();
    assert!(matches!(error, InboxError::NotInFlight), "{error}");
    assert_eq!(ids(&take(&inbox, 2, 1).await), ["next"]);
    inbox.release().await;
    let released = inbox.replace_with(folder.path().join("any")).await.unwrap_err();
    assert!(matches!(released, StoreError::Released(_)), "{released}");
}

#[tokio::test]
async fn released_inbox_is_another_process_s_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    put(&inbox, [event("t", "a")]).await;
    let taken = take(&inbox, 1, 9).await;
    inbox.release().await;
    let error = inbox.put(1, vec![event("t", "b")], Vec::new()).await.unwrap_err();
    assert!(matches!(error, InboxError::Store(StoreError::Released(_))), "{error}");
    let error = inbox.finish(1, taken[0].receipt, acknowledged()).await.unwrap_err();
    assert!(matches!(error, InboxError::NotInFlight), "{error}");
    {
        let other = open(folder.path());
        let taken = take(&other, 1, 9).await;
        assert_eq!(ids(&taken), ["a"]);
        other.finish(1, taken[0].receipt, acknowledged()).await.unwrap();
        put(&other, [event("u", "b")]).await;
    }
    inbox.take_back().await.unwrap();
    assert_eq!(ids(&take(&inbox, 2, 9).await), ["b"]);
}

#[tokio::test]
async fn bound_of_all_bytes_is_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let limits = InboxLimits { bytes_max: 100, ..LIMITS };
    let inbox = EmbeddedInbox::open(folder.path(), limits).unwrap();
    let events = ["a", "b"].map(|trigger| NewEvent { body: Bytes::from(vec![0; 60]), ..event(trigger, "") });
    let error = inbox.put(0, events.to_vec(), Vec::new()).await.unwrap_err();
    let InboxError::Full { what: InboxBound::Bytes, found: 120, limit: 100 } = error else {
        panic!("{error}");
    };
}

fn buried(id: &str) -> DeadEvent {
    DeadEvent {
        key: key("queue", id),
        attempts: 3,
        reason: "status 500".to_owned(),
        body: Bytes::from(format!("body of {id}")),
    }
}

#[tokio::test]
async fn event_that_was_kept_elsewhere_is_a_dead_letter_once() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(folder.path());
    assert_eq!(inbox.bury(10, buried("1")).await.unwrap(), Put::Accepted);
    assert_eq!(inbox.bury(11, buried("1")).await.unwrap(), Put::Duplicate);
    let dead_since = |at_ms| EventState::Dead { at_ms, attempts: 3, reason: "status 500".to_owned() };
    assert_eq!(state(&inbox, 12, "queue", "1").await, Some(dead_since(10)));
    assert_eq!(inbox.bury(12, buried("2")).await.unwrap(), Put::Accepted);
    let full = inbox.bury(13, buried("3")).await.unwrap_err();
    let InboxError::Full { what: InboxBound::DeadLettersOf(trigger), found: 3, limit: 2 } = full else {
        panic!("the box is full: {full}")
    };
    assert_eq!((&trigger[..], state(&inbox, 13, "queue", "3").await), ("queue", None));
    let large = DeadEvent { body: Bytes::from(vec![0; 10_001]), ..buried("4") };
    assert!(matches!(inbox.bury(13, large).await, Err(InboxError::TooLarge { what: "event", .. })));

    // It is on disk, is delivered if it is redriven, and is remembered afterwards.
    drop(inbox);
    let inbox = open(folder.path());
    let counts = inbox.counts().await.unwrap();
    assert_eq!((counts[0].dead, counts[0].waiting, counts[0].is_blocked), (2, 0, true));
    assert_eq!(inbox.redrive(20, "queue", DeadLetters::Ids(vec!["1".to_owned()])).await.unwrap(), 1);
    let taken = take(&inbox, 20, 10).await;
    assert_eq!((ids(&taken), &taken[0].body[..], taken[0].attempt), (vec!["1"], &b"body of 1"[..], 1));
    inbox.finish(21, taken[0].receipt, acknowledged()).await.unwrap();
    flush(&inbox).await;
    assert_eq!(inbox.bury(22, buried("1")).await.unwrap(), Put::Duplicate);
    assert_eq!(inbox.bury(2000, buried("1")).await.unwrap(), Put::Accepted);
}
