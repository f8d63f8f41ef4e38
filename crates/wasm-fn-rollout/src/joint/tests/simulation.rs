//! A simulation of nodes with real feeds and gates, and of the messages between them: late, lost, doubled and
//! out of order.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasm_fn_core::{NodeName, Outcome, Weight};

use crate::{
    Arm, Baseline, Ending, Feed, FeedTicket, Gate, GateScope, GateSpec, Joint, JointMessage, Stretch,
    Thresholds, Verdict,
};

/// Messages between two nodes.
#[derive(Clone, Copy)]
pub(super) struct Network {
    /// How long one takes, microseconds: at least and at most.
    pub(super) delay_us: (u64, u64),
    /// How often one is lost, and how often it comes twice.
    pub(super) lost: f64,
    pub(super) doubled: f64,
}

/// How a version answers.
#[derive(Clone, Copy)]
pub(super) struct Version {
    pub(super) fails: f64,
    /// How long a good and a bad answer take, microseconds.
    pub(super) takes_us: [u64; 2],
}

/// One run.
#[derive(Clone, Copy)]
pub(super) struct Scene {
    pub(super) nodes: usize,
    pub(super) alpha: f64,
    pub(super) share: u16,
    pub(super) per_second: f64,
    pub(super) requests: u64,
    pub(super) stable: Version,
    pub(super) canary: Version,
    pub(super) network: Network,
    /// Whether another node leads from some moment on, with another after it.
    pub(super) leaders_change: bool,
}

/// What a run came to.
pub(super) struct Ran {
    /// Requests until all nodes had withheld the canary; `None` if it was not failed.
    pub(super) until_withheld: Option<u64>,
    /// Requests on the canary that the leader's gate has taken.
    pub(super) taken: u64,
    pub(super) sent: u64,
}

enum Happening {
    Request,
    End(usize, FeedTicket, Ending),
    Message(usize, usize, JointMessage),
    Turn(usize),
    Leader(usize),
}

struct Queued(u64, u64, Happening);

struct Node {
    feed: Feed,
    joint: Joint,
    woken: Arc<AtomicBool>,
    withheld: bool,
    /// When its next turn is.
    turns_us: u64,
}

struct World {
    scene: Scene,
    random: StdRng,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    now_us: u64,
    nodes: Vec<Node>,
    leader: usize,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from: none can be made otherwise")]
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

pub(super) fn name(at: usize) -> NodeName {
    format!("n{at}").parse().unwrap()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

fn gate(alpha: f64, scope: GateScope) -> Gate {
    let spec = GateSpec { alpha, ..GateSpec::default() };
    Gate::scoped(spec, 1, Baseline::Concurrent(Box::default()), scope).unwrap()
}

fn stretch(share: u16) -> Stretch {
    let share = Weight::from_basis_points(share).unwrap();
    Stretch { no: 1, share, baseline_share: Weight::ZERO, begins_step: false, by_cohort: false }
}

impl Node {
    fn new(scene: &Scene, at: usize) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&woken);
        let feed = Feed::new(gate(scene.alpha, GateScope::Own), stretch(scene.share), Thresholds::default())
            .telling(Joint::FIRST_ROUND, 1, Box::new(move || wake.store(true, Relaxed)));
        let joint = Joint::new(gate(scene.alpha, GateScope::Joint), 1, false, name(at), at as u64, start());
        Self { feed, joint, woken, withheld: false, turns_us: 0 }
    }
}

impl World {
    fn new(scene: Scene, seed: u64) -> Self {
        let nodes = (0..scene.nodes).map(|at| Node::new(&scene, at)).collect();
        let random = StdRng::seed_from_u64(seed);
        let queue = BinaryHeap::new();
        Self { scene, random, queue, queued: 0, now_us: 0, nodes, leader: 0 }
    }

    fn now(&self) -> Instant {
        start() + Duration::from_micros(self.now_us)
    }

    fn queue(&mut self, after_us: u64, happening: Happening) {
        self.queued += 1;
        self.queue.push(Reverse(Queued(self.now_us + after_us, self.queued, happening)));
    }

