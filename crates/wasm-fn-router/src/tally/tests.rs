//! Facts about `tally`.

use std::{collections::BTreeSet, sync::Arc};

use wasm_fn_core::{StageName, VersionNo};

use super::*;

fn ended(outcome: Outcome, micros: u64) -> InvocationRecord {
    InvocationRecord {
        outcome,
        latency: Duration::from_micros(micros),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 64 << 10,
    }
}

fn success(micros: u64) -> InvocationRecord {
    ended(Outcome::Success, micros)
}

#[test]
fn a_new_tally_counts_nothing() {
    let snapshot = Tally::new().snapshot();
    assert_eq!(snapshot, TallySnapshot::default());
    assert_eq!((snapshot.total(), snapshot.failures(), snapshot.memory_peak_bytes_max()), (0, 0, 0));
    assert_eq!(snapshot.latency_quantile(0.5), None);
    assert_eq!(snapshot.queue_wait_quantile(0.5), None);
    assert_eq!(snapshot.memory_peak_bytes_quantile(0.5), None);
    assert_eq!((snapshot.latency_count(), snapshot.latency_at_most(Duration::MAX)), (0, 0));
}

#[test]
fn every_outcome_has_its_counter() {
    let tally = Tally::new();
    for (times, outcome) in (1..).zip(Outcome::ALL) {
        for _ in 0..times {
            tally.record(ended(outcome, 1));
        }
    }
    let snapshot = tally.snapshot();
    assert_eq!(snapshot.counts(), &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(snapshot.total(), 45);
    assert_eq!(snapshot.failures(), 2 + 3 + 4 + 5 + 6);
    assert_eq!(snapshot.count(Outcome::Cancelled), 8);
}

#[test]
fn what_did_not_run_to_its_own_end_has_no_latency() {
    let tally = Tally::new();
    for outcome in [Outcome::Shed, Outcome::Cancelled, Outcome::Internal] {
        tally.record(InvocationRecord { queue_wait: Duration::from_secs(1), ..ended(outcome, 1) });
    }
    let snapshot = tally.snapshot();
    assert_eq!((snapshot.total(), snapshot.latency_count()), (3, 0));
    assert_eq!(snapshot.latency_quantile(0.5), None);
    assert_eq!(snapshot.memory_peak_bytes_max(), 0);
    assert!(snapshot.queue_wait_quantile(0.5) >= Some(Duration::from_secs(1)));
}

#[test]
fn waits_of_nothing_count_among_the_waits() {
    let tally = Tally::new();
    let waited = |wait| tally.record(InvocationRecord { queue_wait: wait, ..ended(Outcome::Success, 1) });
    (0..3).for_each(|_| waited(Duration::ZERO));
    let before = tally.snapshot();
    assert_eq!(before.queue_wait_quantile(1.0), Some(Duration::ZERO));
    waited(Duration::ZERO);
    (0..2).for_each(|_| waited(Duration::from_micros(5)));
    let waits = |snapshot: &TallySnapshot| {
        [0.3, 0.6, 0.7].map(|q| snapshot.queue_wait_quantile(q).unwrap().as_micros())
    };
    assert_eq!(waits(&tally.snapshot()), [0, 0, 5]);
    assert_eq!(waits(&tally.snapshot().since(&before)), [0, 5, 5]);
}

#[test]
fn latency_quantiles_are_never_too_low_and_at_most_3_2_percent_too_high() {
    let mut value = 1u64;
    while value < 4_000_000_000 {
        let tally = Tally::new();
        tally.record(success(value));
        let found = tally.snapshot().latency_quantile(0.99).unwrap();
        let exact = Duration::from_micros(value);
        assert!(found >= exact, "{value}");
        assert!(found.as_secs_f64() <= exact.as_secs_f64() * 1.032, "{value}");
        value = value * 11 / 10 + 1;
    }
}

#[test]
fn quantiles_are_those_of_the_sorted_latencies() {
    let tally = Tally::new();
    for micros in 1..=1000 {
        tally.record(success(micros));
    }
    let snapshot = tally.snapshot();
    for (quantile, micros) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1000)] {
        let found = snapshot.latency_quantile(quantile).unwrap().as_secs_f64() * 1e6;
        let exact = f64::from(micros);
        assert!((exact..=exact * 1.032).contains(&found), "{quantile}: {found}");
    }
    for quantile in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(snapshot.latency_quantile(quantile), None);
    }
}

