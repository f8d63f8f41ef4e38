//! Cohorts, canaries without stable beside them, and functions of which nothing is known.

use super::{Case, Must, all_at_once, both, failing, step};
use crate::{
    sim::{Request, Scene, Version, World},
    stream::Random,
};
use wasm_fn_rollout::Arm;

/// A rule places so many of all requests on a canary at 1 %; of both versions this cohort's requests fail
/// twice as often as others.
fn cohort(part: f64, past: u64, world: impl World + 'static) -> Scene {
    Scene { cohort: part, cohort_past: past, ..step(100, 10_000, world) }
}

fn equal() -> impl World {
    both(|request, random| failing(if request.arm == Arm::Cohort { 0.02 } else { 0.01 }, random))
}

/// Everything fails for everybody, from the 60th second to the 80th.
fn outage() -> impl World {
    both(|request, random| {
        let rate = if request.arm == Arm::Cohort { 0.02 } else { 0.01 };
        failing(if (60.0..80.0).contains(&request.at) { 1.0 } else { rate }, random)
    })
}

/// The canary fails for its cohort alone, so often.
fn bad_for_cohort(rate: f64) -> impl World {
    move |request: &Request, random: &mut Random| {
        let bad = request.arm == Arm::Cohort && request.version == Version::Canary;
        failing(if bad { rate } else { 0.01 }, random)
    }
}

/// The canary fails so often, stable one in a hundred.
fn bad(rate: f64) -> impl World {
    move |request: &Request, random: &mut Random| {
        failing(if request.version == Version::Canary { rate } else { 0.01 }, random)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };
    let none = Must::NoAbort;
    vec![
        case("equal cohort of 5 %, its past known", none, |_| cohort(0.05, 1_000, equal())),
        case("equal cohort of 5 %, its past not known", none, |_| cohort(0.05, 0, equal())),
        case("equal cohort of 50 %, its past known", none, |_| cohort(0.5, 10_000, equal())),
        case("outage of 20 s, cohort of 5 %", none, |_| cohort(0.05, 1_000, outage())),
        case("outage of 20 s, cohort of 20 %", none, |_| cohort(0.2, 1_000, outage())),
        case("outage of 20 s, cohort of 50 %", none, |_| cohort(0.5, 10_000, outage())),
        case("outage of 20 s, cohort of 50 %, its past not known", none, |_| cohort(0.5, 0, outage())),
        case("always fails for its cohort, past known", Must::FindWithin(20), |_| {
            cohort(0.05, 1_000, bad_for_cohort(1.0))
        }),
        case("the same, the cohort's past not known", Must::FindWithin(20), |_| {
            cohort(0.05, 0, bad_for_cohort(1.0))
        }),
        case("the same, nothing known", Must::FindWithin(35), |_| Scene {
            past: 0,
            ..cohort(0.05, 0, bad_for_cohort(1.0))
        }),
        case("fails half for its cohort of 5 %", Must::Find(2_000), |_| {
            cohort(0.05, 1_000, bad_for_cohort(0.5))
        }),
        case("100 % by hand, equal", none, |_| step(10_000, 15_000, bad(0.01))),
        case("100 % by hand, broken", Must::Find(20), |_| step(10_000, 5_000, bad(1.0))),
        case("99.99 % by hand, equal", none, |_| step(9_999, 15_000, bad(0.01))),
        case("99.99 % by hand, broken", Must::Find(150), |_| step(9_999, 5_000, bad(1.0))),
        case("all at once, nothing known, broken", Must::FindWithin(25), |_| all_at_once(0, 1_000, bad(1.0))),
        case("all at once, nothing known, 5 % fail", none, |_| all_at_once(0, 10_000, bad(0.05))),
    ]
}
