//! What one node makes of another's messages: late, doubled, out of order, lost, or of an earlier life.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use wasm_fn_core::{Outcome, Weight};

use super::simulation::{name, start};
use crate::{
    Arm, Baseline, Ending, Feed, Gate, GateFailure, GateScope, GateSpec, Joint, JointEntry, JointMessage,
    Stretch, Thresholds, Trapped, Verdict,
};

/// A node, and what it has said.
struct Node {
    feed: Feed,
    joint: Joint,
    said: Vec<JointMessage>,
    at: usize,
}

fn at(millis: u64) -> Instant {
    start() + Duration::from_millis(millis)
}

impl Node {
    fn new(number: usize) -> Self {
        Self::of_life(number, number as u64)
    }

    fn of_life(number: usize, instance: u64) -> Self {
        Self::begun(number, instance, false)
    }

    /// One whose step is decided by the cohort, if `by_cohort` is set.
    fn begun(number: usize, instance: u64, by_cohort: bool) -> Self {
        let gate = |scope| {
            Gate::scoped(GateSpec::default(), 1, Baseline::Concurrent(Box::default()), scope).unwrap()
        };
        let share = Weight::from_basis_points(1_000).unwrap();
        let stretch = Stretch { no: 1, share, baseline_share: Weight::ZERO, begins_step: false, by_cohort };
        let feed = Feed::new(gate(GateScope::Own), stretch, Thresholds::default());
        let feed = feed.telling(Joint::FIRST_ROUND, 1, Box::new(|| {}));
        let joint = Joint::new(gate(GateScope::Joint), 1, by_cohort, name(number), instance, start());
        Self { feed, joint, said: Vec::new(), at: number }
    }

    /// A request of `user` begins and ends.
    fn request(&self, arm: Arm, outcome: Outcome, user: Option<u64>, millis: u64) {
        let ticket = self.feed.begin(1, arm, user, at(millis));
        let latency = Duration::from_millis(1);
        let ending = Ending { outcome, latency, memory_peak_bytes: 0, user, at: at(millis) };
        self.feed.end(ticket, &ending);
    }

    /// Says all that there is to say, and returns it.
    fn turn(&mut self, millis: u64) -> Vec<JointMessage> {
        let mut said = Vec::new();
        while let Some(message) = self.joint.turn(&self.feed, at(millis)) {
            said.push(message);
        }
        self.said.extend(said.iter().cloned());
        said
    }

    fn hear(&mut self, from: usize, message: &JointMessage, millis: u64) {
        self.joint.hear(&self.feed, &name(from), message.clone(), at(millis));
    }

    fn failures_and_requests(&self) -> (u64, u64) {
        let canary = self.joint.gate().canary();
        (canary.bad(crate::Event::FailedAtAll).requests, canary.requests)
    }
}

/// Has both nodes tell each other what they have until there is nothing more, from `millis` on.
fn exchange(one: &mut Node, other: &mut Node, mut millis: u64) -> u64 {
    for _ in 0..12 {
        let said = one.turn(millis);
        let from = one.at;
        said.iter().for_each(|message| other.hear(from, message, millis));
        let said = other.turn(millis);
        let from = other.at;
        said.iter().for_each(|message| one.hear(from, message, millis));
        millis += 5;
    }
    millis
}

#[test]
fn all_nodes_have_the_evidence_of_all() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    one.request(Arm::Canary, Outcome::Trap, None, now);
    other.request(Arm::Canary, Outcome::Success, None, now);
    other.request(Arm::Stable, Outcome::ServerError, None, now);
    exchange(&mut one, &mut other, now);
    for node in [&one, &other] {
        assert_eq!(node.failures_and_requests(), (1, 2));
        let nodes: Vec<_> = node.joint.nodes().map(|it| (it.canary.requests, it.stable.requests)).collect();
        assert_eq!(nodes, [(1, 0), (1, 1)]);
    }
}

#[test]
fn step_by_cohort_waits_for_the_cohort_from_the_first_round_on() {
    let (mut one, mut other) = (Node::begun(1, 1, true), Node::begun(2, 2, true));
    let now = exchange(&mut one, &mut other, 0);
    for user in 0..100 {
        one.request(Arm::Canary, Outcome::Success, Some(user), now);
        other.request(Arm::Stable, Outcome::Success, Some(user), now);
    }
    other.request(Arm::Cohort, Outcome::Success, Some(200), now);
    exchange(&mut one, &mut other, now);
    for node in [&one, &other] {
        let verdict = node.joint.verdict(1, true);
        let Verdict::Wait(waiting) = &verdict else { panic!("{verdict:?}") };
        assert!(waiting.by_cohort && waiting.canary == 1, "{waiting:?}");
    }
}

