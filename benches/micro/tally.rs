//! What does counting the end of an invocation cost, and reading a tally?
//!
//! Budget: 50 ns a record on one thread, 20 µs a snapshot: a scrape reads thousands.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use wasm_fn_core::Outcome;
use wasm_fn_router::{InvocationRecord, Tally};

fn ended(micros: u64) -> InvocationRecord {
    InvocationRecord {
        outcome: Outcome::Success,
        latency: Duration::from_micros(micros),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 2 << 20,
    }
}

fn tally(criterion: &mut Criterion) {
    let tally = Tally::new();
    let mut micros = 0;
    criterion.bench_function("tally/record", |bencher| {
        bencher.iter(|| {
            // Latencies from 0 to 1 ms that do not repeat the bucket before.
            micros = (micros + 337) % 1000;
            tally.record(black_box(ended(micros)));
        });
    });
    let earlier = tally.snapshot();
    criterion.bench_function("tally/snapshot", |bencher| bencher.iter(|| tally.snapshot()));
    criterion.bench_function("tally/snapshot-since-p99", |bencher| {
        bencher.iter(|| tally.snapshot().since(&earlier).latency_quantile(0.99));
    });
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = tally }
criterion_main!(benches);
