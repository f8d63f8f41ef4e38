//! Decides how many instances of a version should be alive.
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
//! leaves about one arrival in a thousand without a ready instance (the square-root staffing rule of W. Whitt
//! and S. Halfin, 1981). `L` rises with the load within a second and falls within a minute. So a burst that
//! comes back finds its instances, and noise does not make them come and go.
//!
//! Services longer than the interval count in λ·W only when they end, so `L` is never below the number busy
//! now.
//!
//! An instance that waits grows cold: other requests evict its memory from the processor's caches, and
//! fetching it again costs more than starting a small guest. So instances are made ahead of requests only
//! where that saves time: when they start slowly ([`SLOW_START`]), or when requests come so fast that no
//! instance waits for long ([`WARM_FOR`]) and a start takes longer than a handover ([`QUICK_START`]).
//!
//! Where a guest starts quickly, it is cheapest to make the next instance right after taking one down: the
//! code and the memory are in the caches, and no task is woken. This pays when the next request is about to
//! come ([`AT_ONCE`]), for as many instances as requests come [`SOON`]. Otherwise a request is better off
//! with a start of its own than with an instance of another thread.

use std::time::Duration;

/// Headroom, in standard deviations.
const HEADROOM_DEVIATIONS: f64 = 3.0;

/// Time in which the estimate covers 63 % of a rise.
const RISE: Duration = Duration::from_millis(200);

/// Time in which the estimate covers 63 % of a fall.
const FALL: Duration = Duration::from_secs(15);

/// Time after which an arrival weighs 37 % in the rate.
const RATE_MEMORY: Duration = Duration::from_millis(500);

/// Time after which an invocation weighs 37 % in the mean service time. Long enough to average rare slow ones
/// with the many fast ones between them.
const SERVICE_MEMORY: Duration = Duration::from_secs(10);

/// A start that takes less is over before the memory of a cold instance would be back in the caches: some 30
/// KiB of a small guest and its store, or 500 cache lines at 100 ns each.
const SLOW_START: Duration = Duration::from_micros(50);

/// A start that takes less costs no more than a handover: waking the task that makes instances, keeping one
/// and taking it out again.
const QUICK_START: Duration = Duration::from_micros(10);

/// How long an instance stays in the caches beside other requests, by order of magnitude: at 30 µs and 50 KiB
/// each, half a dozen requests leave most of 1 MiB alone.
const WARM_FOR: Duration = Duration::from_micros(200);

/// Requests that come at least this fast find the instances made for them in the nearer caches.
const AT_ONCE: Duration = Duration::from_micros(100);

/// An instance that is used within this time after it was made is still in the caches.
const SOON: Duration = Duration::from_millis(1);

/// Starts over which the start time is averaged, by weight.
const STARTS_MEMORY: f64 = 32.0;

/// The load since the last update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Requests that arrived.
    pub(crate) arrivals: u64,
    /// Requests that ended.
    pub(crate) finished: u64,
    /// Their total service time.
    pub(crate) service: Duration,
    /// Instances that started.
    pub(crate) started: u64,
    /// Their total start time.
    pub(crate) starting: Duration,
    /// Instances busy now.
    pub(crate) busy: usize,
}

/// How many instances of a version there should be, including busy ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Alive at most; more are surplus.
    pub(crate) alive: usize,
    /// Alive at least; when fewer are, more are started ahead of requests. At most `alive`.
    pub(crate) ahead: usize,
    /// While at most this many are alive, one that is taken down is replaced. At most `alive`.
    pub(crate) replaced: usize,
    /// Whether a start takes less time than fetching an instance of another thread into the caches.
    pub(crate) is_quick: bool,
}

/// Estimates the load of one version.
#[derive(Debug)]
pub(crate) struct Sizer {
    floor: usize,
    idle_after: Duration,
    updated: Option<Duration>,
    arrived: Option<Duration>,
    /// Until when one instance is kept without load.
    kept_until: Duration,
    /// Arrivals per second.
    rate: f64,
    /// Ended invocations, weighted by age.
    finished: f64,
    /// Their service time in seconds, weighted by age.
    service: f64,
    /// Average number of busy instances.
    load: f64,
    /// Mean start time in seconds; zero before the first start.
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

