//! The pool under load, on virtual time: seeded arrivals of a guest that starts slowly, in no virtual time.

use std::{collections::BTreeMap, ops::Range};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{super::*, HERE};

const TICK: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Whether an instance serves again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fresh,
    Reused,
}

struct Sim {
    kind: Kind,
    random: StdRng,
    now: Duration,
    ticked: Duration,
    slots: Arc<Slots>,
    pool: Pool<StartPermit>,
    /// Busy instances by when they end, and how long they serve then.
    busy: BTreeMap<(Duration, u64), (StartPermit, Duration)>,
    arrivals: u64,
    refused: u64,
}

impl Sim {
    fn new(kind: Kind, slots: usize) -> Self {
        let slots = Arc::new(Slots::new(slots));
        let pool = Pool::new(PoolOptions {
            slots: Arc::clone(&slots),
            floor: 1,
            ceiling: 500,
            idle_after: Duration::from_secs(60),
        });
        pool.record_starts(1, Duration::from_millis(1));
        Self {
            kind,
            random: StdRng::seed_from_u64(42),
            now: Duration::ZERO,
            ticked: Duration::ZERO,
            slots,
            pool,
            busy: BTreeMap::new(),
            arrivals: 0,
            refused: 0,
        }
    }

    /// Poisson arrivals at `rate` a second for `length`, served for exponential times of mean `service`.
    fn run(&mut self, length: Duration, rate: f64, service: Duration) {
        let end = self.now + length;
        loop {
            let arrival = self.now + Duration::from_secs_f64(self.exponential() / rate);
            self.advance(arrival.min(end));
            if arrival >= end {
                return;
            }
            self.arrive(service);
        }
    }

    fn silence(&mut self, length: Duration) {
        self.advance(self.now + length);
    }

    fn burst(&mut self, count: usize, service: Duration) {
        (0..count).for_each(|_| self.arrive(service));
    }

    /// Warm starts among the arrivals of `load`, as a share.
    fn warm_share(&mut self, load: impl FnOnce(&mut Self)) -> f64 {
        let (arrivals, warm) = (self.arrivals, self.pool.warm_starts());
        load(self);
        (self.pool.warm_starts() - warm) as f64 / (self.arrivals - arrivals) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random.random::<f64>()).ln()
    }

    fn arrive(&mut self, service: Duration) {
        self.arrivals += 1;
        let service = service.mul_f64(self.exponential());
        match self.pool.checkout(HERE) {
            Checkout::Warm(permit) | Checkout::Cold(permit) => {
                self.busy.insert((self.now + service, self.arrivals), (permit, service));
            }
            Checkout::Full => self.refused += 1,
        }
        self.check();
    }

    /// Lets instances end and the pool be resized up to `until`.
    fn advance(&mut self, until: Duration) {
        loop {
            let tick = self.ticked + TICK;
            match self.busy.first_key_value() {
                Some((&(end, _), _)) if end <= until && end <= tick => {
                    self.now = end;
                    self.end_first();
                }
                _ if tick <= until => {
                    (self.now, self.ticked) = (tick, tick);
                    drop(self.pool.resize(tick, self.busy.len()));
                    self.refill();
                }
                _ => break,
            }
            self.check();
        }
        self.now = until;
    }

    fn end_first(&mut self) {
        let (_, (permit, service)) = self.busy.pop_first().unwrap();
        self.pool.record(service);
        if self.kind == Kind::Reused {
            drop(self.pool.check_in(HERE, permit));
        } else {
            drop(permit);
            self.refill();
        }
    }

    fn refill(&mut self) {
        while let Some(permit) = self.pool.refill() {
            assert!(self.pool.check_in(HERE, permit).is_none());
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let alive = self.busy.len() + self.pool.ready();
        assert_eq!(alive, self.slots.used());
        assert_eq!(alive, self.pool.live());
        assert!(alive <= self.slots.max());
        assert!(self.pool.ready() <= self.pool.ceiling);
        assert_eq!(self.pool.warm_starts() + self.pool.cold_starts() + self.refused, self.arrivals);
    }
}

