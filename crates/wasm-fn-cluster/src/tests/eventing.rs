//! Tests of the inbox that nodes have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::task::JoinSet;
use wasm_fn_store::{
    DeadLetters, EmbeddedInbox, EventKey, EventPage, EventState, Finish, Inbox as _, InboxError, InboxLimits,
    Mark, NewEvent, Put, StoreError, Take, TakenEvent,
};

use super::{Node, PATIENCE, Server, make, options};
use crate::{ClusterOptions, InboxReplica, SharedInbox};

const LEASE: Duration = Duration::from_secs(2);

/// Before anything is forgotten.
const NOW: u64 = 0;

/// Long after every event is due.
const LATER: u64 = u64::MAX / 2;

fn short(brokers: &[String], name: &str) -> ClusterOptions {
    ClusterOptions { lease: LEASE, ..options(brokers, name) }
}

/// A node with its inbox.
struct Member {
    inbox: SharedInbox,
    node: Node,
}

impl Member {
    async fn start(brokers: &[String], name: &str) -> Self {
        let node = Node::joined(short(brokers, name)).await;
        let (folder, limits) = (node.folder.path().to_owned(), InboxLimits::STANDARD);
        let replica = EmbeddedInbox::open(&folder, limits.clone()).unwrap();
        let inbox = node.cluster.inbox(InboxReplica { inbox: replica, folder, limits }, true).await.unwrap();
        Self { inbox, node }
    }

    async fn put(&self, trigger: &str, id: &str) -> Put {
        self.try_put(trigger, id).await.unwrap()
    }

    async fn try_put(&self, trigger: &str, id: &str) -> Result<Put, InboxError> {
        Ok(self.inbox.put(5, vec![event(trigger, id)], Vec::new()).await?[0])
    }

    /// What may be taken of at most one event of each trigger at a time.
    async fn take(&self) -> Vec<TakenEvent> {
        self.take_at(LATER).await
    }

    /// The same, when the node's clock shows `now_ms`.
    async fn take_at(&self, now_ms: u64) -> Vec<TakenEvent> {
        let admit = |_: &str, in_flight: usize| in_flight == 0;
        self.inbox.take(now_ms, Take { events_max: 100, bytes_max: 1 << 20, admit }).await.unwrap()
    }

    async fn acknowledge(&self, event: &TakenEvent) -> Result<(), InboxError> {
        let text = "200".to_owned();
        self.inbox.finish(LATER, event.receipt, Finish::Acknowledged { text }).await
    }

