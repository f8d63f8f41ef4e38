//! Streams of responses in which nothing takes time: who answered, whether it was bad, to whom.

use wasm_fn_core::{Point, Weight};
use wasm_fn_rollout::Arm;

/// SplitMix64: the same numbers for the same seed, on every machine and with every version of any crate.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform, 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Pareto from 1 on.
    pub(crate) fn pareto(&mut self, exponent: f64) -> f64 {
        (1.0 - self.unit()).powf(-1.0 / exponent)
    }
}

/// How responses come to be bad.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Independently, at these rates.
    Errors { stable: f64, canary: f64 },
    /// Latencies with a Pareto tail of this exponent, the canary's longer by a factor. To the other rules,
    /// bad is what lies above 1.2 times the p99 of 10,000 responses of stable before.
    Slow { exponent: f64, factor: f64 },
    /// Each of 2,000 users keeps to one side; five fail always, one in twenty often, the others rarely. The
    /// versions are the same.
    Sticky,
}

/// How the canary's share moves over the requests.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shares {
    /// 10 % throughout.
    Tenth,
    /// 1 %, 10 %, 50 % of equal length.
    Steps,
    /// Everybody, after as many requests of the previous version.
    All,
}

/// One response.
pub(crate) struct Item {
    pub(crate) arm: Arm,
    pub(crate) on_canary: bool,
    pub(crate) bad: bool,
    /// Its latency, in p99s of stable before; `None` where latencies are no matter.
    pub(crate) latency: Option<f64>,
    /// Hash of the user's key.
    pub(crate) user: Option<u64>,
}

/// Responses without end.
pub(crate) struct Stream {
    kind: Kind,
    shares: [Weight; 3],
    step_requests: u64,
    sent: u64,
    random: Random,
    // Of stable before.
    median: f64,
    p99: f64,
    users: Vec<(u64, f64)>,
}

/// Users of a sticky stream.
const USERS: u64 = 2_000;

/// Responses of stable before the rollout, which the first latency limit comes from.
const PAST: usize = 10_000;

/// The baseline's share beside a canary with `share`.
pub(crate) fn baseline_share(share: Weight) -> Weight {
    share.min(share.complement())
}

/// Whom a request at `point` goes to when the canary has `share`.
pub(crate) fn arm(point: Point, share: Weight) -> Arm {
    if point.place() < share.basis_points() {
        Arm::Canary
    } else if point.place() >= baseline_share(share).complement().basis_points() {
        Arm::Baseline
    } else {
        Arm::Stable
    }
}

impl Stream {
    pub(crate) fn new(kind: Kind, shares: Shares, requests: u64, seed: u64) -> Self {
        let weight = |points| Weight::from_basis_points(points).expect("at most everything");
        let mut random = Random::new(seed);
        let (median, p99) = match kind {
            Kind::Slow { exponent, .. } => {
                let mut past: Vec<_> = (0..PAST).map(|_| random.pareto(exponent)).collect();
                past.sort_by(f64::total_cmp);
                (past[PAST / 2], past[PAST * 99 / 100])
            }
            Kind::Errors { .. } | Kind::Sticky => (1.0, 1.0),
        };
        let user = |index| {
            let rate = match index {
                0..5 => 1.0,
                5..105 => 0.1,
                _ => 0.001,
            };
            (random.bits(), rate)
        };
        let users = if kind == Kind::Sticky { (0..USERS).map(user).collect() } else { Vec::new() };
        let shares = match shares {
            Shares::Tenth => [weight(1000); 3],
            Shares::Steps => [weight(100), weight(1000), weight(5000)],
            Shares::All => [Weight::FULL; 3],
        };
        Self { kind, shares, step_requests: requests.div_ceil(3), sent: 0, random, median, p99, users }
    }

    /// Whether a step begins with the next response.
    pub(crate) fn steps(&self) -> bool {
        let moved = self.shares[0] != self.shares[1];
        moved && self.sent > 0 && self.sent.is_multiple_of(self.step_requests)
    }

    /// The canary's share of the next response.
    pub(crate) fn share(&self) -> Weight {
        self.shares[usize::try_from(self.sent / self.step_requests).unwrap_or(2).min(2)]
    }

    /// The median of stable before, in p99s.
    pub(crate) fn median(&self) -> f64 {
        self.median / self.p99
    }

    pub(crate) fn next(&mut self) -> Item {
        let share = self.share();
        self.sent += 1;
        if self.kind == Kind::Sticky {
            // A quarter of the requests comes mostly from the first users: the smaller of two draws.
            let draws = [self.random.bits() % USERS, self.random.bits() % USERS];
            let index = if self.random.bits().is_multiple_of(4) { draws[0].min(draws[1]) } else { draws[0] };
            let (key, rate) = self.users[usize::try_from(index).expect("an index of a user")];
            let arm = arm(Point::from_bits(key), share);
            let bad = self.random.unit() < rate;
            return Item { arm, on_canary: arm == Arm::Canary, bad, latency: None, user: Some(key) };
        }
        let arm = arm(Point::from_bits(self.random.bits()), share);
        let on_canary = arm == Arm::Canary;
        let (bad, latency) = match self.kind {
            Kind::Errors { stable, canary } => {
                (self.random.unit() < if on_canary { canary } else { stable }, None)
            }
            Kind::Slow { exponent, factor } => {
                let latency = if on_canary { factor } else { 1.0 } * self.random.pareto(exponent) / self.p99;
                (latency > 1.2, Some(latency))
            }
            Kind::Sticky => (false, None),
        };
        Item { arm, on_canary, bad, latency, user: None }
    }
}
