//! How many instances of a version should be alive.
//!
//! Little's law: requests that arrive at rate λ and are served in time W keep λ·W instances busy on
//! average (J. D. C. Little, "A proof for the queuing formula L = λW", 1961). Requests that arrive
//! independently of each other make the number busy Poisson-distributed with that mean, whatever the
//! distribution of W (the M/G/∞ queue), so its standard deviation is √L and
//!
//! ```text
//! target = ⌈ L + max(floor, 3·√L) ⌉
//! ```
//!
//! leaves about one arrival in a thousand without a ready instance (the square-root staffing rule of
//! W. Whitt and S. Halfin, 1981). `L` follows the load up within a second and down within a minute: a
//! burst that comes back finds its instances, and noise does not make them come and go.
//!
//! Services longer than the interval are not in λ·W until they end, so `L` is never taken below the
//! number busy now.
//!
//! An instance that waits grows cold: what serves meanwhile takes its memory out of the processor's caches, and
//! bringing it back costs more than starting a small guest does. So instances are made ahead of their
//! requests only where that saves time: when they start slowly ([`SLOW_START`]), or when requests come so
//! fast that none waits for long ([`WARM_FOR`]) and a start is more than what handing one over takes
//! ([`QUICK_START`]).
//!
//! Where a guest starts quickly, whoever has taken an instance down is best placed to make the next: the code that
//! makes it and the memory are in the caches, and nobody is woken. That is worth it when the next request is
//! about to come ([`AT_ONCE`]), and for as many as come [`SOON`]; and a request is better off with a start of its own
//! than with what another thread made.

use std::time::Duration;

/// Standard deviations of headroom.
const HEADROOM_DEVIATIONS: f64 = 3.0;

/// Time in which the estimate covers 63 % of a rise.
const RISE: Duration = Duration::from_millis(200);

/// Time in which the estimate covers 63 % of a fall.
const FALL: Duration = Duration::from_secs(15);

/// Time after which an arrival weighs 37 % in the rate.
const RATE_MEMORY: Duration = Duration::from_millis(500);

/// Time after which an invocation weighs 37 % in the mean service time; rare slow ones are averaged
/// with the many fast ones between them.
const SERVICE_MEMORY: Duration = Duration::from_secs(10);

/// Starts that take less are over before memory that grew cold would be back in the caches: some 30 KiB of a
/// small guest and its store, or 500 cache lines at 100 ns each.
const SLOW_START: Duration = Duration::from_micros(50);

/// Starts that take less are hardly noticed, and waking who makes instances, keeping one and taking it out again costs
/// processor time, too.
const QUICK_START: Duration = Duration::from_micros(10);

/// How long what an instance is made of stays in the caches beside other requests, by order of magnitude: at 30 µs
/// and 50 KiB each, half a dozen of them leave most of 1 MiB alone.
const WARM_FOR: Duration = Duration::from_micros(200);

/// Requests that come this fast find in the nearer caches what was made for them. Slower ones do not: a thousand functions
/// with up to 5,000 requests a second each took 3 % less of a core when each request started its own.
const AT_ONCE: Duration = Duration::from_micros(100);

/// For requests that come that fast, what is made within this time is used before it grows cold.
const SOON: Duration = Duration::from_millis(1);

/// Starts over which the mean start time is taken, by weight.
const STARTS_MEMORY: f64 = 32.0;

/// What happened since the last update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// Requests that came.
    pub(crate) arrivals: u64,
    /// Requests that ended.
    pub(crate) finished: u64,
    /// Time that these were served for, together.
    pub(crate) service: Duration,
    /// Instances that were started.
    pub(crate) started: u64,
    /// Time that these took to start, together.
    pub(crate) starting: Duration,
    /// Instances busy at this moment.
    pub(crate) busy: usize,
}

/// How many instances of a version there should be, busy ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Alive at most: more are surplus.
    pub(crate) alive: usize,
    /// Made ahead of requests: when fewer are alive, more are started. At most `alive`.
    pub(crate) ahead: usize,
    /// When no more are alive, one that is taken down is followed by another. At most `alive`.
    pub(crate) followed: usize,
    /// A start takes less than to bring what another thread made into this one's caches.
    pub(crate) is_quick: bool,
}

/// Estimates the load of one version.
#[derive(Debug)]
pub(crate) struct Sizer {
    floor: usize,
    idle_after: Duration,
    updated: Option<Duration>,
    arrived: Option<Duration>,
    /// Until when one is wanted without load.
    kept_until: Duration,
    /// Arrivals per second.
    rate: f64,
    /// Invocations that ended, weighted by age.
    finished: f64,
    /// Seconds that these were served for, weighted by age.
    service: f64,
    /// Instances busy on average.
    load: f64,
    /// Mean time that a start takes, seconds; zero while none was seen.
    start: f64,
}