    /// Waits until the node holds all of `triggers`, or none of them.
    async fn holds(&self, triggers: &[&str], is_held: bool) {
        let mut holdings = self.inbox.holdings();
        let held = async {
            loop {
                holdings.mark_unchanged();
                if triggers.iter().all(|trigger| self.inbox.holds(trigger) == is_held) {
                    return;
                }
                holdings.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, held).await.expect("it holds them at last");
    }

    async fn state(&self, trigger: &str, id: &str) -> Option<EventState> {
        let key = EventKey { trigger: trigger.to_owned(), id: id.to_owned() };
        self.inbox.state(NOW, key).await.unwrap()
    }

    /// Waits until an event is in a state that is as wanted.
    async fn reaches(&self, trigger: &str, id: &str, wanted: impl Fn(&Option<EventState>) -> bool) {
        let reached = async {
            while !wanted(&self.state(trigger, id).await) {
                self.inbox.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("it is as wanted at last");
    }
}

fn event(trigger: &str, id: &str) -> NewEvent {
    NewEvent {
        key: EventKey { trigger: trigger.to_owned(), id: id.to_owned() },
        due_ms: 5,
        ordering_key: None,
        body: Bytes::from(format!("body of {id}")),
    }
}

fn is_acknowledged(state: &Option<EventState>) -> bool {
    matches!(state, Some(EventState::Acknowledged { .. }))
}

/// Two nodes, and a trigger that each holds.
async fn two(server: &Server) -> (Member, Member, [String; 2]) {
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let (a, b) = (Member::start(&brokers, "a").await, Member::start(&brokers, "b").await);
    let names: Vec<_> = (0..200).map(|number| format!("f{number}/live/t")).collect();
    let mut holdings = (a.inbox.holdings(), b.inbox.holdings());
    let found = async {
        loop {
            holdings.0.mark_unchanged();
            holdings.1.mark_unchanged();
            let of = |member: &Member| names.iter().filter(|name| member.inbox.holds(name)).count();
            if of(&a) + of(&b) == names.len() && of(&a) > 0 && of(&b) > 0 {
                let first = |member: &Member| names.iter().find(|name| member.inbox.holds(name)).cloned();
                return [first(&a).unwrap(), first(&b).unwrap()];
            }
            tokio::select! {
                _ = holdings.0.changed() => {}
                _ = holdings.1.changed() => {}
            }
        }
    };
    let triggers = tokio::time::timeout(PATIENCE, found).await.expect("the shards are spread at last");
    (a, b, triggers)
}

#[tokio::test]
async fn an_event_is_taken_by_one_node_and_seen_by_all() {
    let Some(server) = Server::start("an_event_is_taken_by_one_node_and_seen_by_all") else { return };
    let (a, b, [of_a, of_b]) = two(&server).await;
    assert_eq!(a.put(&of_b, "1").await, Put::Accepted);
    b.reaches(&of_b, "1", Option::is_some).await;
    assert_eq!(b.put(&of_b, "1").await, Put::Duplicate, "an id counts once, whoever is told of it");
    assert!(a.take().await.is_empty(), "another node holds it");
    let taken = b.take().await;
    let [event] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((&*event.trigger, &*event.id, event.attempt), (&*of_b, "1", 1));
    assert_eq!(event.body, Bytes::from("body of 1"));
    assert_eq!(b.inbox.in_progress(&of_b), (1, 0));
    b.acknowledge(event).await.unwrap();
    a.reaches(&of_b, "1", is_acknowledged).await;
    assert_eq!(a.put(&of_b, "1").await, Put::Duplicate, "it is remembered");
    // One that fails is tried again, and then is a dead letter that any node redrives.
    assert_eq!(b.put(&of_a, "2").await, Put::Accepted);
    a.reaches(&of_a, "2", Option::is_some).await;
    let first = a.take().await.remove(0);
    let retry = Finish::Retry { due_ms: 7, reason: "503".to_owned() };
    a.inbox.finish(LATER, first.receipt, retry).await.unwrap();
    let second = a.take().await.remove(0);
    assert_eq!(second.attempt, 2);
    a.inbox.finish(LATER, second.receipt, Finish::Dead { reason: "500".to_owned() }).await.unwrap();
    b.reaches(&of_a, "2", |state| matches!(state, Some(EventState::Dead { attempts: 2, .. }))).await;
    let page = EventPage { after: None, limit: 10 };
    assert_eq!(b.inbox.dead_letters(&of_a, page).await.unwrap().len(), 1);
    assert_eq!(b.inbox.redrive(LATER, &of_a, DeadLetters::All).await.unwrap(), 1);
    a.reaches(&of_a, "2", |state| matches!(state, Some(EventState::Waiting { attempts: 0, .. }))).await;
    let third = a.take().await.remove(0);
    a.inbox.finish(LATER, third.receipt, Finish::Dead { reason: "500".to_owned() }).await.unwrap();
    let discarded = a.inbox.discard(LATER, &of_a, DeadLetters::Ids(vec!["2".to_owned()])).await.unwrap();
    assert_eq!(discarded, 1);
    b.reaches(&of_a, "2", |state| matches!(state, Some(EventState::Discarded { .. }))).await;
}

/// The clock of `b` is an hour ahead of that of `a`.
#[tokio::test]
async fn clocks_an_hour_apart_delay_nothing_but_what_is_to_wait() {
    const HOUR: u64 = 3_600_000;
    let Some(server) = Server::start("clocks_an_hour_apart_delay_nothing_but_what_is_to_wait") else {
        return;
    };
    let (a, b, [of_a, of_b]) = two(&server).await;
    let now = 1_000_000;
    let put = async |member: &Member, now: u64, trigger: &str| {
        let event = NewEvent { due_ms: now, ..event(trigger, "1") };
        member.inbox.put(now, vec![event], Vec::new()).await.unwrap();
    };
    // What is due at once is so by the clock of whoever has it.
    put(&b, now + HOUR, &of_a).await;
    put(&a, now, &of_b).await;
    a.reaches(&of_a, "1", Option::is_some).await;
    b.reaches(&of_b, "1", Option::is_some).await;
    let (first, second) = (a.take_at(now).await.remove(0), b.take_at(now + HOUR).await.remove(0));
    // What waits does so by the clock of its holder.
    let retry = |now: u64| Finish::Retry { due_ms: now + 10, reason: "503".to_owned() };
    a.inbox.finish(now, first.receipt, retry(now)).await.unwrap();
    b.inbox.finish(now + HOUR, second.receipt, retry(now + HOUR)).await.unwrap();
    assert!(a.take_at(now + 9).await.is_empty() && b.take_at(now + HOUR + 9).await.is_empty());
    assert_eq!(a.take_at(now + 10).await.len(), 1);
    // Another holder has it later or sooner by as much as its clock differs, and once.
    drop(b);
    a.holds(&[&of_b], true).await;
    let of = |taken: &[TakenEvent]| taken.iter().map(|event| event.trigger.to_string()).collect::<Vec<_>>();
    assert_eq!(of(&a.take_at(now + 20).await), Vec::<String>::new());
    assert_eq!(of(&a.take_at(now + HOUR + 10).await), [of_b]);
}

#[tokio::test]
async fn events_of_a_node_that_is_gone_are_taken_by_another() {
    let Some(server) = Server::start("events_of_a_node_that_is_gone_are_taken_by_another") else { return };
    let (a, b, [of_a, _]) = two(&server).await;
    a.put(&of_a, "1").await;
    a.put(&of_a, "2").await;
    let taken = a.take().await;
    assert_eq!(taken.len(), 1, "the other one waits for it");
    drop(a);
    b.holds(&[&of_a], true).await;
    for id in ["1", "2"] {
        let again = b.take().await;
        assert_eq!(again.iter().map(|event| &*event.id).collect::<Vec<_>>(), [id]);
        b.acknowledge(&again[0]).await.unwrap();
    }
    b.reaches(&of_a, "2", is_acknowledged).await;
}

#[tokio::test]
async fn a_holder_that_lost_its_lease_ends_and_puts_nothing() {
    let Some(server) = Server::start("a_holder_that_lost_its_lease_ends_and_puts_nothing") else { return };
    let (a, b, [of_a, of_b]) = two(&server).await;
    let mark = |value: &'static str| Mark {
        trigger: of_a.clone(),
        name: format!("tick/{of_a}"),
        value: Some(Bytes::from_static(value.as_bytes())),
    };
    a.inbox.put(5, vec![event(&of_a, "tick")], vec![mark("1")]).await.unwrap();
    let taken = a.take().await.remove(0);
    let lost = a.inbox.lost(taken.receipt);
    // It is as if it were stopped: it does not know, and others think that it is gone.
    a.node.cluster.leases().spread(BTreeSet::new());
    a.node.cluster.leases().contend(BTreeSet::new());
    b.holds(&[&of_a, &of_b], true).await;
    tokio::time::timeout(PATIENCE, lost).await.expect("it hears that it has lost the trigger");
    let again = b.take().await.remove(0);
    assert_eq!((&*again.id, again.attempt), ("tick", 1));
    let finish = Finish::Retry { due_ms: 9, reason: "late".to_owned() };
    let ended = a.inbox.finish(LATER, taken.receipt, finish).await;
    assert!(matches!(ended, Err(InboxError::NotInFlight)), "{ended:?}");
    let put = a.inbox.put(5, vec![event(&of_a, "tick-2")], vec![mark("2")]).await;
    assert!(matches!(put, Err(InboxError::NotHeld)), "{put:?}");
    b.acknowledge(&again).await.unwrap();
    a.reaches(&of_a, "tick", is_acknowledged).await;
    assert_eq!(a.inbox.marks("tick/", 10).await.unwrap()[0].1, "1");
}

#[tokio::test]
async fn a_trigger_moves_to_a_node_that_joins_once_nothing_is_in_flight() {
    let name = "a_trigger_moves_to_a_node_that_joins_once_nothing_is_in_flight";
    let Some(server) = Server::start(name) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Member::start(&brokers, "a").await;
    let names: Vec<_> = (0..200).map(|number| format!("f{number}/live/t")).collect();
    a.holds(&names.iter().map(|name| &**name).collect::<Vec<_>>(), true).await;
    for name in &names {
        a.put(name, "1").await;
    }
    let mut taken = Vec::new();
    while taken.len() < names.len() {
        taken.extend(a.take().await);
    }
    let b = Member::start(&brokers, "b").await;
    for event in &taken {
        a.acknowledge(event).await.unwrap();
    }
    let mut holdings = b.inbox.holdings();
    let moved = async {
        while !names.iter().any(|name| b.inbox.holds(name)) {
            holdings.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("some triggers move");
    for name in &names {
        b.reaches(name, "1", is_acknowledged).await;
    }
    assert!(b.take().await.is_empty(), "nothing is handled twice");
}

#[tokio::test]
async fn a_broker_that_dies_again_and_again_loses_and_doubles_nothing() {
    let name = "a_broker_that_dies_again_and_again_loses_and_doubles_nothing";
    let Some(mut server) = Server::start(name) else { return };
    let (a, b, [of_a, of_b]) = two(&server).await;
    let (a, b) = (Arc::new(a), Arc::new(b));
    let mut putting = JoinSet::new();
    for (node, trigger) in [(&a, &of_b), (&b, &of_a)] {
        let (node, trigger) = (Arc::clone(node), trigger.clone());
        putting.spawn(async move {
            let mut acknowledged = BTreeSet::new();
            for number in 0..200 {
                let id = format!("{number}");
                match node.try_put(&trigger, &id).await {
                    Ok(put) => {
                        assert_eq!(put, Put::Accepted);
                        acknowledged.insert(id);
                    }
                    Err(InboxError::Store(StoreError::Unknown { .. } | StoreError::OutOfTouch { .. })) => {
                        tokio::task::yield_now().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (trigger, acknowledged)
        });
    }
    for _ in 0..3 {
        a.node.in_touch(true).await;
        server.restart();
    }
    let mut acknowledged = BTreeMap::new();
    while let Some(put) = putting.join_next().await {
        let (trigger, ids) = put.unwrap();
        acknowledged.insert(trigger, ids);
    }
    // Each event is there once, on both nodes, in the same order.
    a.node.in_touch(true).await;
    b.node.in_touch(true).await;
    for (trigger, ids) in &acknowledged {
        a.put(trigger, "last").await;
        b.reaches(trigger, "last", Option::is_some).await;
        let page = EventPage { after: None, limit: 1000 };
        let (on_a, on_b) =
            (a.inbox.waiting(trigger, page).await.unwrap(), b.inbox.waiting(trigger, page).await.unwrap());
        let of = |events: &[wasm_fn_store::StoredEvent]| -> Vec<_> {
            events.iter().map(|event| (event.position, event.id.clone())).collect()
        };
        assert_eq!(of(&on_a), of(&on_b));
        let there: BTreeSet<_> = on_a.iter().map(|event| event.id.clone()).collect();
        assert_eq!(there.len(), on_a.len(), "none is doubled");
        assert!(ids.is_subset(&there), "{:?}", ids.difference(&there));
    }
}

#[tokio::test]
async fn a_node_out_of_touch_takes_nothing_in_and_ends_what_it_has_later() {
    let name = "a_node_out_of_touch_takes_nothing_in_and_ends_what_it_has_later";
    let Some(mut server) = Server::start(name) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Member::start(&brokers, "a").await;
    a.holds(&["t"], true).await;
    a.put("t", "1").await;
    a.put("t", "2").await;
    let taken = a.take().await.remove(0);
    server.kill();
    a.node.in_touch(false).await;
    a.holds(&["t"], false).await;
    let refused = a.try_put("t", "3").await;
    assert!(matches!(refused, Err(InboxError::Store(StoreError::OutOfTouch { .. }))), "{refused:?}");
    a.acknowledge(&taken).await.unwrap();
    assert!(a.take().await.is_empty(), "it holds nothing");
    server.start_again();
    a.node.in_touch(true).await;
    a.reaches("t", "1", is_acknowledged).await;
    a.holds(&["t"], true).await;
    assert_eq!(a.take().await.iter().map(|event| &*event.id).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn a_node_that_comes_late_begins_from_a_snapshot() {
    let Some(server) = Server::start("a_node_that_comes_late_begins_from_a_snapshot") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Member::start(&brokers, "a").await;
    a.holds(&["t"], true).await;
    let large =
        |number: u32| NewEvent { body: Bytes::from(vec![1; 40 << 10]), ..event("t", &number.to_string()) };
    let mut number = 0;
    let trimmed = async {
        loop {
            number += 1;
            a.inbox.put(5, vec![large(number)], Vec::new()).await.unwrap();
            let health = a.node.cluster.health().await.unwrap();
            let log = health.iter().find(|stream| stream.stream.ends_with("-EVENTS")).unwrap();
            if log.last > 20 && log.bytes < (40 << 10) * (log.last - 8) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("the log is shortened");
    let b = Member::start(&brokers, "b").await;
    for id in 1..=number {
        b.reaches("t", &id.to_string(), Option::is_some).await;
    }
    assert_eq!(b.put("t", "1").await, Put::Duplicate);
}

#[tokio::test]
async fn an_event_as_large_as_a_message_may_be_is_kept_and_one_that_is_larger_is_refused() {
    let name = "an_event_as_large_as_a_message_may_be_is_kept_and_one_that_is_larger_is_refused";
    let Some(server) = Server::start(name) else { return };
    let (a, b, [of_a, _]) = two(&server).await;
    let large = |id: &str, bytes: usize| NewEvent { body: Bytes::from(vec![7; bytes]), ..event(&of_a, id) };
    a.inbox.put(5, vec![large("1", 1_000_000)], Vec::new()).await.unwrap();
    b.reaches(&of_a, "1", Option::is_some).await;
    let refused = a.inbox.put(5, vec![large("2", 1 << 20)], Vec::new()).await;
    assert!(matches!(refused, Err(InboxError::TooLarge { .. })), "{refused:?}");
}