    fn run(mut self) -> Ran {
        for at in 0..self.scene.nodes {
            self.queue(0, Happening::Turn(at));
        }
        self.nodes[0].joint.lead();
        if self.scene.leaders_change {
            let lasts = self.scene.requests as f64 / self.scene.per_second;
            for leader in 1..3 {
                let at = Duration::from_secs_f64(self.random.random_range(0.0..lasts));
                self.queue(micros(at), Happening::Leader(leader));
            }
        }
        // The nodes have heard of each other before there are requests.
        self.queue(150_000, Happening::Request);
        let (mut sent, mut idle_us) = (0, 0);
        while let Some(Reverse(Queued(at_us, _, happening))) = self.queue.pop() {
            self.now_us = at_us;
            match happening {
                Happening::Request => {
                    sent += 1;
                    idle_us = at_us;
                    self.request();
                    if sent < self.scene.requests {
                        let wait = -(1.0 - self.random.random::<f64>()).ln() / self.scene.per_second;
                        self.queue(micros(Duration::from_secs_f64(wait)), Happening::Request);
                    }
                }
                Happening::End(at, ticket, ending) => {
                    idle_us = at_us;
                    if self.nodes[at].feed.end(ticket, &ending) {
                        self.look_at_own(at);
                    }
                }
                Happening::Message(from, to, message) => {
                    let now = self.now();
                    let node = &mut self.nodes[to];
                    node.joint.hear(&node.feed, &name(from), message, now);
                    node.withheld |= node.joint.is_withheld();
                    self.turn(to);
                }
                // Another turn came before.
                Happening::Turn(at) if self.nodes[at].turns_us != at_us => {}
                Happening::Turn(at) => self.turn(at),
                Happening::Leader(leader) => {
                    self.nodes[self.leader].joint.follow();
                    self.leader = leader;
                    self.nodes[leader].joint.lead();
                    self.turn(leader);
                }
            }
            for node in 0..self.scene.nodes {
                if self.nodes[node].woken.swap(false, Relaxed) {
                    self.turn(node);
                }
            }
            let all = self.nodes.iter().all(|node| node.withheld);
            // Longer than lost messages take to be told again.
            if all || at_us > idle_us + 300_000 {
                let taken = self.nodes[self.leader].joint.gate().canary().requests;
                return Ran { until_withheld: all.then_some(sent), taken, sent };
            }
        }
        unreachable!("a node always has another turn")
    }

    fn request(&mut self) {
        let at = self.random.random_range(0..self.scene.nodes);
        let drawn = self.random.random_range(0..10_000) < self.scene.share;
        let is_canary = drawn && !self.nodes[at].withheld;
        let (arm, version) =
            if is_canary { (Arm::Canary, self.scene.canary) } else { (Arm::Stable, self.scene.stable) };
        let now = self.now();
        let ticket = self.nodes[at].feed.begin(1, arm, None, now);
        let fails = self.random.random_bool(version.fails);
        let takes_us = version.takes_us[usize::from(fails)] + self.random.random_range(0..200);
        let latency = Duration::from_micros(takes_us);
        let outcome = if fails { Outcome::ServerError } else { Outcome::Success };
        let ending = Ending { outcome, latency, memory_peak_bytes: 0, user: None, at: now + latency };
        self.queue(takes_us, Happening::End(at, ticket, ending));
    }

    fn turn(&mut self, at: usize) {
        let now = self.now();
        loop {
            let node = &mut self.nodes[at];
            let mut message = node.joint.turn(&node.feed, now);
            let fails = at == self.leader && matches!(node.joint.verdict(1, false), Verdict::Fail(_));
            if fails && !std::mem::replace(&mut node.withheld, true) {
                node.joint.withhold();
                message = message.or_else(|| node.joint.turn(&node.feed, now));
            }
            let Some(message) = message else { break };
            for to in (0..self.scene.nodes).filter(|&to| to != at) {
                self.send(at, to, message.clone());
            }
        }
        let waits_us = micros(self.nodes[at].joint.waits());
        self.nodes[at].turns_us = self.now_us + waits_us;
        self.queue(waits_us, Happening::Turn(at));
    }

    fn send(&mut self, from: usize, to: usize, message: JointMessage) {
        let Network { delay_us: (least, most), lost, doubled } = self.scene.network;
        if self.random.random_bool(lost) {
            return;
        }
        for _ in 0..1 + u64::from(self.random.random_bool(doubled)) {
            let delay = self.random.random_range(least..=most);
            self.queue(delay, Happening::Message(from, to, message.clone()));
        }
    }

    fn look_at_own(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if let Verdict::Fail(failure) = node.feed.verdict() {
            node.withheld = true;
            node.joint.fail(failure.to_string());
            node.joint.withhold();
        }
    }
}

pub(super) fn run(scene: Scene, seed: u64) -> Ran {
    World::new(scene, seed).run()
}

/// Requests until one node without others fails the canary.
fn alone(scene: Scene, seed: u64) -> u64 {
    let mut random = StdRng::seed_from_u64(seed);
    let feed = Feed::new(gate(scene.alpha, GateScope::Single), stretch(scene.share), Thresholds::default());
    let mut ends: BinaryHeap<Reverse<Queued>> = BinaryHeap::new();
    let mut now_us = 0;
    for sent in 1.. {
        let wait = -(1.0 - random.random::<f64>()).ln() / scene.per_second;
        now_us += micros(Duration::from_secs_f64(wait));
        while ends.peek().is_some_and(|Reverse(end)| end.0 <= now_us) {
            if let Some(Reverse(Queued(.., Happening::End(_, ticket, ending)))) = ends.pop()
                && feed.end(ticket, &ending)
                && matches!(feed.verdict(), Verdict::Fail(_))
            {
                return sent - 1;
            }
        }
        let is_canary = random.random_range(0..10_000) < scene.share;
        let (arm, version) =
            if is_canary { (Arm::Canary, scene.canary) } else { (Arm::Stable, scene.stable) };
        let now = start() + Duration::from_micros(now_us);
        let ticket = feed.begin(1, arm, None, now);
        let fails = random.random_bool(version.fails);
        let takes_us = version.takes_us[usize::from(fails)] + random.random_range(0..200);
        let latency = Duration::from_micros(takes_us);
        let outcome = if fails { Outcome::ServerError } else { Outcome::Success };
        let ending = Ending { outcome, latency, memory_peak_bytes: 0, user: None, at: now + latency };
        ends.push(Reverse(Queued(now_us + takes_us, sent, Happening::End(0, ticket, ending))));
    }
    unreachable!("it is failed before numbers end")
}

