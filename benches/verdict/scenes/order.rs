//! Ends that come in another order than beginnings: slow successes, fast failures, clients that leave,
//! bursts.

use std::time::Duration;

use wasm_fn_core::Outcome;

use super::{Case, Must, all_at_once, both, ends, failing, good, left, step, steps, usual};
use crate::{
    sim::{Answer, Request, Scene, Version, World},
    stream::Random,
};

/// 1 %, 10 %, 50 %.
const SHARES: &[u16] = &[100, 1_000, 5_000];

/// One in twenty fails at once, and the others are good after three seconds.
fn fast_failures() -> impl World {
    both(|_, random| if random.unit() < 0.05 { ends(Outcome::ServerError, 0.001) } else { good(3.0) })
}

/// The canary always fails at once; stable is good after three seconds.
fn broken_at_once() -> impl World {
    |request: &Request, _: &mut Random| match request.version {
        Version::Canary => ends(Outcome::ServerError, 0.001),
        Version::Stable => good(3.0),
    }
}

/// As many hang on both versions, and the canary's deadline is shorter.
fn deadlines(stable: f64) -> Scene {
    let world = move |request: &Request, random: &mut Random| {
        let deadline = if request.version == Version::Canary { 0.3 } else { stable };
        if random.unit() < 0.03 { ends(Outcome::Timeout, deadline) } else { good(usual(random)) }
    };
    let deadlines = [0.3, stable].map(Duration::from_secs_f64);
    Scene { deadlines, ..steps(SHARES, 5_000, world) }
}

/// The canary hangs until its clients leave after two seconds.
fn hanging() -> impl World {
    |request: &Request, random: &mut Random| match request.version {
        Version::Canary => left(2.0),
        Version::Stable => good(usual(random)),
    }
}

/// One client in ten leaves whenever it likes.
fn impatient() -> impl World {
    both(|_, random| {
        let latency = usual(random);
        let patience = 0.01 * random.exponential();
        if random.unit() < 0.1 && patience < latency { left(patience) } else { good(latency) }
    })
}

/// One request in ten would take long, and its client leaves after two seconds.
fn long_ones() -> impl World {
    both(|_, random| if random.unit() < 0.1 { left(2.0) } else { good(usual(random)) })
}

/// The node fails half of the canary's requests, for two seconds of ten.
fn node_faults() -> impl World {
    |request: &Request, random: &mut Random| {
        let faulty = request.version == Version::Canary && request.at.rem_euclid(10.0) < 2.0;
        if !faulty || random.unit() < 0.5 {
            return failing(0.01, random);
        }
        let outcomes = [Outcome::Shed, Outcome::Internal, Outcome::Cancelled];
        let outcome = outcomes[usize::try_from(random.bits() % 3).expect("one of three")];
        Answer { abandoned: false, ..ends(outcome, 1.0) }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name, must, scene| Case { name, must, scene };

    vec![
        case("5 % fail in 1 ms, the others good after 3 s, steps", Must::NoAbort, |_| {
            steps(SHARES, 5_000, fast_failures())
        }),
        case("5 % fail in 1 ms, the others good after 3 s, all at once", Must::NoAbort, |_| {
            all_at_once(5_000, 15_000, fast_failures())
        }),
        case("broken in 1 ms, stable good after 3 s", Must::Find(600), |_| {
            step(1_000, 5_000, broken_at_once())
        }),
        case("3 % hang, canary's deadline 0.3 s, stable's 8 s", Must::NoAbort, |_| deadlines(8.0)),
        case("3 % hang, canary's deadline 0.3 s, stable's 60 s", Must::NoAbort, |_| deadlines(60.0)),
        case("canary hangs until clients leave after 2 s", Must::Find(1_000), |_| {
            step(1_000, 10_000, hanging())
        }),
        case("canary hangs until clients leave after 2 s, all at once", Must::Find(2_500), |_| {
            all_at_once(5_000, 10_000, hanging())
        }),
        case("clients leave for their own reasons, steps", Must::NoAbort, |_| {
            steps(SHARES, 5_000, impatient())
        }),
        case("clients leave for their own reasons, all at once", Must::NoAbort, |_| {
            all_at_once(5_000, 15_000, impatient())
        }),
        case("10 % are left after 2 s, steps", Must::NoAbort, |_| steps(SHARES, 5_000, long_ones())),
        case("10 % of 5 a second are left after 2 s, all at once", Must::NoAbort, |_| Scene {
            rps: 5.0,
            ..all_at_once(5_000, 5_000, long_ones())
        }),
        case("the node's own faults, in bursts on the canary", Must::NoAbort, |_| {
            steps(SHARES, 5_000, node_faults())
        }),
    ]
}
