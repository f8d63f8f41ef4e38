//! Analyses of several nodes that exchange their evidence, over messages as they travel.

use std::{collections::BTreeMap, time::Instant};

use tokio::{sync::Notify, time::advance};
use wasm_fn_core::{FunctionName, NodeName, Outcome, Side, StageName, TrafficSplit, VersionNo, Weight};
use wasm_fn_rollout::{GateSpec, Phase, Place, PlanSpec, Strategy, Time, Verdict};
use wasm_fn_router::{
    Assignment, InvocationRecord, Observation, ObservationTicket, Placement, Tally, TrafficObserver,
};

use super::*;
use crate::{
    analysis::{TableObserver, Tallies},
    fake::FakePeers,
    state::{Rollout, RolloutSpec},
};

struct Node {
    name: NodeName,
    analyses: Analyses,
    analysis: Arc<Analysis>,
    observer: TableObserver,
    changed: Arc<Notify>,
}

fn rollout() -> Rollout {
    let plan =
        PlanSpec::usual(Strategy::Canary { steps: vec!["10%".parse().unwrap(), "50%".parse().unwrap()] });
    let spec = RolloutSpec::new(plan, GateSpec::default(), true, Duration::ZERO, Vec::new()).unwrap();
    let version = |no| VersionNo::new(no).unwrap();
    Rollout {
        canary: version(2),
        base: version(1),
        phase: Phase::start(spec.plan(), Time(0)),
        spec: Arc::new(spec),
        started_ms: 0,
        from_split: TrafficSplit::all(version(1)),
        gate_no: 1,
        gate: None,
        past: None,
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let name: NodeName = name.parse().unwrap();
        let node =
            ClusterNode { name: name.clone(), wake: Arc::default(), peers: FakePeers::of(name.as_str()) };
        let (tallies, changed) =
            (Tallies::new(Arc::default(), Arc::new(Tally::new()), Arc::default()), Arc::default());
        let analysis = Arc::new(Analysis::of_cluster(&node, &rollout(), tallies, Arc::clone(&changed)));
        let share = Weight::from_basis_points(1_000).unwrap();
        let observer = analysis.observer(share, share, None);
        analysis.activate(&observer, Place::Step(0));
        let (function, stage): (FunctionName, StageName) = ("hello".parse().unwrap(), StageName::live());
        let analyses = Analyses::default();
        analyses.replace(&function, BTreeMap::from([(stage, Arc::clone(&analysis))]));
        Self { name, analyses, analysis, observer, changed }
    }

    /// A request begins and ends.
    fn request(&self, side: Side, outcome: Outcome) {
        let at: Instant = clock::instant();
        let placement = Placement::Chance;
        let assignment = Assignment { side, placement, user: None, fallback_after: None };
        let ticket: ObservationTicket = self.observer.request_began(&assignment, at);
        let latency = Duration::from_millis(1);
        let record = InvocationRecord { outcome, latency, queue_wait: Duration::ZERO, memory_peak_bytes: 1 };
        self.observer.request_ended(&Observation {
            ticket,
            side,
            placement,
            record,
            abandoned: false,
            at,
            user: None,
            request_id: 7,
            trap: None,
        });
    }

    fn failed(&self) -> bool {
        matches!(self.analysis.verdict(), Verdict::Fail(_))
    }
}

/// Has all nodes tell each other what there is to tell, for 300 ms.
async fn settle(nodes: &[Node]) {
    for _ in 0..150 {
        let mut queue = Vec::new();
        for node in nodes {
            turn(&node.analyses, |body| queue.push(PeerMessage { from: node.name.clone(), body }));
        }
        while let Some(message) = queue.pop() {
            for node in nodes.iter().filter(|node| node.name != message.from) {
                let tell = |body| queue.push(PeerMessage { from: node.name.clone(), body });
                assert!(hear(&node.analyses, &message, tell));
            }
        }
        advance(Duration::from_millis(2)).await;
    }
}

async fn nodes() -> Vec<Node> {
    let nodes = Vec::from(["n1", "n2", "n3"].map(Node::new));
    settle(&nodes).await;
    nodes
}

