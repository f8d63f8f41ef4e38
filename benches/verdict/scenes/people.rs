//! Users who keep to their side, few and many.

use wasm_fn_core::Outcome;

use super::{Case, Must, all_at_once, both, ends, failing, good, is_among, step, steps};
use crate::{
    sim::{Begins, Part, Request, Scene, Version},
    stream::Random,
};

/// Users for whom everything fails are so many of all; on stable so many times as many.
fn persistent(users: u64, bad: f64, times: f64) -> Scene {
    let world = move |request: &Request, random: &mut Random| {
        let times = if request.version == Version::Stable { times } else { 1.0 };
        if is_among(request.user, bad * times) {
            ends(Outcome::ServerError, 0.001)
        } else {
            failing(0.001, random)
        }
    };
    Scene { users: Some(users), ..steps(&[1_000, 5_000], 8_000, world) }
}

/// Each request fails so often on the canary, and so many times as often on stable.
fn passing(users: u64, rate: f64, times: f64) -> Scene {
    let world = move |request: &Request, random: &mut Random| {
        let times = if request.version == Version::Stable { times } else { 1.0 };
        failing(rate * times, random)
    };
    Scene { users: Some(users), ..steps(&[1_000, 5_000], 8_000, world) }
}

/// Everything fails on the canary, and nothing on stable.
fn broken(users: u64) -> Scene {
    let world = |request: &Request, _: &mut Random| match request.version {
        Version::Canary => ends(Outcome::ServerError, 0.001),
        Version::Stable => good(0.001),
    };
    Scene { users: Some(users), ..steps(&[1_000, 5_000], 3_000, world) }
}

/// Each of 200 users has had some failure when, after 150 seconds, everything fails on the canary in the same
/// way.
fn broken_late() -> Scene {
    let world = |request: &Request, random: &mut Random| {
        let broken = request.version == Version::Canary && request.at >= 150.0;
        failing(if broken { 1.0 } else { 0.05 }, random)
    };
    let parts = vec![Part { share: 1_000, requests: 30_000, begins: Begins::Step }];
    Scene { users: Some(200), parts, ..step(0, 0, world) }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };
    let none = Must::NoAbort;
    vec![
        case("4 users, a third of them always fail, steps 10/50 %", none, |_| persistent(4, 0.34, 1.0)),
        case("20 users, a fifth of them always fail, steps", none, |_| persistent(20, 0.2, 1.0)),
        case("20 users, twice as many always fail on stable", none, |_| persistent(20, 0.2, 2.0)),
        case("20 users, ten times as many always fail on stable", none, |_| persistent(20, 0.09, 10.0)),
        case("2,000 users, 5 % of them always fail, steps", none, |_| persistent(2_000, 0.05, 1.0)),
        case("2,000 users, twice as many always fail on stable", none, |_| persistent(2_000, 0.05, 2.0)),
        case("2,000 users, ten times as many always fail on stable", none, |_| persistent(2_000, 0.05, 10.0)),
        case("4 users, 1 % of requests fail", none, |_| passing(4, 0.01, 1.0)),
        case("20 users, 1 % fail, 2 % on stable", none, |_| passing(20, 0.01, 2.0)),
        case("20 users, 1 % fail, 10 % on stable", none, |_| passing(20, 0.01, 10.0)),
        case("2,000 users, 1 % fail", none, |_| passing(2_000, 0.01, 1.0)),
        case("2,000 users, 1 % fail, 2 % on stable", none, |_| passing(2_000, 0.01, 2.0)),
        case("2,000 users, 1 % fail, 10 % on stable", none, |_| passing(2_000, 0.01, 10.0)),
        case("2,000 users, 5 % always fail, all at once", none, |_| {
            let world = both(|request, random| {
                if is_among(request.user, 0.05) {
                    ends(Outcome::ServerError, 0.001)
                } else {
                    failing(0.001, random)
                }
            });
            Scene { users: Some(2_000), ..all_at_once(10_000, 10_000, world) }
        }),
        case("4 users, all of them fail on the canary", Must::NeverPass, |_| broken(4)),
        case("20 users, all of them fail on the canary", Must::NeverPass, |_| broken(20)),
        case("2,000 users, all of them fail on the canary", Must::Find(100), |_| broken(2_000)),
        case("200 users have all had failures, broken after 15,000", Must::FindMostly(20_000), |_| {
            broken_late()
        }),
    ]
}
