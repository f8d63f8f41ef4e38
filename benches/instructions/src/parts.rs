//! What a request meets besides its route and its guest: the tally, the pool, and the gate of a rollout.

use std::{hint::black_box, sync::Arc, time::Duration};

use wasm_fn_core::{Outcome, Weight};
use wasm_fn_pool::{Checkout, ConcurrencyLimit, Pool, PoolOptions, Slots, StartPermit, Wake};
use wasm_fn_rollout::{Arm, Baseline, Ending, Feed, GateSpec, SideLimits, Stretch, Thresholds};
use wasm_fn_router::{InvocationRecord, Tally};

/// Latencies go round one millisecond in steps of this prime, so that none has the bucket of the one before.
const STRIDE: u32 = 337;

/// The thread of all instances.
const THREAD: u64 = 1;

/// Counts the ends of `count` invocations.
pub(crate) fn tally(count: u32) {
    let tally = Tally::new();
    let mut micros = 0;
    for _ in 0..count {
        micros = (micros + STRIDE) % 1000;
        tally.record(black_box(InvocationRecord {
            outcome: Outcome::Success,
            latency: Duration::from_micros(micros.into()),
            queue_wait: Duration::ZERO,
            memory_peak_bytes: 2 << 20,
        }));
    }
}

/// Nobody waits here.
struct Nobody;

impl Wake for Nobody {
    fn wake(self) -> bool {
        false
    }
}

/// Admits `count` requests, one after the other: each finds room and an instance at once, and puts the
/// instance back.
pub(crate) fn admit(count: u32) {
    let gate = ConcurrencyLimit::<Nobody>::new(1000, 1000);
    let slots = Arc::new(Slots::new(1000));
    let pool: Pool<(Box<u64>, StartPermit)> =
        Pool::new(PoolOptions { slots, floor: 1, ceiling: 100, idle_after: Duration::from_secs(60) });
    let Checkout::Cold(permit) = pool.checkout(THREAD) else {
        panic!("a new pool has slots and no instance")
    };
    assert!(pool.check_in(THREAD, (Box::new(0), permit)).is_none(), "the shelf is empty");

    for _ in 0..count {
        assert!(gate.try_acquire(), "nobody else is in");
        let instance = black_box(pool.take_ready(THREAD)).expect("it was put back");
        assert!(pool.check_in(THREAD, instance).is_none(), "it lay there before");
        pool.record(black_box(Duration::from_micros(40)));
        gate.release(black_box(Duration::ZERO));
    }
}

/// Has `count` requests begin and end under the gate of a canary with a tenth of them; one of a hundred is
/// bad, and waits for none, so the gate takes what there is and is asked.
pub(crate) fn evidence(count: u32) {
    let tenth = Weight::from_basis_points(1000).expect("at most everything");
    let gate = wasm_fn_rollout::Gate::new(GateSpec::default(), 1, Baseline::Concurrent(Box::default()));
    let limit = Duration::from_secs(1);
    let limits = Some(SideLimits { canary: limit, baseline: limit });
    let thresholds = Thresholds { slow_above: limits, median_above: limits, ..Thresholds::default() };
    let stretch =
        Stretch { no: 1, share: tenth, baseline_share: tenth, begins_step: false, by_cohort: false };
    let feed = Feed::new(gate.expect("a sound gate"), stretch, thresholds);
    let at = tokio::time::Instant::now().into_std();
    for number in 0..count {
        let arm = match number % 10 {
            0 => Arm::Canary,
            1 => Arm::Baseline,
            _ => Arm::Stable,
        };
        let user = Some(u64::from(number));
        let ticket = feed.begin(1, arm, user, black_box(at));
        let outcome = if number % 100 == 99 { Outcome::ServerError } else { Outcome::Success };
        let ending =
            Ending { outcome, latency: Duration::from_micros(100), memory_peak_bytes: 1 << 20, user, at };
        if feed.end(ticket, black_box(&ending)) {
            black_box(feed.verdict());
        }
    }
}