#[tokio::test(start_paused = true)]
async fn the_leader_fails_the_canary_by_the_failures_of_all_and_all_withhold_it() {
    let nodes = nodes().await;
    nodes[0].analysis.lead(true);
    for node in &nodes {
        node.request(Side::Stable, Outcome::Success);
        (0..2).for_each(|_| node.request(Side::Canary, Outcome::Trap));
    }
    assert!(nodes.iter().all(|node| !node.failed()), "no node has enough by itself");
    settle(&nodes).await;
    assert!(nodes[0].failed() && !nodes[1].failed(), "only the leader decides");
    assert!(nodes.iter().all(|node| node.observer.is_withheld()));
    let report = nodes[0].analysis.report(String::new());
    assert_eq!((report.canary.failures, report.canary.requests, report.stable.requests), (6, 6, 3));
    let of_nodes: Vec<_> =
        report.nodes.iter().map(|node| (node.node.as_str(), node.canary, node.stable)).collect();
    assert_eq!(of_nodes, [("n1", (2, 2), (0, 1)), ("n2", (2, 2), (0, 1)), ("n3", (2, 2), (0, 1))]);
    // Whoever carries the decision out hears of it.
    nodes[0].changed.notified().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_goes_on_with_what_it_has_heard() {
    let nodes = nodes().await;
    nodes[0].analysis.lead(true);
    (0..4).for_each(|_| nodes[1].request(Side::Canary, Outcome::Trap));
    settle(&nodes).await;
    nodes[0].analysis.lead(false);
    nodes[2].analysis.lead(true);
    settle(&nodes).await;
    assert!(nodes.iter().all(|node| !node.failed()));
    (0..2).for_each(|_| nodes[0].request(Side::Canary, Outcome::Trap));
    settle(&nodes).await;
    assert!(nodes[2].failed() && nodes.iter().all(|node| node.observer.is_withheld()));
}

#[tokio::test(start_paused = true)]
async fn a_node_with_enough_evidence_withholds_the_canary_at_once_and_the_leader_hears_why() {
    let nodes = nodes().await;
    nodes[0].analysis.lead(true);
    let enough = (1..20).find(|_| {
        nodes[1].request(Side::Canary, Outcome::Trap);
        nodes[1].observer.is_withheld()
    });
    // Without others, five are enough.
    assert_eq!(enough, Some(7));
    assert!(!nodes[0].observer.is_withheld());
    settle(&nodes).await;
    assert!(nodes.iter().all(|node| node.observer.is_withheld()));
    let Verdict::Fail(failure) = nodes[0].analysis.verdict() else { panic!("the leader has not heard") };
    assert!(failure.to_string().starts_with("on node n2: errors: 7 of 7 requests"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_a_step_are_those_of_all_nodes_at_that_step() {
    let mut nodes = nodes().await;
    for node in &nodes {
        (0..10).for_each(|_| node.request(Side::Canary, Outcome::Success));
    }
    settle(&nodes).await;
    assert!(nodes.iter().all(|node| node.analysis.step_requests() == 30));
    // One node is at the next step already.
    let half = Weight::from_basis_points(5_000).unwrap();
    let observer = nodes[0].analysis.observer(half, half, None);
    nodes[0].analysis.activate(&observer, Place::Step(1));
    assert_eq!(nodes[0].analysis.step_requests(), 0);
    (0..5).for_each(|_| nodes[1].request(Side::Canary, Outcome::Success));
    settle(&nodes).await;
    assert_eq!(nodes[0].analysis.step_requests(), 0, "requests of the step before do not count for this one");
    nodes[0].observer = observer;
    (0..5).for_each(|_| nodes[0].request(Side::Canary, Outcome::Success));
    settle(&nodes).await;
    assert_eq!(nodes[0].analysis.step_requests(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_canary_is_withheld_everywhere_before_the_commit() {
    let nodes = nodes().await;
    nodes[1].analysis.withhold();
    settle(&nodes).await;
    assert!(nodes.iter().all(|node| node.observer.is_withheld()));
    assert!(nodes.iter().all(|node| !node.failed()), "somebody's command is no verdict");
}