impl Sizer {
    pub(crate) fn new(floor: usize, idle_after: Duration) -> Self {
        Self {
            floor,
            idle_after,
            updated: None,
            arrived: None,
            kept_until: Duration::ZERO,
            rate: 0.0,
            finished: 0.0,
            service: 0.0,
            load: 0.0,
            start: 0.0,
        }
    }

    /// Wants at least one instance above those busy until `until`; the last call counts.
    pub(crate) fn keep_until(&mut self, until: Duration) {
        self.kept_until = until;
    }

    /// Whether one is wanted at `now` without load.
    pub(crate) fn is_kept(&self, now: Duration) -> bool {
        now < self.kept_until
    }

    /// Whether time has passed since the last update; without it there is no rate.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.updated.is_none_or(|updated| now > updated)
    }

    /// How many there should be after `observed` happened up to `now`.
    pub(crate) fn update(&mut self, now: Duration, observed: Observed) -> Target {
        self.learn_start(observed);
        let alive = self.follow(now, observed);
        let kept = if self.is_kept(now) { observed.busy + 1 } else { 0 };
        let followed = self.followed();
        let alive = alive.max(kept).max(followed);
        Target { alive, ahead: if self.pays() { alive } else { kept }, followed, is_quick: self.is_quick() }
    }

    /// Whether a guest is started before memory that is in no cache, or in another thread's, would be in this one's.
    fn is_quick(&self) -> bool {
        self.start > 0.0 && self.start < SLOW_START.as_secs_f64()
    }

    /// How many requests are about to come for instances that are made where others were taken down.
    fn followed(&self) -> usize {
        let come_at_once = self.rate * AT_ONCE.as_secs_f64() >= 1.0;
        if self.is_quick() && come_at_once { whole((self.rate * SOON.as_secs_f64()).floor()) } else { 0 }
    }

    /// Whether an instance that waits ready serves sooner than one that is started for the request.
    fn pays(&self) -> bool {
        let stays_warm = self.rate * WARM_FOR.as_secs_f64() >= 1.0;
        self.start >= if stays_warm { QUICK_START } else { SLOW_START }.as_secs_f64()
    }

    fn learn_start(&mut self, Observed { started, starting, .. }: Observed) {
        if started == 0 {
            return;
        }
        let mean = starting.as_secs_f64() / float(started);
        let weight = if self.start > 0.0 { 1.0 - (-float(started) / STARTS_MEMORY).exp() } else { 1.0 };
        self.start += (mean - self.start) * weight;
    }

    fn follow(&mut self, now: Duration, observed: Observed) -> usize {
        let interval = self.updated.map(|updated| now.saturating_sub(updated));
        self.updated = Some(now);
        if observed.arrivals > 0 {
            self.arrived = Some(now);
        }
        let idle = self.arrived.is_none_or(|arrived| now.saturating_sub(arrived) >= self.idle_after);
        if idle {
            (self.rate, self.load) = (0.0, 0.0);
            return 0;
        }
        let busy = float(observed.busy as u64);
        // The first update has no interval, so it knows no rate: only what is busy.
        let Some(interval) = interval else {
            self.load = busy;
            return staffed(self.load, self.floor);
        };
        let rate = float(observed.arrivals) / interval.as_secs_f64();
        self.rate += (rate - self.rate) * share(interval, RATE_MEMORY);
        let kept = 1.0 - share(interval, SERVICE_MEMORY);
        self.finished = self.finished * kept + float(observed.finished);
        self.service = self.service * kept + observed.service.as_secs_f64();
        let service = if self.finished > 0.0 { self.service / self.finished } else { 0.0 };
        let load = (self.rate * service).max(busy);
        self.load += (load - self.load) * share(interval, if load > self.load { RISE } else { FALL });
        staffed(self.load, self.floor)
    }
}

/// Share of the newest interval in a mean that forgets exponentially with time constant `memory`.
fn share(interval: Duration, memory: Duration) -> f64 {
    1.0 - (-interval.div_duration_f64(memory)).exp()
}

/// Instances for a mean of `load` busy ones with at least `floor` to spare.
fn staffed(load: f64, floor: usize) -> usize {
    let headroom = (HEADROOM_DEVIATIONS * load.sqrt()).max(float(floor as u64));
    whole((load + headroom).ceil())
}

/// A whole number as a count: the nearest one where it is none.
fn whole(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates at both ends"
    )]
    let count = number as usize;
    count
}

/// Counts are far below 2⁵³, where this is exact.
fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate, and exact below 2⁵³")]
    let float = count as f64;
    float
}

#[cfg(test)]
mod tests;
