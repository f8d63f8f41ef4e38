//! Tests of the simulation itself: what it is asked for is what the gate hears.

use std::time::Duration;

use super::{Abort, Answer, Begins, Measure, Part, Request, Scene, Version, run};
use crate::stream::Random;
use wasm_fn_core::Outcome;
use wasm_fn_rollout::Arm;

fn scene(requests: u64, world: impl super::World + 'static) -> Scene {
    Scene {
        rps: 100.0,
        parts: vec![Part { share: 1_000, requests, begins: Begins::Step }],
        users: None,
        cohort: 0.1,
        past: 500,
        cohort_past: 200,
        measure: Measure::Baseline,
        deadlines: [Duration::ZERO; 2],
        world: Box::new(world),
    }
}

fn answer(outcome: Outcome, latency: f64) -> Answer {
    Answer { outcome, latency, trap: None, abandoned: false }
}

#[test]
fn a_canary_that_always_fails_is_aborted_the_same_way_for_the_same_seed() {
    let abort = |seed| {
        let world = |request: &Request, random: &mut Random| match request.version {
            Version::Canary => answer(Outcome::Trap, 0.01 * random.exponential()),
            Version::Stable => answer(Outcome::Success, 0.01 * random.exponential()),
        };
        let Abort { sent, canary, failures, seconds, .. } =
            run(scene(2_000, world), seed).abort.expect("it is broken");
        assert!(failures <= canary && canary <= sent && sent < 2_000);
        (sent, canary, failures, seconds.to_bits())
    };
    assert_eq!(abort(7), abort(7));
    assert_ne!(abort(7), abort(8));
}

#[test]
fn requests_go_where_their_shares_say_and_only_versions_that_are_there_run_them() {
    let (sender, heard) = std::sync::mpsc::sync_channel(30_000);
    let world = move |request: &Request, _: &mut Random| {
        sender.send((request.arm, request.version, request.at)).expect("there is room");
        answer(Outcome::Success, 0.01)
    };
    let ended = run(scene(20_000, world), 1);
    assert!(ended.abort.is_none() && ended.passed);
    let heard: Vec<_> = heard.iter().collect();
    let (before, during): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(_, _, at)| *at < 0.0);
    assert_eq!((before.len(), during.len()), (700, 20_000));
    assert!(before.iter().all(|(_, version, _)| *version == Version::Stable));
    let of = |arm| during.iter().filter(|(found, ..)| *found == arm).count();
    // A tenth goes to the cohort, and of the rest a tenth each to the canary and the baseline.
    for (arm, expected) in [(Arm::Cohort, 2_000), (Arm::Canary, 1_800), (Arm::Baseline, 1_800)] {
        assert!(of(arm).abs_diff(expected) < 200, "{arm:?}: {}", of(arm));
    }
    assert!(during.windows(2).all(|pair| pair[0].2 <= pair[1].2), "time goes on");
}