#[test]
fn cumulative_counts_follow_the_bounds() {
    let tally = Tally::new();
    for micros in [10, 20, 20, 1_000_000] {
        tally.record(success(micros));
    }
    let at_most = |micros| tally.snapshot().latency_at_most(Duration::from_micros(micros));
    assert_eq!([0, 9, 10, 19, 20, 999, 1_000_000].map(at_most), [0, 0, 1, 1, 3, 3, 4]);
    assert_eq!(tally.snapshot().latency_at_most(Duration::MAX), tally.snapshot().latency_count());
}

#[test]
fn distribution_counts_every_time_once_by_the_bounds_asked_for() {
    let tally = Tally::new();
    for micros in [10, 20, 20, 999, 1_000, 1_000_000] {
        tally.record(InvocationRecord { queue_wait: Duration::from_micros(5), ..success(micros) });
    }
    tally.record(InvocationRecord { latency: Duration::from_secs(1), ..ended(Outcome::Shed, 1) });
    let snapshot = tally.snapshot();
    let latencies = snapshot.latencies(&[9, 20, 1_000].map(Duration::from_micros));
    assert_eq!((&*latencies.counts, latencies.count()), (&[0, 3, 2, 1][..], snapshot.latency_count()));
    let off = latencies.sum.as_secs_f64() / Duration::from_micros(1_002_049).as_secs_f64() - 1.0;
    assert!(off.abs() < 0.016, "{off}");
    // A request that was shed without a wait counts among the waits.
    assert_eq!(snapshot.queue_waits(&[Duration::ZERO, Duration::from_micros(5)]).counts, [1, 6, 0]);
    assert_eq!(TallySnapshot::default().latencies(&[Duration::ZERO]).counts, [0, 0]);
}

#[test]
fn parts_of_a_microsecond_count_as_a_whole_one() {
    let tally = Tally::new();
    tally.record(InvocationRecord { latency: Duration::from_nanos(1), ..success(0) });
    assert_eq!(tally.snapshot().latency_quantile(1.0), Some(Duration::from_micros(1)));
}

#[test]
fn values_beyond_every_limit_count_as_the_largest() {
    let tally = Tally::new();
    tally.record(InvocationRecord {
        outcome: Outcome::Success,
        latency: Duration::MAX,
        queue_wait: Duration::MAX,
        memory_peak_bytes: u64::MAX,
    });
    let snapshot = tally.snapshot();
    assert_eq!(snapshot.latency_quantile(0.5), Some(Duration::from_micros((1 << 32) - 1)));
    assert_eq!(snapshot.queue_wait_quantile(0.5), Some(Duration::from_micros((1 << 26) - 1)));
    assert_eq!(snapshot.memory_peak_bytes_quantile(0.5), Some(((1 << 17) - 1) * PAGE_BYTES));
    assert_eq!(snapshot.memory_peak_bytes_max(), u64::MAX);
}

#[test]
fn memory_peaks_have_an_exact_maximum_and_quantiles_in_pages() {
    let tally = Tally::new();
    for bytes in [1, 100_000, 50 << 20, 10] {
        tally.record(InvocationRecord { memory_peak_bytes: bytes, ..success(1) });
    }
    let snapshot = tally.snapshot();
    assert_eq!(snapshot.memory_peak_bytes_max(), 50 << 20);
    assert_eq!(snapshot.memory_peak_bytes_quantile(0.5), Some(PAGE_BYTES));
    assert_eq!(snapshot.memory_peak_bytes_quantile(0.75), Some(2 * PAGE_BYTES));
    let highest = snapshot.memory_peak_bytes_quantile(1.0).unwrap();
    assert!((50 << 20..(50 << 20) * 9 / 8 + PAGE_BYTES).contains(&highest));
}

