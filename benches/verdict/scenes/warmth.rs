//! Latency that depends on how many requests a version gets, and how many it has had.

use super::{Case, Must, good, step, usual};
use crate::{
    sim::{Measure, Request, Scene, Version},
    stream::Random,
};

/// Seconds that an answer takes: up to four times as long from new code, and with few requests a second often
/// some 15 ms more, for caches that others use meanwhile.
fn warmed(request: &Request, random: &mut Random) -> f64 {
    let new = 1.0 + 3.0 * (-(request.served as f64) / 300.0).exp();
    let cold = random.unit() < 0.5 / (1.0 + request.rate / 10.0);
    let more = if cold { 0.015 * random.exponential() } else { 0.0 };
    new * usual(random) + more
}

/// The canary at `share` basis points of 20, 100 or 500 requests a second, `slower` times as slow as stable.
fn scene(share: u16, requests: u64, slower: f64, seed: u64) -> Scene {
    let world = move |request: &Request, random: &mut Random| {
        let times = if request.version == Version::Canary { slower } else { 1.0 };
        good(times * warmed(request, random))
    };
    let rps = [20.0, 100.0, 500.0][usize::try_from(seed % 3).expect("one of three")];
    Scene { rps, ..step(share, requests, world) }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };
    vec![
        case("warmth, identical, canary at 1 %", Must::NoAbort, |seed| scene(100, 20_000, 1.0, seed)),
        case("warmth, identical, canary at 2 %", Must::NoAbort, |seed| scene(200, 20_000, 1.0, seed)),
        case("warmth, identical, canary at 10 %", Must::NoAbort, |seed| scene(1_000, 20_000, 1.0, seed)),
        case("warmth, identical, canary at 50 %", Must::NoAbort, |seed| scene(5_000, 20_000, 1.0, seed)),
        case("the same at 2 %, compared with all of stable", Must::Report, |seed| Scene {
            measure: Measure::Stable,
            ..scene(200, 20_000, 1.0, seed)
        }),
        case("the same at 10 %, compared with all of stable", Must::Report, |seed| Scene {
            measure: Measure::Stable,
            ..scene(1_000, 20_000, 1.0, seed)
        }),
        case("warmth, 1.5 times slower, at 10 %", Must::Report, |seed| scene(1_000, 60_000, 1.5, seed)),
        case("warmth, 1.5 times slower, at 50 %", Must::FindMostly(5_500), |seed| {
            scene(5_000, 60_000, 1.5, seed)
        }),
        case("warmth, 3 times slower, at 10 %", Must::Find(10_000), |seed| scene(1_000, 30_000, 3.0, seed)),
    ]
}