    /// Keeps at least one instance beyond the busy ones until `until`. The last call counts.
    pub(crate) fn keep_until(&mut self, until: Duration) {
        self.kept_until = until;
    }

    /// Whether an instance is kept at `now` without load.
    pub(crate) fn is_kept(&self, now: Duration) -> bool {
        now < self.kept_until
    }

    /// Whether time has passed since the last update. Without that there is no rate.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.updated.is_none_or(|updated| now > updated)
    }

    /// Decides how many instances there should be after `load` until `now`.
    pub(crate) fn update(&mut self, now: Duration, load: Load) -> Target {
        self.learn_start(load);
        let alive = self.estimate(now, load);
        let kept = if self.is_kept(now) { load.busy + 1 } else { 0 };
        let replaced = self.replacements();
        let alive = alive.max(kept).max(replaced);
        Target {
            alive,
            ahead: if self.saves_time() { alive } else { kept },
            replaced,
            is_quick: self.is_quick(),
        }
    }

    /// Whether starting a guest takes less time than fetching cold memory into the caches.
    fn is_quick(&self) -> bool {
        self.start > 0.0 && self.start < SLOW_START.as_secs_f64()
    }

    /// How many instances are worth replacing at once, because requests for them are about to come.
    fn replacements(&self) -> usize {
        let come_at_once = self.rate * AT_ONCE.as_secs_f64() >= 1.0;
        if self.is_quick() && come_at_once { whole((self.rate * SOON.as_secs_f64()).floor()) } else { 0 }
    }

    /// Whether a ready instance serves sooner than one that is started for the request.
    fn saves_time(&self) -> bool {
        let stays_warm = self.rate * WARM_FOR.as_secs_f64() >= 1.0;
        self.start >= if stays_warm { QUICK_START } else { SLOW_START }.as_secs_f64()
    }

    fn learn_start(&mut self, Load { started, starting, .. }: Load) {
        if started == 0 {
            return;
        }
        let mean = starting.as_secs_f64() / float(started);
        let weight = if self.start > 0.0 { 1.0 - (-float(started) / STARTS_MEMORY).exp() } else { 1.0 };
        self.start += (mean - self.start) * weight;
    }

    fn estimate(&mut self, now: Duration, load: Load) -> usize {
        let interval = self.updated.map(|updated| now.saturating_sub(updated));
        self.updated = Some(now);
        if load.arrivals > 0 {
            self.arrived = Some(now);
        }
        let idle = self.arrived.is_none_or(|arrived| now.saturating_sub(arrived) >= self.idle_after);
        if idle {
            (self.rate, self.load) = (0.0, 0.0);
            return 0;
        }
        let busy = float(load.busy as u64);
        // The first update has no interval, so it knows no rate: only what is busy.
        let Some(interval) = interval else {
            self.load = busy;
            return staffed(self.load, self.floor);
        };
        let rate = float(load.arrivals) / interval.as_secs_f64();
        self.rate += (rate - self.rate) * share(interval, RATE_MEMORY);
        let kept = 1.0 - share(interval, SERVICE_MEMORY);
        self.finished = self.finished * kept + float(load.finished);
        self.service = self.service * kept + load.service.as_secs_f64();
        let service = if self.finished > 0.0 { self.service / self.finished } else { 0.0 };
        let current = (self.rate * service).max(busy);
        self.load += (current - self.load) * share(interval, if current > self.load { RISE } else { FALL });
        staffed(self.load, self.floor)
    }
}

/// Weight of the newest interval in an exponential moving average with time constant `memory`.
fn share(interval: Duration, memory: Duration) -> f64 {
    1.0 - (-interval.div_duration_f64(memory)).exp()
}

/// Instances for `load` busy ones on average, with at least `floor` to spare.
fn staffed(load: f64, floor: usize) -> usize {
    let headroom = (HEADROOM_DEVIATIONS * load.sqrt()).max(float(floor as u64));
    whole((load + headroom).ceil())
}

/// `number` as a count; saturates.
fn whole(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates at both ends"
    )]
    let count = number as usize;
    count
}

/// `count` as a float: exact, since counts are far below 2⁵³.
fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate, and exact below 2⁵³")]
    let float = count as f64;
    float
}

#[cfg(test)]
mod tests;
