//! What a request meets besides its route and its guest: the tally, the pool, and the gate of a rollout.

use std::{hint::black_box, sync::Arc, time::Duration};

use wasm_fn_core::{Outcome, Side, Weight};
use wasm_fn_pool::{Checkout, Gate, Pool, PoolOptions, Slots, StartPermit, Wake};
use wasm_fn_rollout::{Baseline, Batch, GateSpec, Response, Thresholds, UserSet};
use wasm_fn_router::{Ended, Tally};

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
        tally.record(black_box(Ended {
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
    let gate = Gate::<Nobody>::new(1000, 1000);
    let slots = Arc::new(Slots::new(1000));
    let pool: Pool<(Box<u64>, StartPermit)> =
        Pool::new(PoolOptions { slots, floor: 1, ceiling: 100, idle_after: Duration::from_secs(60) });
    let Checkout::Cold(permit) = pool.checkout(THREAD) else {
        panic!("a new pool has slots and no instance")
    };
    assert!(pool.check_in(THREAD, (Box::new(0), permit)).is_none(), "the shelf is empty");

    for _ in 0..count {
        assert!(gate.try_enter(), "nobody else is in");
        let instance = black_box(pool.take_ready(THREAD)).expect("it was put back");
        assert!(pool.check_in(THREAD, instance).is_none(), "it lay there before");
        pool.record(black_box(Duration::from_micros(40)));
        gate.leave(black_box(Duration::ZERO));
    }
}

/// Tells a gate of `count` good responses, a tenth of them the canary's, and asks it for its verdict after
/// each.
pub(crate) fn evidence(count: u32) {
    let share = Weight::from_basis_points(1000).expect("at most everything");
    let mut gate =
        wasm_fn_rollout::Gate::new(GateSpec::default(), Baseline::Concurrent).expect("a sound gate");
    let thresholds = Thresholds { slow_above: Some(Duration::from_secs(1)), ..Thresholds::default() };
    let mut users = UserSet::new(1000);
    for number in 0..count {
        let response = Response {
            side: if number % 10 == 0 { Side::Canary } else { Side::Stable },
            outcome: Outcome::Success,
            latency: Duration::from_micros(100),
            memory_peak_bytes: 1 << 20,
            user: Some(number.into()),
        };
        let mut batch = Batch::new(share);
        batch.add(black_box(&response), &thresholds, &mut users);
        gate.observe(&batch);
        black_box(gate.verdict());
    }
}
