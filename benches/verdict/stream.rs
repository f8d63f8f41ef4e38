//! Streams of responses: who answered, whether it was bad, to whom.

use wasm_fn_core::{Point, Weight};

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
}

/// How responses come to be bad.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Independently, at these rates.
    Errors { stable: f64, canary: f64 },
    /// Latencies with a Pareto tail of this exponent, the canary's longer by a factor. Bad is what lies
    /// above 1.2 times the p99 of 10,000 responses of stable before.
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
    pub(crate) share: Weight,
    pub(crate) on_canary: bool,
    pub(crate) bad: bool,
    pub(crate) user: Option<u64>,
}

/// Responses without end.
pub(crate) struct Stream {
    kind: Kind,
    shares: [Weight; 3],
    step_requests: u64,
    sent: u64,
    random: Random,
    threshold: f64,
    users: Vec<(Point, f64)>,
}

/// Users of a sticky stream.
const USERS: u64 = 2_000;

/// Responses of stable before the rollout, which the latency threshold comes from.
const PAST: usize = 10_000;

impl Stream {
    pub(crate) fn new(kind: Kind, shares: Shares, requests: u64, seed: u64) -> Self {
        let weight = |points| Weight::from_basis_points(points).expect("at most everything");
        let mut random = Random::new(seed);
        let threshold = match kind {
            Kind::Slow { exponent, .. } => {
                let mut past: Vec<_> = (0..PAST).map(|_| pareto(&mut random, exponent)).collect();
                past.sort_by(f64::total_cmp);
                1.2 * past[PAST * 99 / 100]
            }
            Kind::Errors { .. } | Kind::Sticky => 0.0,
        };
        let user = |index| {
            let rate = match index {
                0..5 => 1.0,
                5..105 => 0.1,
                _ => 0.001,
            };
            (Point::from_bits(random.bits()), rate)
        };
        let users = if kind == Kind::Sticky { (0..USERS).map(user).collect() } else { Vec::new() };
        let shares = match shares {
            Shares::Tenth => [weight(1000); 3],
            Shares::Steps => [weight(100), weight(1000), weight(5000)],
            Shares::All => [Weight::FULL; 3],
        };
        Self { kind, shares, step_requests: requests.div_ceil(3), sent: 0, random, threshold, users }
    }

    /// Whether a step begins with the next response.
    pub(crate) fn steps(&self) -> bool {
        let moved = self.shares[0] != self.shares[1];
        moved && self.sent > 0 && self.sent.is_multiple_of(self.step_requests)
    }

    pub(crate) fn next(&mut self) -> Item {
        let step = usize::try_from(self.sent / self.step_requests).unwrap_or(2).min(2);
        let share = self.shares[step];
        self.sent += 1;
        if self.kind == Kind::Sticky {
            // A quarter of the requests comes mostly from the first users: the smaller of two draws.
            let draws = [self.random.bits() % USERS, self.random.bits() % USERS];
            let index = if self.random.bits().is_multiple_of(4) { draws[0].min(draws[1]) } else { draws[0] };
            let (point, rate) = self.users[usize::try_from(index).expect("an index of a user")];
            let on_canary = point.place() < share.basis_points();
            let bad = self.random.unit() < rate;
            return Item { share, on_canary, bad, user: Some(index) };
        }
        let on_canary = Point::from_bits(self.random.bits()).place() < share.basis_points();
        let bad = match self.kind {
            Kind::Errors { stable, canary } => self.random.unit() < if on_canary { canary } else { stable },
            Kind::Slow { exponent, factor } => {
                let longer = if on_canary { factor } else { 1.0 };
                longer * pareto(&mut self.random, exponent) > self.threshold
            }
            Kind::Sticky => false,
        };
        Item { share, on_canary, bad, user: None }
    }
}

fn pareto(random: &mut Random, exponent: f64) -> f64 {
    (1.0 - random.unit()).powf(-1.0 / exponent)
}
