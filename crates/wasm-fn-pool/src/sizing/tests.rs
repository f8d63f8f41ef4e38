//! Facts about `sizing`.

use super::*;

const TICK: Duration = Duration::from_millis(100);

/// Updates every tick for `ticks` with arrivals at `rate` a second, each served for `service`.
struct LoadDriver {
    sizer: Sizer,
    now: Duration,
}

impl LoadDriver {
    fn new(floor: usize) -> Self {
        let sizer = Sizer::new(floor, Duration::from_secs(60));
        let mut load = Self { sizer, now: Duration::from_secs(1000) };
        load.apply(0, Duration::ZERO, 1);
        load
    }

    fn apply(&mut self, per_tick: u64, service: Duration, ticks: u32) -> usize {
        let service = service * u32::try_from(per_tick).unwrap();
        let load_seen = Load { arrivals: per_tick, finished: per_tick, service, ..Load::default() };
        self.repeat(load_seen, ticks).alive
    }

    /// How many are made ahead at `rate` a second, when a start takes `start`.
    fn ahead(&mut self, rate: u64, start: Duration) -> usize {
        self.target(rate, start).ahead
    }

    /// What is wanted at `rate` a second, when a start takes `start`.
    fn target(&mut self, rate: u64, start: Duration) -> Target {
        let arrivals = rate / 10;
        let count = u32::try_from(arrivals).unwrap();
        let service = Duration::from_micros(50) * count;
        let (finished, started, starting) = (arrivals, arrivals, start * count);
        self.repeat(Load { arrivals, finished, service, started, starting, busy: 0 }, 100)
    }

    fn repeat(&mut self, load_seen: Load, ticks: u32) -> Target {
        (0..ticks).fold(Target::default(), |_, _| {
            self.now += TICK;
            self.sizer.update(self.now, load_seen)
        })
    }
}

#[test]
fn staffing_follows_the_square_root_rule() {
    for (load, floor, target) in [
        (0.0, 0, 0),
        (0.0, 2, 2),
        (0.01, 0, 1),
        (1.0, 0, 4),
        (1.0, 5, 6),
        (4.0, 2, 10),
        (100.0, 2, 130),
        (10_000.0, 2, 10_300),
        (f64::INFINITY, 0, usize::MAX),
        (f64::NAN, 0, 0),
    ] {
        assert_eq!(staffed(load, floor), target, "{load} {floor}");
    }
}

#[test]
fn steady_load_settles_at_little_s_law() {
    for (per_tick, millis, busy) in [(100, 10, 10.0), (1000, 1, 10.0), (10, 1000, 100.0), (1, 1, 0.01)] {
        let target = LoadDriver::new(0).apply(per_tick, Duration::from_millis(millis), 600);
        assert_eq!(target, staffed(busy, 0), "{per_tick} {millis}");
    }
}

#[test]
fn a_rise_is_followed_within_a_second_and_a_fall_within_a_minute() {
    let mut load = LoadDriver::new(0);
    let service = Duration::from_millis(100);
    let low = load.apply(10, service, 600);
    assert_eq!(low, staffed(10.0, 0));
    assert!(load.apply(100, service, 10) > 75);
    let high = load.apply(100, service, 100);
    assert_eq!(high, staffed(100.0, 0));
    assert!(load.apply(10, service, 10) > 100);
    assert!(load.apply(10, service, 590) < 2 * low);
}

#[test]
fn long_services_count_before_they_end() {
    let mut sizer = Sizer::new(1, Duration::from_secs(60));
    for second in 0..20u32 {
        let busy = second as usize;
        let load_seen = Load { arrivals: 1, busy, ..Load::default() };
        let target = sizer.update(Duration::from_secs(second.into()), load_seen).alive;
        assert!(target > busy, "{second}: {target}");
    }
}

#[test]
fn rare_slow_services_are_averaged_with_the_many_fast_ones() {
    let mut sizer = Sizer::new(0, Duration::from_secs(60));
    let mut target_max = 0;
    // Ten a second of 1 ms each, and a 10-second one every ten seconds: one busy on average.
    for tick in 1..=6000 {
        let slow = tick % 100 == 0;
        let service = if slow { Duration::from_secs(10) } else { Duration::from_millis(1) };
        let load_seen = Load { arrivals: 1, finished: 1, service, ..Load::default() };
        let target = sizer.update(TICK * tick, load_seen).alive;
        if tick > 1000 {
            target_max = target_max.max(target);
        }
    }
    assert!((staffed(1.0, 0)..=staffed(2.5, 0)).contains(&target_max), "{target_max}");
}