#[test]
fn a_round_is_taken_when_all_of_its_requests_have_ended_on_all_nodes() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    let slow = other.feed.begin(1, Arm::Stable, None, at(now));
    one.request(Arm::Canary, Outcome::Trap, None, now);
    let now = exchange(&mut one, &mut other, now);
    assert_eq!(one.failures_and_requests(), (0, 0), "a request of the same round is in flight");
    let latency = Duration::from_millis(100);
    let ending = Ending { outcome: Outcome::Trap, latency, memory_peak_bytes: 0, user: None, at: at(now) };
    other.feed.end(slow, &ending);
    exchange(&mut one, &mut other, now);
    assert_eq!(one.failures_and_requests(), (1, 1));
}

#[test]
fn nobody_begins_a_round_before_all_are_in_this_one() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    one.request(Arm::Canary, Outcome::Trap, None, now);
    let round = |said: &[JointMessage]| said.last().map(|message| message.round);
    assert_eq!(round(&one.turn(now)), Some(2));
    one.request(Arm::Canary, Outcome::Trap, None, now + 10);
    assert!(one.turn(now + 10).iter().all(|message| message.round == 2), "the other is not in round 2");
    let last = one.said.last().cloned().unwrap();
    other.hear(1, &last, now + 11);
    let said = other.turn(now + 11);
    said.iter().for_each(|message| one.hear(2, message, now + 12));
    assert_eq!(round(&one.turn(now + 12)), Some(3));
}

#[test]
fn a_silent_node_is_waited_for_a_second_and_counts_again_when_it_is_back() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    one.request(Arm::Canary, Outcome::Trap, None, now);
    one.turn(now);
    one.turn(now + 900);
    assert_eq!(one.failures_and_requests(), (0, 0));
    one.turn(now + 1_100);
    assert_eq!(one.failures_and_requests(), (1, 1));
    let mut now = exchange(&mut one, &mut other, now + 1_200);
    for expected in [(1, 1), (2, 2)] {
        // It counts from the round on that begins after it was heard again.
        other.request(Arm::Canary, Outcome::Trap, None, now);
        now = exchange(&mut one, &mut other, now);
        assert_eq!(one.failures_and_requests(), expected);
    }
}

#[test]
fn a_deaf_node_is_waited_for_a_second_and_not_again_before_it_hears() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let mut now = exchange(&mut one, &mut other, 0);
    for failures in 1..4 {
        one.request(Arm::Canary, Outcome::Trap, None, now);
        let taken = (now..now + 1_100).step_by(10).find(|&millis| {
            other.turn(millis).iter().for_each(|message| one.hear(2, message, millis));
            one.turn(millis);
            one.failures_and_requests() == (failures, failures)
        });
        let waited = taken.unwrap() - now;
        assert!(if failures == 1 { waited == 1_000 } else { waited < 20 }, "{failures}: {waited} ms");
        now = taken.unwrap() + 10;
    }
    for _ in 0..4 {
        now = exchange(&mut one, &mut other, now);
    }
    for expected in [3, 4] {
        other.request(Arm::Canary, Outcome::Trap, None, now);
        now = exchange(&mut one, &mut other, now);
        assert_eq!(one.failures_and_requests(), (expected, expected), "from the next round on");
    }
}

#[test]
fn a_node_that_hears_again_is_waited_for_although_the_others_are_ahead() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let mut now = exchange(&mut one, &mut other, 0) + 1_100;
    let (mut late, mut rounds) = (Vec::new(), Vec::new());
    // What each says takes 30 ms, and the one begins rounds faster than that until it waits for the other.
    for _ in 0..60 {
        one.request(Arm::Canary, Outcome::Trap, None, now);
        late.push((one.turn(now), other.turn(now)));
        if late.len() > 6 {
            let (by_one, by_other) = late.remove(0);
            by_one.iter().for_each(|message| other.hear(1, message, now));
            by_other.iter().for_each(|message| one.hear(2, message, now));
        }
        rounds.extend(one.said.last().map(|message| message.round));
        now += 5;
    }
    let (first, last) = (rounds[20] - rounds[0], rounds[59] - rounds[39]);
    assert!(first > 10 && last < 5, "{first} rounds in the first 100 ms, {last} in the last");
}

#[test]
fn users_of_several_nodes_are_one_voice_and_one_event() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    for node in [&one, &other] {
        node.request(Arm::Canary, Outcome::Trap, Some(7), now);
        node.request(Arm::Canary, Outcome::Trap, Some(8 + node.at as u64), now);
    }
    exchange(&mut one, &mut other, now);
    let failed = one.joint.gate().canary().bad(crate::Event::FailedAtAll);
    assert_eq!((failed.requests, failed.units), (4, 3));
    assert_eq!(one.joint.gate().voices(), 3);
}

#[test]
fn a_gate_fails_nothing_before_it_leads_and_the_next_leader_needs_more() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let mut now = exchange(&mut one, &mut other, 0);
    let threshold = |node: &Node| node.joint.gate().evidence().signals[0].log_threshold;
    let before = threshold(&one);
    for _ in 0..20 {
        other.request(Arm::Canary, Outcome::Trap, None, now);
        now = exchange(&mut one, &mut other, now);
    }
    let fails = |node: &Node| matches!(node.joint.verdict(1, false), Verdict::Fail(GateFailure::Signal(_)));
    assert!(!fails(&one) && !fails(&other));
    one.joint.lead();
    assert!(fails(&one) && !fails(&other));
    exchange(&mut one, &mut other, now);
    other.joint.lead();
    let [first, second] = [&one, &other].map(|node| (threshold(node) - before).exp());
    assert!((first - 1.0 / 0.75).abs() < 1e-9 && (second - 1.0 / 0.125).abs() < 1e-9, "{first} {second}");
}

