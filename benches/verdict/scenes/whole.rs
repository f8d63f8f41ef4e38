//! Rollouts from their first step to the end of their watch, and canaries just as bad as they may be.

use super::{Case, Must, both, ends, good, step, steps, usual};
use crate::{
    sim::{Begins, Part, Request, Scene, Version, World},
    stream::Random,
};
use wasm_fn_core::Outcome;

/// Three steps, a watch, and two resumes: four gates.
fn rollout(rate: f64) -> Scene {
    let world = both(move |_, random| {
        let latency = usual(random);
        if random.unit() < rate { ends(Outcome::ServerError, latency) } else { good(latency) }
    });
    let part = |share, begins| Part { share, requests: 5_000, begins };
    let parts = vec![
        part(100, Begins::Step),
        part(1_000, Begins::Step),
        part(5_000, Begins::Step),
        part(10_000, Begins::Watch),
        part(10_000, Begins::Watch),
        part(10_000, Begins::Watch),
    ];
    Scene { parts, ..step(0, 0, world) }
}

/// The same, with the resumes between the steps.
fn resumed(rate: f64) -> Scene {
    let mut scene = rollout(rate);
    scene.parts.truncate(4);
    scene.parts[1].begins = Begins::Gate;
    scene.parts[2].begins = Begins::Gate;
    scene
}

/// A canary that takes so many times as long.
fn longer(times: f64, latency: fn(&mut Random) -> f64) -> impl World {
    move |request: &Request, random: &mut Random| {
        let times = if request.version == Version::Canary { times } else { 1.0 };
        good(times * latency(random))
    }
}

/// A canary that is 1.19 times as slow at a tolerance of 1.2.
fn slower(latency: fn(&mut Random) -> f64) -> Scene {
    Scene { rps: 1_000.0, ..step(1_000, 30_000, longer(1.19, latency)) }
}

/// A version that computes for 4 ms on a machine that does little else: most answers take a fifth more or
/// less, and one in fifty waits for others.
fn computing(random: &mut Random) -> f64 {
    let waits = if random.unit() < 0.02 { 0.02 * random.exponential() } else { 0.0 };
    0.004 * (0.1 * random.normal()).exp() + waits
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };
    vec![
        case("whole rollouts, 1 %, watch with two resumes", Must::NoAbort, |_| rollout(0.01)),
        case("whole rollouts, 0.1 %, watch with two resumes", Must::NoAbort, |_| rollout(0.001)),
        case("whole rollouts, 1 %, two resumes between steps", Must::NoAbort, |_| resumed(0.01)),
        case("1.19 x slower, tolerance 1.2, lognormal", Must::NoAbort, |_| slower(usual)),
        case("1.19 x slower, exponential", Must::NoAbort, |_| slower(|random| 0.005 * random.exponential())),
        case("1.19 x slower, tail exponent 3", Must::NoAbort, |_| {
            slower(|random| 0.005 * random.pareto(3.0))
        }),
        case("1.19 x slower, tail exponent 1.5", Must::NoAbort, |_| {
            slower(|random| 0.005 * random.pareto(1.5))
        }),
        case("1.19 x slower, computing", Must::NoAbort, |_| slower(computing)),
        case("1.19 x slower, 2,000 users, steps 10/50 %", Must::NoAbort, |_| Scene {
            users: Some(2_000),
            ..steps(&[1_000, 5_000], 8_000, longer(1.19, usual))
        }),
        case("twice as fast, 2,000 users, steps 10/50 %", Must::NoAbort, |_| Scene {
            users: Some(2_000),
            ..steps(&[1_000, 5_000], 8_000, longer(0.5, usual))
        }),
        case("twice as fast, 20 users, steps 10/50 %", Must::NoAbort, |_| Scene {
            users: Some(20),
            ..steps(&[1_000, 5_000], 8_000, longer(0.5, usual))
        }),
        case("1.5 x slower, computing, at 10 %", Must::Find(1_750), |_| {
            step(1_000, 30_000, longer(1.5, computing))
        }),
        case("1.5 x slower, computing, at 50 %", Must::Find(370), |_| {
            step(5_000, 30_000, longer(1.5, computing))
        }),
        case("1.5 x slower, lognormal, at 10 %", Must::Find(12_000), |_| {
            step(1_000, 60_000, longer(1.5, usual))
        }),
        case("1.19 x slower, one in fifty ten times slower", Must::NoAbort, |_| {
            slower(|random| usual(random) * if random.unit() < 0.02 { 10.0 } else { 1.0 })
        }),
    ]
}