#[test]
fn idleness_empties_after_its_time_and_not_before() {
    let mut load = LoadDriver::new(2);
    let service = Duration::from_millis(10);
    load.apply(10, service, 100);
    assert!(load.apply(0, service, 599) >= 2);
    assert_eq!(load.apply(0, service, 1), 0);
    assert_eq!(load.apply(0, service, 1000), 0);
    assert!(load.apply(1, service, 1) >= 2);
}

#[test]
fn nothing_is_wanted_before_the_first_request() {
    assert_eq!(LoadDriver::new(5).apply(0, Duration::ZERO, 10), 0);
}

#[test]
fn an_idle_time_of_zero_keeps_nothing() {
    let mut sizer = Sizer::new(5, Duration::ZERO);
    let load_seen = Load { arrivals: 9, busy: 9, ..Load::default() };
    assert_eq!(sizer.update(TICK, load_seen), Target::default());
}

#[test]
fn time_that_stands_still_or_goes_back_is_not_due() {
    let mut sizer = Sizer::new(0, TICK);
    assert!(sizer.is_due(Duration::ZERO));
    sizer.update(TICK, Load::default());
    assert!(!sizer.is_due(TICK));
    assert!(!sizer.is_due(Duration::ZERO));
    assert!(sizer.is_due(2 * TICK));
}

#[test]
fn what_is_kept_has_one_to_spare_without_load_until_its_time() {
    let mut sizer = Sizer::new(0, Duration::from_secs(60));
    let second = Duration::from_secs;
    sizer.keep_until(second(100));
    let busy = |busy| Load { busy, ..Load::default() };
    let both = |count| Target { alive: count, ahead: count, ..Target::default() };
    assert_eq!(sizer.update(second(1), busy(0)), both(1));
    assert_eq!(sizer.update(second(2), busy(3)), both(4));
    assert_eq!(sizer.update(second(99), busy(0)), both(1));
    assert_eq!(sizer.update(second(100), busy(0)), both(0));
    sizer.keep_until(second(200));
    assert_eq!(sizer.update(second(101), busy(0)), both(1));
    sizer.keep_until(Duration::ZERO);
    assert_eq!(sizer.update(second(102), busy(0)), both(0), "the last call counts");
}

#[test]
fn instances_are_made_ahead_where_they_start_slowly_or_none_waits_for_long() {
    let (quick, slow) = (Duration::from_micros(10), Duration::from_micros(300));
    assert_eq!(LoadDriver::new(1).ahead(20, quick), 0);
    assert_eq!(LoadDriver::new(1).ahead(2000, quick), 0);
    assert!(LoadDriver::new(1).ahead(20_000, quick) >= 1);
    assert_eq!(
        LoadDriver::new(1).ahead(20_000, Duration::from_micros(9)),
        0,
        "handing one over takes as long"
    );
    assert!(LoadDriver::new(1).ahead(20, slow) >= 1);
}

#[test]
fn as_many_instances_are_replaced_as_requests_come_soon_where_they_start_quickly() {
    let (quick, slow) = (Duration::from_micros(5), Duration::from_micros(50));
    for (rate, start, replaced) in
        [(9_000, quick, 0), (11_000, quick, 11), (50_000, quick, 50), (50_000, slow, 0), (0, quick, 0)]
    {
        let target = LoadDriver::new(1).target(rate, start);
        // The rate is a mean that comes near what it is of.
        assert!(target.replaced.abs_diff(replaced) <= replaced / 10, "{rate} {start:?}: {target:?}");
        assert!(target.alive >= target.replaced);
        assert_eq!(target.is_quick, rate > 0 && start == quick, "{rate} {start:?}");
    }
}

#[test]
fn a_start_that_took_long_once_is_forgotten() {
    let (quick, slow) = (Duration::from_micros(10), Duration::from_millis(10));
    let mut load = LoadDriver::new(1);
    assert!(load.ahead(20, slow) >= 1);
    assert_eq!(load.ahead(20, quick), 0);
}

#[test]
fn without_a_start_seen_and_without_load_nothing_is_made_ahead() {
    let mut load = LoadDriver::new(1);
    let load_seen = Load { arrivals: 1, finished: 1, ..Load::default() };
    let Target { alive, ahead, replaced, is_quick } = load.repeat(load_seen, 10);
    assert!(alive >= 1, "{alive}");
    assert_eq!((ahead, replaced, is_quick), (0, 0, false));
}
