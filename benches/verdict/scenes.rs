//! Rollouts in time, and what each must show.

mod apart;
mod order;
mod people;
mod traps;
mod warmth;
mod whole;

use std::time::Duration;

use wasm_fn_core::Outcome;

use crate::{
    sim::{Answer, Begins, Measure, Part, Request, Scene, World},
    stream::Random,
};

/// A rollout of which many are run, each with what the seed makes of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) must: Must,
    pub(crate) scene: fn(u64) -> Scene,
}

/// What a case must show.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// No more aborts than alpha explains.
    NoAbort,
    /// Aborted in every run, and after a median of at most so many requests.
    Find(u64),
    /// The same, in three of four runs at least.
    FindMostly(u64),
    /// Aborted in every run, after at most so many requests of the canary.
    FindWithin(u64),
    /// No verdict that all is well.
    NeverPass,
    /// Nothing: the figures are for information.
    Report,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [warmth::cases(), order::cases(), people::cases(), traps::cases(), whole::cases(), apart::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// A rollout of one step at `share` basis points, at 100 requests a second, of which each draws its side.
fn step(share: u16, requests: u64, world: impl World + 'static) -> Scene {
    Scene {
        rps: 100.0,
        parts: vec![Part { share, requests, begins: Begins::Step }],
        users: None,
        cohort: 0.0,
        past: 5_000,
        cohort_past: 0,
        measure: Measure::Baseline,
        deadlines: [Duration::ZERO; 2],
        world: Box::new(world),
    }
}

/// The same with several steps, each of so many requests.
fn steps(shares: &[u16], requests: u64, world: impl World + 'static) -> Scene {
    let part = |&share| Part { share, requests, begins: Begins::Step };
    Scene { parts: shares.iter().map(part).collect(), ..step(0, 0, world) }
}

/// Everybody at once, against what stable did in so many requests before.
fn all_at_once(past: u64, requests: u64, world: impl World + 'static) -> Scene {
    let parts = vec![Part { share: 10_000, requests, begins: Begins::Watch }];
    Scene { parts, past, ..step(0, 0, world) }
}

/// A good answer after so many seconds.
fn good(latency: f64) -> Answer {
    Answer { outcome: Outcome::Success, latency, trap: None, abandoned: false }
}

/// Another end after so many seconds.
fn ends(outcome: Outcome, latency: f64) -> Answer {
    Answer { outcome, ..good(latency) }
}

/// A request that its client left after so many seconds, while the version worked.
fn left(latency: f64) -> Answer {
    Answer { abandoned: true, ..ends(Outcome::Cancelled, latency) }
}

/// Seconds as most versions take them: a median of 5 ms, and a p99 of 16 ms.
fn usual(random: &mut Random) -> f64 {
    0.005 * (0.5 * random.normal()).exp()
}

/// A version that fails so often, and takes no time.
fn failing(rate: f64, random: &mut Random) -> Answer {
    if random.unit() < rate { ends(Outcome::ServerError, 0.001) } else { good(0.001) }
}

/// Whether `user` is one of so many of all, by a draw that depends on nothing but the key.
fn is_among(user: u64, part: f64) -> bool {
    Random::new(user ^ 0x5bd1_e995).unit() < part
}

/// A world in which both versions are the same.
fn both(answer: impl Fn(&Request, &mut Random) -> Answer + Send) -> impl World {
    move |request: &Request, random: &mut Random| answer(request, random)
}