/// Messages as they are in a cluster in trouble.
const BAD_NETWORK: Network = Network { delay_us: (200, 20_000), lost: 0.1, doubled: 0.1 };

/// Messages as they usually are.
const NETWORK: Network = Network { delay_us: (1_000, 3_000), lost: 0.0, doubled: 0.0 };

/// The most failures of `runs` that a probability of `alpha` explains, but for one case in a thousand.
fn limit(alpha: f64, runs: u64) -> u64 {
    let (mut term, mut sum, mut count) = ((1.0 - alpha).powi(i32::try_from(runs).unwrap()), 0.0, 0_u64);
    loop {
        sum += term;
        if sum >= 0.999 {
            return count;
        }
        term *= (runs - count) as f64 / (count + 1) as f64 * alpha / (1.0 - alpha);
        count += 1;
    }
}

#[test]
fn identical_versions_on_five_nodes_are_failed_no_more_often_than_alpha_says() {
    const RUNS: u64 = 1_500;
    let same = Version { fails: 0.3, takes_us: [1_000, 1_000] };
    let (mut failed, mut taken, mut on_canary) = (0, 0, 0.0);
    for seed in 0..RUNS {
        // Shares, and how soon failures come on either side, differ from run to run.
        let share = [500, 1_000, 2_500, 5_000][usize::try_from(seed % 4).unwrap()];
        let [stable, canary] = [[1_000, 1_000], [40_000, 1_000], [1_000, 40_000]]
            [usize::try_from(seed % 3).unwrap()]
        .map(|bad_us| Version { takes_us: [2_000, bad_us], ..same });
        let scene = Scene {
            nodes: 5,
            alpha: 0.05,
            share,
            per_second: 500.0,
            requests: 120,
            stable,
            canary,
            network: BAD_NETWORK,
            leaders_change: true,
        };
        let ran = run(scene, seed);
        failed += u64::from(ran.until_withheld.is_some());
        taken += ran.taken;
        on_canary += ran.sent as f64 * f64::from(share) / 10_000.0;
    }
    let most = limit(0.05, RUNS);
    assert!(failed <= most, "{failed} of {RUNS} were failed, expected at most {most}");
    assert!(taken as f64 > 0.9 * on_canary, "only {taken} of {on_canary} requests were taken");
}

#[test]
fn a_canary_that_always_fails_is_failed_as_soon_as_on_one_node() {
    const RUNS: u64 = 150;
    for (share, delay_us) in [(100, (1_000, 3_000)), (500, (1_000, 3_000)), (1_000, (200, 1_000))] {
        let scene = Scene {
            nodes: 5,
            alpha: 0.001,
            share,
            per_second: 2_000.0,
            requests: 3_000,
            stable: Version { fails: 0.001, takes_us: [1_000, 1_000] },
            canary: Version { fails: 1.0, takes_us: [1_000, 1_000] },
            network: Network { delay_us, ..NETWORK },
            leaders_change: false,
        };
        let one: u64 = (0..RUNS).map(|seed| alone(scene, seed)).sum();
        let all: u64 = (0..RUNS).map(|seed| run(scene, seed).until_withheld.unwrap()).sum();
        let times = all as f64 / one as f64;
        assert!(times <= 1.2, "at {share}: {all} requests on five nodes, {one} on one, {times:.3} times");
    }
}

#[test]
fn fast_failures_of_many_nodes_do_not_come_before_slow_ones() {
    const RUNS: u64 = 12;
    let failed = (0..RUNS).filter(|&seed| {
        let scene = Scene {
            nodes: 30,
            alpha: 0.05,
            share: 2_000,
            per_second: 2_000.0,
            requests: 30,
            stable: Version { fails: 1.0, takes_us: [100_000, 100_000] },
            canary: Version { fails: 1.0, takes_us: [1_000, 1_000] },
            network: NETWORK,
            leaders_change: false,
        };
        run(scene, seed).until_withheld.is_some()
    });
    let (failed, most) = (failed.count() as u64, limit(0.05, RUNS));
    assert!(failed <= most, "{failed} of {RUNS} were failed, expected at most {most}");
}
