//! A change costs what it changes, however many functions there are.

use std::num::NonZeroU32;

use wasm_fn_core::VersionNo;
use wasm_fn_events::{EventPath, Redeliver, RetryPolicy, Trigger, TriggerId, TriggerKind, WebhookSource};

use super::*;
use crate::state::functions::tests::looked_at;

/// Functions beside those that change.
const FUNCTIONS: usize = 2000;

/// Keys that a change may copy of a route table: those of the shard of its route.
const COPIED_MAX: usize = 64;

/// Everything that people and guests do most often, each once. Returns how many changes there were.
async fn change(node: &Node, component: Digest) -> usize {
    let control = &node.control;
    let deploy = |order| control.deploy(order, note(), Arc::new(|_| {}));
    let before = control.state().revision().0;
    deploy(order("new", component, ReleaseStrategy::AllAtOnce)).await.unwrap();
    let config = FunctionConfig { routes: vec!["/a-new-route/*".parse().unwrap()], ..Default::default() };
    let routed = Deploy { config: Arc::new(config), ..order("f1", component, ReleaseStrategy::AllAtOnce) };
    deploy(routed).await.unwrap();
    let other = node.upload(b"2").await;
    deploy(order("f2", other, canary())).await.unwrap();
    control.command(name("f2"), live(), Command::Abort, note()).await.unwrap();
    deploy(order("f3", other, ReleaseStrategy::NoTraffic)).await.unwrap();
    let shares = ["v1=10%", "v2=90%"].map(|share| {
        let (version, weight) = share.split_once('=').unwrap();
        (version.parse().unwrap(), weight.parse().unwrap())
    });
    control.set_traffic(name("f3"), live(), shares.to_vec(), note()).await.unwrap();
    control.rollback(name("f1"), live(), None, note()).await.unwrap();
    let id = TriggerId { function: name("f4"), stage: live(), name: "work".parse().unwrap() };
    control.add_trigger(id, webhook(), None, note()).await.unwrap();
    control.delete(name("f5"), note()).await.unwrap();
    let stage = node.stage("f6");
    stage.version(VersionNo::FIRST).unwrap().tally.trapped(7);
    control.keep_traps(&*control.writer.lock().await).await;
    usize::try_from(control.state().revision().0 - before).unwrap()
}

fn webhook() -> Trigger {
    let source = WebhookSource::new("standard".parse().unwrap(), vec!["KEY".parse().unwrap()]).unwrap();
    Trigger {
        kind: TriggerKind::Webhook(source),
        path: EventPath::of(&"work".parse().unwrap()),
        retry: RetryPolicy::default(),
        concurrency_max: NonZeroU32::MIN,
        rate: None,
        ordered_by: None,
        redeliver: Redeliver::Always,
        paused: None,
    }
}

#[tokio::test]
async fn change_neither_looks_at_nor_copies_other_functions() {
    let node = Node::start().await;
    let component = node.upload(b"1").await;
    for at in 0..FUNCTIONS {
        let order = order(&format!("f{at}"), component, ReleaseStrategy::AllAtOnce);
        node.control.deploy(order, note(), Arc::new(|_| {})).await.unwrap();
    }
    // A stream holds an earlier state, and a request an earlier table.
    let (state, table) = (node.control.state(), node.control.tables().load_full());
    let holders = |count: usize| table.stages().map(Arc::strong_count).filter(|&found| found > count).count();
    let usual = table.stages().map(Arc::strong_count).min().unwrap();
    assert_eq!(holders(usual), 0);
    looked_at();
    let changes = change(&node, component).await;
    assert!(changes >= 9, "{changes}");
    let found = looked_at();
    assert!(found <= changes, "{changes} changes looked at {found} functions");
    let copied = state.functions().filter(|(_, function)| Arc::strong_count(function) > 1).count();
    assert_eq!(copied, 0, "functions whose entries were copied");
    let copied = holders(usual);
    assert!(copied <= changes * COPIED_MAX, "{changes} changes copied {copied} entries of the table");
}
