//! Rare traps that both versions have.

use wasm_fn_core::Outcome;

use super::{Case, Must, all_at_once, both, good, step, steps};
use crate::{
    sim::{Answer, Request, Scene, Version, World},
    stream::Random,
};

/// So many of all requests trap, on both versions, in one of some places of the code.
fn shared(rate: f64, places: u64) -> impl World {
    both(move |_, random| trapping(rate, places, random))
}

fn trapping(rate: f64, places: u64, random: &mut Random) -> Answer {
    if random.unit() >= rate {
        return good(0.001);
    }
    Answer { outcome: Outcome::Trap, trap: Some(1 + random.bits() % places), ..good(0.001) }
}

/// The canary alone traps, in so many of its requests.
fn novel(rate: f64) -> impl World {
    move |request: &Request, random: &mut Random| match request.version {
        Version::Canary => trapping(rate, 1, random),
        Version::Stable => good(0.001),
    }
}

/// The same without anything known of stable's past.
fn unknown(scene: Scene) -> Scene {
    Scene { past: 0, ..scene }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };
    let none = Must::NoAbort;
    vec![
        case("shared traps, 0.2 %, canary at 1/2", none, |_| unknown(step(5_000, 10_000, shared(0.002, 1)))),
        case("the same, in eight places", none, |_| unknown(step(5_000, 10_000, shared(0.002, 8)))),
        case("shared traps, 0.2 %, canary at 10 %", none, |_| unknown(step(1_000, 10_000, shared(0.002, 1)))),
        case("shared traps, 1 %, steps 1/10/50 %", none, |_| {
            unknown(steps(&[100, 1_000, 5_000], 3_000, shared(0.01, 3)))
        }),
        case("shared traps, 1 %, watch after 200 requests", none, |_| {
            all_at_once(200, 5_000, shared(0.01, 5))
        }),
        case("shared traps, 0.3 %, watch after 200 requests", none, |_| {
            all_at_once(200, 5_000, shared(0.003, 1))
        }),
        case("shared traps, 0.02 %, watch after 20,000 requests", none, |_| {
            all_at_once(20_000, 20_000, shared(0.0002, 3))
        }),
        case("the canary alone traps, 0.3 %, at 10 %", Must::Find(40_000), |_| {
            step(1_000, 60_000, novel(0.003))
        }),
    ]
}