#[test]
fn a_later_snapshot_tells_what_happened_since() {
    let tally = Tally::new();
    let nothing = tally.snapshot();
    for _ in 0..1000 {
        tally.record(success(10));
    }
    let before = tally.snapshot();
    tally.record(success(10_000));
    tally.record(ended(Outcome::Trap, 20_000));
    let since = tally.snapshot().since(&before);
    assert_eq!((since.total(), since.failures(), since.latency_count()), (2, 1, 2));
    assert!(since.latency_quantile(0.0) >= Some(Duration::from_millis(10)));
    assert_eq!(before.since(&nothing), before);
    assert_eq!(before.since(&before).total(), 0);
    assert_eq!(before.since(&before).latency_quantile(0.5), None);
}

#[test]
fn nothing_is_lost_between_threads() {
    let tally = Tally::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|micros| tally.record(success(micros))));
        }
    });
    let snapshot = tally.snapshot();
    assert_eq!((snapshot.total(), snapshot.latency_count()), (40_000, 40_000));
}

#[test]
fn who_asked_for_the_version_is_counted_apart() {
    let tally = Tally::new();
    assert_eq!(tally.overrides(), TallySnapshot::default());
    tally.of_overrides().record(ended(Outcome::Trap, 20_000));
    tally.of_overrides().trapped(7);
    assert_eq!((tally.overrides().total(), tally.overrides().count(Outcome::Trap)), (1, 1));
    assert_eq!((tally.snapshot(), tally.traps()), (TallySnapshot::default(), Vec::new()));
}

#[test]
fn an_unused_tally_is_small_and_a_used_one_bounded() {
    assert!(size_of::<Tally>() <= 304, "{}", size_of::<Tally>());
    let buckets: usize = [LATENCY, QUEUE_WAIT, MEMORY].iter().map(Config::total_buckets).sum();
    assert!(buckets * 8 <= 10 << 10, "{}", buckets * 8);
}

#[test]
fn traps_are_remembered_once_in_their_order() {
    let tally = Tally::new();
    assert_eq!(tally.traps(), []);
    for fingerprint in [7, 3, 7, u64::MAX, 3] {
        tally.trapped(fingerprint);
    }
    assert_eq!(tally.traps(), [7, 3, u64::MAX]);
    assert_eq!(tally.snapshot().total(), 0, "traps are counted by their outcome");
}

#[test]
fn no_guest_makes_a_tally_remember_more_than_256_traps() {
    let tally = Tally::new();
    for fingerprint in 0..10_000 {
        tally.trapped(fingerprint);
    }
    assert_eq!(tally.traps(), (0..256).collect::<Vec<_>>());
}

#[test]
fn versions_with_new_traps_are_news_once() {
    let news = Arc::new(TrapNews::default());
    let version = |no| ("f".parse().unwrap(), StageName::live(), VersionNo::new(no).unwrap());
    let [first, second] = [1, 2].map(|no| Tally::knowing(&[7], news.of(version(no))));
    assert!(news.take().is_empty(), "what is known is no news");
    for tally in [&first, &first, &second] {
        [7, 8, 9].into_iter().for_each(|fingerprint| tally.trapped(fingerprint));
    }
    let taken = news.take();
    assert_eq!(taken, BTreeSet::from([version(1), version(2)]));
    first.trapped(8);
    assert!(news.take().is_empty());
    news.put_back(taken.clone());
    assert_eq!(news.take(), taken);
}

#[test]
fn latencies_of_a_while_are_those_between_two_readings() {
    let tally = Tally::new();
    assert_eq!(tally.latencies(), LatencyCounts::default());
    (0..100).for_each(|_| tally.record(success(1_000)));
    let before = tally.latencies();
    assert_eq!(before.since(&before).quantile(0.5), None);
    (0..98).for_each(|_| tally.record(success(10_000)));
    tally.record(success(1_000));
    tally.record(success(500_000));
    let since = tally.latencies().since(&before);
    let within = |quantile, low, high| {
        let found = since.quantile(quantile).unwrap();
        assert!(found >= Duration::from_micros(low) && found <= Duration::from_micros(high), "{found:?}");
    };
    within(0.0, 1_000, 1_032);
    within(0.5, 10_000, 10_320);
    within(0.99, 10_000, 10_320);
    within(1.0, 500_000, 516_000);
    assert_eq!(tally.totals(), (200, 0));
    tally.record(ended(Outcome::Trap, 1));
    assert_eq!(tally.totals(), (201, 1));
}
