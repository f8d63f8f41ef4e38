//! Events that deploy, and tags that are watched.

use std::time::Duration;

use bytes::Bytes;
use wasm_fn_core::VersionNo;
use wasm_fn_events::{Trigger, TriggerKind, WatchSource};
use wasm_fn_store::{EventPage, EventState, StoredEvent};

use super::{Node, eventually, minutely, trigger, triggers};
use crate::{DeployEnd, DeployOutcome, DeployStats, EventList, EventOperations, TriggerStats};

const KEY: &str = "hello/live/watch";

/// A trigger that looks at a tag every minute, and gives an event three attempts.
fn watching() -> Trigger {
    let artifact = "oci://registry.example/app:prod".parse().unwrap();
    let source = WatchSource::new(artifact, Duration::from_secs(60), None).unwrap();
    let like = trigger("watch", minutely(wasm_fn_events::Overlap::Skip), 3);
    Trigger { kind: TriggerKind::Watch(source), ..like }
}

async fn start() -> Node {
    Node::start(triggers(vec![("watch", watching())])).await
}

fn ended(end: DeployEnd, memory: Option<&'static str>) -> DeployOutcome {
    DeployOutcome { end, memory: memory.map(|text| Bytes::from_static(text.as_bytes())) }
}

fn not_yet() -> DeployEnd {
    DeployEnd::NotYet { reason: "there is no such tag".to_owned(), after: None }
}

async fn list(node: &Node, list: EventList) -> Vec<StoredEvent> {
    node.events.list(KEY, list, EventPage { after: None, limit: 100 }).await.unwrap()
}

/// Why the only dead letter is one, once there is one.
async fn reason(node: &Node) -> String {
    eventually(|| async { !list(node, EventList::Dead).await.is_empty() }).await;
    match &list(node, EventList::Dead).await[..] {
        [StoredEvent { state: EventState::Dead { reason, .. }, .. }] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// What came of the events once the stats are as `expected`.
async fn until(node: &Node, expected: impl Fn(&TriggerStats) -> bool) -> TriggerStats {
    eventually(|| async { expected(&node.events.stats(KEY)) }).await;
    node.events.stats(KEY)
}

impl Node {
    fn shows(&self, digest: Result<&str, &str>) {
        let digest = digest.map(str::to_owned).map_err(str::to_owned);
        self.deploys.0.lock().unwrap().digest = Some(digest);
    }

    fn will_end(&self, end: DeployOutcome) {
        self.deploys.0.lock().unwrap().ends.push_back(end);
    }

    /// Waits until the tag was looked at once more, at least `seconds` after the start.
    async fn look_at(&self, seconds: u64) {
        let looks = || self.deploys.0.lock().unwrap().looks;
        let before = looks();
        self.set_time(seconds);
        // A look that ended late is followed by the next one later.
        eventually(|| async {
            self.time.send_modify(|now| *now = now.saturating_add(Duration::from_secs(1)));
            looks() > before
        })
        .await;
    }
}

#[tokio::test]
async fn another_digest_is_an_event_and_the_same_is_none() {
    let node = start().await;
    until(&node, |stats| stats.watch.as_ref().is_some_and(|watch| watch.failing.is_some())).await;
    node.shows(Ok("sha256:aa"));
    node.will_end(ended(
        DeployEnd::Deployed { version: VersionNo::FIRST, text: "v1".to_owned() },
        Some("one"),
    ));
    // After one failure the next look is up to two minutes away, and a tenth.
    node.look_at(140).await;
    let stats = until(&node, |stats| stats.deploys.deployed == 1).await;
    assert_eq!(stats.versions[&VersionNo::FIRST].acknowledged, 1);
    node.look_at(300).await;
    node.shows(Ok("sha256:bb"));
    node.look_at(400).await;
    let stats = until(&node, |stats| stats.deploys.skipped == 1).await;
    assert_eq!(stats.deploys, DeployStats { deployed: 1, skipped: 1, retried: 0, failed: 0 });
    // It may go back to what it was within the day.
    node.shows(Ok("sha256:aa"));
    node.look_at(500).await;
    until(&node, |stats| stats.deploys.skipped == 2).await;
    let came = std::mem::take(&mut node.deploys.0.lock().unwrap().came);
    let (ids, memory): (Vec<_>, Vec<_>) = came.into_iter().unzip();
    let begin = |id: &String| id.split('@').next().unwrap().to_owned();
    assert_eq!(ids.iter().map(begin).collect::<Vec<_>>(), ["sha256:aa", "sha256:bb", "sha256:aa"]);
    let one = Some(Bytes::from_static(b"one"));
    assert_eq!(memory, [None, one.clone(), one], "what the first left is remembered");
    node.stop().await;
}

#[tokio::test]
async fn tag_that_vanished_is_shown_failing_and_deploys_nothing() {
    let node = start().await;
    node.shows(Ok("sha256:aa"));
    // The first look may have come before that.
    node.set_time(140);
    until(&node, |stats| stats.deploys.skipped == 1).await;
    node.shows(Err("manifest unknown"));
    node.look_at(300).await;
    let stats = until(&node, |stats| stats.watch.as_ref().is_some_and(|watch| watch.failing.is_some())).await;
    let watch = stats.watch.unwrap();
    assert_eq!(
        (watch.failing.as_deref(), watch.digest.as_deref()),
        (Some("manifest unknown"), Some("sha256:aa"))
    );
    assert!(watch.looked > watch.seen);
    assert_eq!(stats.deploys.skipped, 1);
    eventually(|| async { list(&node, EventList::Waiting).await.is_empty() }).await;
    assert!(list(&node, EventList::Dead).await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_tried_again_and_given_up_in_the_end() {
    let node = start().await;
    node.shows(Ok("sha256:aa"));
    for _ in 0..3 {
        node.will_end(ended(not_yet(), None));
    }
    for minute in 3..8 {
        node.set_time(minute * 60);
        let tried = u64::min(minute - 2, 3);
        until(&node, |stats| stats.deploys.retried + stats.deploys.failed >= tried).await;
    }
    let stats = node.events.stats(KEY);
    assert_eq!(stats.deploys, DeployStats { deployed: 0, skipped: 0, retried: 2, failed: 1 });
    assert_eq!(
        reason(&node).await,
        "it was delivered 3 times, as often as allowed; it was not deployed since there is no such tag"
    );
    node.stop().await;
}

#[tokio::test]
async fn what_can_never_be_deployed_is_a_dead_letter_at_once() {
    let node = start().await;
    node.shows(Ok("sha256:aa"));
    node.will_end(ended(DeployEnd::Refused { reason: "the digest is another".to_owned() }, None));
    node.set_time(140);
    until(&node, |stats| stats.deploys.failed == 1).await;
    assert_eq!(reason(&node).await, "the digest is another");
    assert_eq!(node.events.stats(KEY).failures_in_a_row, 1);
    node.stop().await;
}
