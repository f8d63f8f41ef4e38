//! What do the pool and the gate add to a request that finds an instance and a place at once?
//!
//! Budget: 100 ns for all of them together, on one thread: a gate entered and left, an instance taken
//! and put back or replaced.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use wasm_fn_pool::{Checkout, ConcurrencyLimit, Pool, PoolOptions, Slots, StartPermit, Wake};

/// The thread of all instances.
const THREAD: u64 = 1;

/// An instance: as large as a pointer, with its permit.
type Instance = (Box<u64>, StartPermit);

fn pool() -> Pool<Instance> {
    let slots = Arc::new(Slots::new(1000));
    Pool::new(PoolOptions { slots, floor: 1, ceiling: 100, idle_after: Duration::from_secs(60) })
}

fn instances(criterion: &mut Criterion) {
    let warm = pool();
    if let Checkout::Cold(permit) = warm.checkout(THREAD) {
        assert!(warm.check_in(THREAD, (Box::new(0), permit)).is_none(), "the shelf is empty");
    }
    criterion.bench_function("pool/warm-checkout-and-check-in", |bencher| {
        bencher.iter(|| match warm.checkout(THREAD) {
            Checkout::Warm(instance) => warm.check_in(THREAD, instance).is_none(),
            Checkout::Cold(_) | Checkout::Full => false,
        });
    });
    let cold = pool();
    criterion.bench_function("pool/cold-permit", |bencher| {
        bencher.iter(|| matches!(cold.checkout(THREAD), Checkout::Cold(_)));
    });
    criterion.bench_function("pool/refill-not-needed", |bencher| bencher.iter(|| warm.refill().is_none()));
    criterion.bench_function("pool/record", |bencher| {
        bencher.iter(|| warm.record(black_box(Duration::from_micros(40))));
    });
}

/// Nobody waits in these.
struct Nobody;

impl Wake for Nobody {
    fn wake(self) -> bool {
        false
    }
}

fn gate(criterion: &mut Criterion) {
    let gate = ConcurrencyLimit::<Nobody>::new(1000, 1000);
    criterion.bench_function("pool/gate-enter-and-leave", |bencher| {
        bencher.iter(|| {
            let entered = gate.try_acquire();
            gate.release(black_box(Duration::ZERO));
            entered
        });
    });
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = instances, gate }
criterion_main!(benches);
