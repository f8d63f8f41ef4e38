//! Some hundreds of seeds, and that a seed is worth replaying.

use super::*;
use crate::dice::Dice;

/// What the seeds below must have seen, or they prove nothing of it.
const SEEN: [&str; 30] = [
    "deploy",
    "traffic",
    "promote",
    "step",
    "await",
    "pause",
    "resume",
    "freeze",
    "settle",
    "abort",
    "rollback",
    "delete",
    "override",
    "cohort",
    "step by cohort",
    "sticky",
    "draw",
    "withheld",
    "shielded",
    "recalled",
    "abandoned",
    "fault of the node",
    "all to one side",
    "slow commit",
    "failed commit",
    "crash before a commit",
    "crash after a commit",
    "crash",
    "restart",
    "end",
];

/// The same of a cluster.
const SEEN_IN_CLUSTER: [&str; 32] = [
    "deploy",
    "promote",
    "step",
    "abort",
    "rollback",
    "sticky",
    "withheld",
    "forbidden by another node",
    "acknowledged change",
    "conflict",
    "change refused out of touch",
    "change with an unknown outcome",
    "change refused because the log differs",
    "full disk",
    "paused node",
    "crashed node",
    "restarted node",
    "partition",
    "partition to the broker",
    "partition from the broker",
    "deposed server",
    "write to a deposed server",
    "stalled broker",
    "restarted broker",
    "lost table of leases",
    "lost changes",
    "lost question",
    "lost answer",
    "lost message",
    "doubled message",
    "shielded",
    "cohort",
];

/// Runs seeds of a cluster from `from` to `to`, and gives what [`hold`] does.
fn hold_in_cluster(kind: ClusterKind, from: u64, to: u64) -> (BTreeMap<&'static str, u64>, u64, u64) {
    let (mut happened, mut healthy, mut failed) = (BTreeMap::new(), 0, 0);
    for seed in from..to {
        let run = run_cluster(seed, kind, false).unwrap();
        assert_eq!(run.fault, None, "replay: cargo xtask sim --cluster --seeds 1 --from {seed} --trace");
        for (what, count) in run.happened {
            *happened.entry(what).or_default() += count;
        }
        healthy += run.healthy;
        failed += run.healthy_failed;
    }
    (happened, healthy, failed)
}

#[test]
fn everything_holds_in_some_seeds_of_a_cluster() {
    let (happened, healthy, failed) = hold_in_cluster(ClusterKind::Any, 0, 40);
    let unseen: Vec<_> = SEEN_IN_CLUSTER.into_iter().filter(|what| !happened.contains_key(what)).collect();
    assert!(unseen.is_empty(), "never happened: {unseen:?}");
    assert!(explains(failed, healthy), "{failed} of {healthy} healthy canaries were failed");
}

#[test]
fn seed_of_a_cluster_replays_to_the_same_trace() {
    for seed in 0..3 {
        let [once, again] = [(); 2].map(|()| run_cluster(seed, ClusterKind::Any, true).unwrap());
        let differs = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((once.hash, once.lines), (again.hash, again.lines), "seed {seed}");
    }
}

/// Runs seeds from `from` to `to` and gives how often what happened, healthy canaries, and those failed.
fn hold(from: u64, to: u64) -> (BTreeMap<&'static str, u64>, u64, u64) {
    let (mut happened, mut healthy, mut failed) = (BTreeMap::new(), 0, 0);
    for seed in from..to {
        let run = run(seed, false).unwrap();
        assert_eq!(run.fault, None, "replay: cargo xtask sim --seeds 1 --from {seed} --trace");
        for (what, count) in run.happened {
            *happened.entry(what).or_default() += count;
        }
        healthy += run.healthy;
        failed += run.healthy_failed;
    }
    (happened, healthy, failed)
}

#[test]
fn everything_holds_in_some_hundred_seeds() {
    let (happened, healthy, failed) = hold(0, 400);
    let unseen: Vec<_> = SEEN.into_iter().filter(|what| !happened.contains_key(what)).collect();
    assert!(unseen.is_empty(), "never happened: {unseen:?}");
    assert!(healthy > 50 && explains(failed, healthy), "{failed} of {healthy} healthy canaries were failed");
}

#[test]
fn seed_replays_to_the_same_trace() {
    for seed in 0..20 {
        let (once, again) = (run(seed, true).unwrap(), run(seed, true).unwrap());
        let differs = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((once.hash, once.lines), (again.hash, again.lines), "seed {seed}");
        assert_eq!(once.trace.len() as u64, once.lines);
    }
}

#[test]
fn seeds_have_nothing_in_common() {
    let hashes: std::collections::BTreeSet<_> = (0..5).map(|seed| run(seed, false).unwrap().hash).collect();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn dice_are_those_of_the_paper_on_every_machine() {
    let mut dice = Dice::new(1_234_567);
    let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([dice.bits(), dice.bits(), dice.bits()], expected);
    assert!((0..1000).all(|_| (3..=5).contains(&dice.within(3..=5))));
    assert!((0..1000).all(|_| (0.0..1.0).contains(&dice.unit())));
}

#[test]
fn alpha_explains_few_failed_canaries_and_not_many() {
    for (failed, healthy, expected) in [
        (0, 0, true),
        (1, 0, false),
        (1, 100, true),
        (2, 100, true),
        (3, 10, false),
        (8, 2000, true),
        (10, 2000, false),
    ] {
        assert_eq!(explains(failed, healthy), expected, "{failed} of {healthy}");
    }
}