#[test]
fn what_one_node_finds_by_itself_all_nodes_obey() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    one.joint.fail("broken".to_owned());
    one.joint.withhold();
    exchange(&mut one, &mut other, now);
    assert!(other.joint.is_withheld());
    let expected = GateFailure::Elsewhere { node: name(1), found: "broken".to_owned() };
    assert_eq!(other.joint.verdict(1, false), Verdict::Fail(expected));
}

#[test]
fn a_trap_that_stable_has_on_one_node_is_novel_on_none() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let share = Weight::from_basis_points(100).unwrap();
    let trap = |arm| Trapped { arm, fingerprint: 5, user: None, share, begun: 1 };
    // It is known before they hear of each other.
    other.joint.trap(&trap(Arm::Stable));
    let now = exchange(&mut one, &mut other, 0);
    (0..5).for_each(|_| one.joint.trap(&trap(Arm::Canary)));
    exchange(&mut one, &mut other, now);
    assert_eq!([&one, &other].map(|node| node.joint.gate().novel_hits(5)), [None, None]);
}

#[test]
fn novel_hits_of_all_nodes_add_up() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    one.joint.lead();
    let share = Weight::from_basis_points(100).unwrap();
    let trap = Trapped { arm: Arm::Canary, fingerprint: 5, user: None, share, begun: 1 };
    for node in [&mut one, &mut other] {
        node.joint.trap(&trap);
        node.joint.trap(&trap);
    }
    exchange(&mut one, &mut other, now);
    assert_eq!([&one, &other].map(|node| node.joint.gate().novel_hits(5)), [Some(4), Some(4)]);
    assert!(matches!(one.joint.verdict(1, false), Verdict::Fail(GateFailure::NovelTrap { .. })));
}

#[test]
fn a_node_that_started_again_is_another_and_its_late_messages_count_for_nothing() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    other.request(Arm::Canary, Outcome::Trap, None, now);
    let now = exchange(&mut one, &mut other, now);
    assert_eq!(one.failures_and_requests(), (1, 1));
    let late = other.said.clone();
    let mut other = Node::of_life(2, 99);
    let now = exchange(&mut one, &mut other, now);
    late.iter().for_each(|message| one.hear(2, message, now));
    other.request(Arm::Canary, Outcome::Trap, None, now);
    exchange(&mut one, &mut other, now);
    assert_eq!(one.failures_and_requests(), (2, 2));
}

#[test]
fn messages_in_any_order_and_number_give_the_same_counts() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut one, mut other, mut third) = (Node::new(1), Node::new(2), Node::new(3));
        let mut now = exchange(&mut one, &mut other, 0);
        // The third hears everything, but in its own order.
        third.hear(1, &one.said[0].clone(), now);
        third.hear(2, &other.said[0].clone(), now);
        let told = (one.said.len(), other.said.len());
        for _ in 0..6 {
            for node in [&one, &other] {
                for _ in 0..random.random_range(0..5) {
                    let arm = if random.random_bool(0.5) { Arm::Canary } else { Arm::Stable };
                    let outcome = if random.random_bool(0.5) { Outcome::Trap } else { Outcome::Success };
                    node.request(arm, outcome, random.random_bool(0.5).then_some(9), now);
                }
            }
            now = exchange(&mut one, &mut other, now + 50);
        }
        let tag = |from: usize, said: &[JointMessage]| {
            said.iter().map(|message| (from, message.clone())).collect::<Vec<_>>()
        };
        let mut told: Vec<_> =
            tag(1, &one.said[told.0..]).into_iter().chain(tag(2, &other.said[told.1..])).collect();
        told.extend(told.clone());
        told.shuffle(&mut random);
        for (from, message) in &told {
            third.hear(*from, message, now);
        }
        third.turn(now);
        third.turn(now + 10);
        let expected = one.joint.gate().evidence();
        assert_eq!(one.joint.gate().evidence(), other.joint.gate().evidence(), "seed {seed}");
        assert_eq!(third.joint.gate().evidence(), expected, "seed {seed}");
    }
}

#[test]
fn what_is_lost_is_asked_for_and_told_again() {
    let (mut one, mut other) = (Node::new(1), Node::new(2));
    let now = exchange(&mut one, &mut other, 0);
    other.request(Arm::Canary, Outcome::Trap, None, now);
    let lost = other.turn(now);
    assert!(lost.iter().any(|message| matches!(message.entries[..], [JointEntry::Round(_)])));
    exchange(&mut one, &mut other, now + 120);
    assert_eq!(one.failures_and_requests(), (1, 1));
}