#[track_caller]
fn steady(rate: f64, service: Duration, warm_min: f64, target: Range<usize>) {
    for kind in [Kind::Fresh, Kind::Reused] {
        let mut sim = Sim::new(kind, 1000);
        sim.run(10 * SECOND, rate, service);
        let share = sim.warm_share(|sim| sim.run(60 * SECOND, rate, service));
        assert!(share >= warm_min, "{kind:?}: {share} of the starts are warm");
        assert!(target.contains(&sim.pool.target()), "{kind:?}: target is {}", sim.pool.target());
        assert_eq!(sim.refused, 0);
    }
}

#[test]
fn steady_load_is_served_warm() {
    steady(1000.0, Duration::from_micros(500), 0.99, 2..12);
    steady(200.0, Duration::from_millis(50), 0.99, 19..50);
    steady(20.0, SECOND, 0.99, 33..90);
    steady(2.0, Duration::from_millis(5), 0.95, 1..4);
}

#[test]
fn the_first_minute_of_long_services_is_served_warm() {
    let mut sim = Sim::new(Kind::Fresh, 1000);
    let share = sim.warm_share(|sim| sim.run(60 * SECOND, 5.0, 600 * SECOND));
    assert!(share > 0.9, "{share}");
}

#[test]
fn the_target_follows_the_load_up_and_down() {
    for kind in [Kind::Fresh, Kind::Reused] {
        let service = Duration::from_millis(100);
        let mut sim = Sim::new(kind, 1000);
        sim.run(30 * SECOND, 10.0, service);
        let low = sim.pool.target();
        assert!((4..20).contains(&low), "{low}");
        sim.run(2 * SECOND, 1000.0, service);
        assert!(sim.pool.target() >= 100, "{}", sim.pool.target());
        let share = sim.warm_share(|sim| sim.run(20 * SECOND, 1000.0, service));
        assert!(share > 0.99, "{share}");
        sim.run(90 * SECOND, 10.0, service);
        assert!(sim.pool.target() < 2 * low.max(10), "{}", sim.pool.target());
        assert!(sim.pool.ready() <= sim.pool.target());
    }
}

#[test]
fn a_burst_that_comes_back_finds_its_instances() {
    for kind in [Kind::Fresh, Kind::Reused] {
        let mut sim = Sim::new(kind, 1000);
        let service = Duration::from_millis(400);
        let cycle = |sim: &mut Sim| {
            sim.burst(100, service);
            sim.silence(2 * SECOND);
        };
        assert!(sim.warm_share(cycle) < 0.01);
        (0..10).for_each(|_| cycle(&mut sim));
        let share = sim.warm_share(cycle);
        assert!(share > 0.8, "{kind:?}: {share}");
    }
}

#[test]
fn silence_empties_the_pool() {
    for kind in [Kind::Fresh, Kind::Reused] {
        let mut sim = Sim::new(kind, 1000);
        sim.run(10 * SECOND, 100.0, Duration::from_millis(20));
        sim.silence(55 * SECOND);
        assert!(sim.pool.ready() >= 1);
        sim.silence(10 * SECOND);
        assert_eq!((sim.pool.target(), sim.pool.ready(), sim.slots.used()), (0, 0, 0));
        sim.run(SECOND, 100.0, Duration::from_millis(20));
        assert!(sim.pool.target() > 1);
    }
}

#[test]
fn overload_never_exceeds_the_slots() {
    for kind in [Kind::Fresh, Kind::Reused] {
        let mut sim = Sim::new(kind, 20);
        sim.run(30 * SECOND, 500.0, Duration::from_millis(100));
        assert!(sim.refused > 5000);
        sim.silence(70 * SECOND);
        assert_eq!(sim.slots.used(), 0);
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let mut sim = Sim::new(Kind::Fresh, 100);
        sim.run(5 * SECOND, 300.0, Duration::from_millis(40));
        (sim.arrivals, sim.pool.warm_starts(), sim.pool.target(), sim.pool.ready())
    };
    assert_eq!(run(), run());
}
