//! What both sides did since the gate was last asked.

use std::{collections::BTreeMap, time::Duration};

use wasm_fn_core::{Outcome, Weight};

use super::users::sampled;
use crate::{Class, Event};

/// Maximum number of users whose bad events one batch holds. Later users are left out, whatever their side.
const USERS_MAX: usize = 50_000;

/// Whose requests are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// Placed on the canary by chance or by the user's key.
    Canary,
    /// Placed on stable in the same way.
    Stable,
    /// Requests to stable that the baseline serves: stable's component, loaded as freshly as the canary's,
    /// for as many users. Its failures count as stable's. Everything that depends on how warm a version is
    /// gets compared with the baseline alone.
    Baseline,
    /// Placed on the canary by a rule. They have no share, so they are judged separately.
    Cohort,
}

/// The limits above which a response is a bad event, on the canary and on the baseline.
///
/// The canary's limit is the tolerated multiple of the baseline's. If no quantile of the canary exceeds the
/// tolerated multiple of the baseline's quantile, the event is no more probable on the canary than on the
/// baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideLimits<T> {
    /// For the canary.
    pub canary: T,
    /// For the baseline.
    pub baseline: T,
}

/// The limits above which a response is a bad event.
///
/// They must come from what was known before the judged requests began. A threshold that is chosen after
/// seeing the responses makes the test invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// From the 99th percentile of the latency that the canary is compared with.
    pub slow_above: Option<SideLimits<Duration>>,
    /// From the median of that latency. Only [sampled](Response::sampled) requests are held to it.
    pub median_above: Option<SideLimits<Duration>>,
    /// From the 99th percentile of the memory peaks, bytes.
    pub large_above: Option<SideLimits<u64>>,
    /// The ceiling of the latency, for every arm.
    pub ceiling: Option<Duration>,
}

/// The end of one invocation, as the gate sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Who answered.
    pub arm: Arm,
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's head to the end of the response, or until the client left.
    pub latency: Duration,
    /// Peak linear memory of the instance, bytes.
    pub memory_peak_bytes: u64,
    /// 64-bit hash of the sticky key. `None` if the request drew its version.
    pub user: Option<u64>,
    /// Whether it began shortly after a slow response of the canary, so that both may be slow for the same
    /// reason.
    ///
    /// Where the canary's latency is held to a rate, and not to the baseline at the same moment, such a
    /// response is not counted, slow or not, because a cluster of slow responses counts once (declustering of
    /// exceedances: Coles, *An Introduction to Statistical Modeling of Extreme Values*, 5.3.2). Which
    /// responses are skipped is known when they begin, so the test stays valid.
    pub clustered: bool,
    /// Whether it is held to the median too. Half of all responses are above the median, and counting each
    /// would cost too much. The choice is made when a request begins, equally often on the canary and on the
    /// baseline.
    pub sampled: bool,
}

/// How often a bad event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// Number of requests that it happened to. This is what people see.
    pub requests: u64,
    /// Number of those that are independent: requests that drew their version. In a gate's totals, each user
    /// with the event adds one.
    pub units: u64,
}

/// What one arm did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Invocations that the version ran to their end, good and bad.
    pub requests: u64,
    /// Those of them whose latency was held to a median.
    pub sampled: u64,
    // In the order of `Event::index`.
    bad: [Bad; Event::COUNT],
}

/// All responses to requests that began one after the other while the canary's share was the same.
///
/// A batch must be complete. If responses were taken as they come, a version that fails faster than it
/// succeeds would look worse than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The canary's share of the requests.
    pub share: Weight,
    /// The baseline's share of the requests.
    pub baseline_share: Weight,
    /// What the canary did.
    pub canary: Counts,
    /// The part of it that is [clustered](Response::clustered).
    pub clustered: Counts,
    /// What stable did, without the baseline.
    pub stable: Counts,
    /// What the baseline did.
    pub baseline: Counts,
    /// What the canary did for users whom a rule placed on it.
    pub cohort: Counts,
    /// Requests that drew the canary, plus users new to it: the number of voices gained.
    pub voices: u64,
    /// Whether slow responses of the canary share their cause with one that was already counted.
    pub stalled: bool,
    // Who had which events, by bit of `Event::index`. Clustered responses are kept apart.
    pub(super) users: BTreeMap<(u64, Arm, bool), u16>,
}

// One bit for each event.
const _: () = assert!(Event::COUNT <= 16);

/// The bits of all events.
const ALL_EVENTS: u16 = u16::MAX >> (16 - Event::COUNT);

impl Bad {
    /// Counts `count` requests that are all independent.
    pub fn each(count: u64) -> Self {
        Self { requests: count, units: count }
    }

    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.units = self.units.saturating_add(other.units);
    }
}

impl Counts {
    /// Counts of `requests`, none of them bad.
    pub fn of(requests: u64) -> Self {
        Self { requests, ..Self::default() }
    }

    /// The same with `bad` for `event`.
    #[must_use]
    pub fn with(mut self, event: Event, bad: Bad) -> Self {
        self.bad[event.index()] = bad;
        self
    }

    /// How often `event` happened.
    pub fn bad(&self, event: Event) -> Bad {
        self.bad[event.index()]
    }

    /// Requests that `event` could have happened to.
    pub(crate) fn asked(&self, event: Event) -> u64 {
        if event == Event::AboveMedian { self.sampled } else { self.requests }
    }

    /// Requests that `event` did not happen to.
    pub(crate) fn good(&self, event: Event) -> u64 {
        self.asked(event).saturating_sub(self.bad(event).requests)
    }

    /// Adds what happened in `other`.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.sampled = self.sampled.saturating_add(other.sampled);
        for (sum, bad) in self.bad.iter_mut().zip(other.bad) {
            sum.add(bad);
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Counts a user with `event` as a unit.
    pub(crate) fn add_user(&mut self, event: Event) {
        let units = &mut self.bad[event.index()].units;
        *units = units.saturating_add(1);
    }

    fn bad_mut(&mut self, event: Event) -> &mut Bad {
        &mut self.bad[event.index()]
    }
}

impl Thresholds {
    /// The bad events in `response`, besides failures.
    ///
    /// Responses of stable outside the baseline are held to the ceiling only. Nothing is compared with their
    /// latencies.
    pub fn exceeded(&self, response: &Response) -> impl Iterator<Item = Event> {
        let Response { arm, latency, memory_peak_bytes, sampled, .. } = *response;
        let longer = |limits: Option<SideLimits<Duration>>| {
            limits.and_then(|limits| limits.of(arm)).is_some_and(|limit| latency > limit)
        };
        let large =
            self.large_above.and_then(|limits| limits.of(arm)).is_some_and(|most| memory_peak_bytes > most);
        let over = self.ceiling.is_some_and(|limit| latency > limit);
        let events = [
            longer(self.slow_above).then_some(Event::Slow),
            large.then_some(Event::Large),
            over.then_some(Event::OverCeiling),
            (sampled && longer(self.median_above)).then_some(Event::AboveMedian),
        ];
        events.into_iter().flatten()
    }
}

impl<T: Copy> SideLimits<T> {
    pub(crate) fn of(&self, arm: Arm) -> Option<T> {
        match arm {
            Arm::Canary | Arm::Cohort => Some(self.canary),
            Arm::Baseline => Some(self.baseline),
            Arm::Stable => None,
        }
    }
}

impl Batch {
    /// An empty batch at the canary's `share` and the baseline's.
    pub fn new(share: Weight, baseline_share: Weight) -> Self {
        Self {
            share,
            baseline_share,
            canary: Counts::default(),
            clustered: Counts::default(),
            stable: Counts::default(),
            baseline: Counts::default(),
            cohort: Counts::default(),
            voices: 0,
            stalled: false,
            users: BTreeMap::new(),
        }
    }

    /// Counts `response`, unless it says nothing about the version: shed, failed by the host, or abandoned by
    /// its client before it exceeded the latency limit.
    ///
    /// A request that was abandoned after the limit took at least that long, however it would have ended.
    pub fn add(&mut self, response: &Response, thresholds: &Thresholds) {
        let class = Class::of(response.outcome);
        let exceeded = || thresholds.exceeded(response);
        let says_something = match response.outcome {
            Outcome::Cancelled => exceeded().any(|event| event != Event::Large),
            outcome => class.is_some() || outcome == Outcome::Success,
        };
        if !says_something {
            return;
        }
        let failed = [class.map(Event::Failed), class.map(|_| Event::FailedAtAll)];
        let events: Vec<_> = failed.into_iter().flatten().chain(exceeded()).collect();
        let counts = self.counts_mut(response.arm, response.clustered);
        counts.requests += 1;
        counts.sampled += u64::from(response.sampled && thresholds.median_above.is_some());
        for &event in &events {
            let bad = counts.bad_mut(event);
            bad.requests += 1;
            bad.units += u64::from(response.user.is_none());
        }
        if let Some(user) = response.user.filter(|_| !events.is_empty()) {
            let bits = events.iter().fold(0, |bits, event| bits | 1 << event.index());
            self.add_user_events(user, response.arm, response.clustered, bits);
        }
    }

    /// Counts `requests` of `arm` without a bad event.
    pub fn add_good(&mut self, arm: Arm, clustered: bool, requests: u64) {
        let counts = self.counts_mut(arm, clustered);
        counts.requests = counts.requests.saturating_add(requests);
    }

    /// Counts `sampled` requests of `arm` as held to the median; `above` of them took longer.
    pub(crate) fn add_sampled(&mut self, arm: Arm, sampled: u64, above: u64) {
        let counts = self.counts_mut(arm, false);
        counts.sampled = counts.sampled.saturating_add(sampled);
        counts.bad_mut(Event::AboveMedian).add(Bad::each(above));
    }

    /// Adds what happened in `other`, under the same shares.
    pub fn merge(&mut self, other: &Self) {
        for arm in [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort] {
            self.counts_mut(arm, false).add(&other.of_lane(arm, false));
        }
        self.clustered.add(&other.clustered);
        self.voices = self.voices.saturating_add(other.voices);
        for (user, arm, clustered, events) in other.user_events() {
            self.add_user_events(user, arm, clustered, events);
        }
    }

    /// Users with an event: where, whether it was clustered, and which, by bit of [`Event::index`].
    pub fn user_events(&self) -> impl Iterator<Item = (u64, Arm, bool, u16)> {
        self.users.iter().map(|(&(user, arm, clustered), &events)| (user, arm, clustered, events))
    }

    /// Counts `events` of `user`, as [`user_events`](Self::user_events) gives them.
    pub fn add_user_events(&mut self, user: u64, arm: Arm, clustered: bool, events: u16) {
        let key = (user, arm, clustered);
        if self.users.len() < USERS_MAX || self.users.contains_key(&key) {
            *self.users.entry(key).or_default() |= events & ALL_EVENTS;
        }
    }

    /// Number of users with an event, once for each arm.
    pub(crate) fn users_len(&self) -> usize {
        self.users.len()
    }

    /// Forgets users, whom their keys alone choose: half of all for each of `halvings`.
    pub(crate) fn halve_users(&mut self, halvings: u32) {
        self.users.retain(|&(user, ..), _| sampled(user, halvings));
    }

    /// Whether slow responses of the canary count against a rate.
    pub(crate) fn has_slow(&self) -> bool {
        let units = |event| self.canary.bad(event).units > 0;
        let of_users = self
            .users()
            .any(|(_, arm, clustered, event)| arm == Arm::Canary && !clustered && event.is_of_latency());
        !self.stalled && (units(Event::Slow) || units(Event::OverCeiling) || of_users)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        let arms = [&self.canary, &self.clustered, &self.stable, &self.baseline, &self.cohort];
        arms.iter().all(|counts| counts.requests == 0)
    }

    /// Everything that happened on `arm`.
    pub fn of(&self, arm: Arm) -> Counts {
        match arm {
            Arm::Canary => self.canary.and(&self.clustered),
            Arm::Stable => self.stable,
            Arm::Baseline => self.baseline,
            Arm::Cohort => self.cohort,
        }
    }

    /// What happened on `arm`, in clustered responses or in the others.
    pub(crate) fn of_lane(&self, arm: Arm, clustered: bool) -> Counts {
        match arm {
            Arm::Canary if clustered => self.clustered,
            Arm::Canary => self.canary,
            _ => self.of(arm),
        }
    }

    /// Keeps only the bad events. Their requests were counted before.
    pub(crate) fn forget_requests(&mut self) {
        for counts in
            [&mut self.canary, &mut self.clustered, &mut self.stable, &mut self.baseline, &mut self.cohort]
        {
            (counts.requests, counts.sampled) = (0, 0);
        }
    }

    /// Users with an event, each with the arm and whether it was clustered.
    pub(crate) fn users(&self) -> impl Iterator<Item = (u64, Arm, bool, Event)> {
        self.users.iter().flat_map(|(&(user, arm, clustered), &bits)| {
            let has = move |event: &Event| bits & (1 << event.index()) != 0;
            Event::ALL.into_iter().filter(has).map(move |event| (user, arm, clustered, event))
        })
    }

    fn counts_mut(&mut self, arm: Arm, clustered: bool) -> &mut Counts {
        match arm {
            Arm::Canary if clustered => &mut self.clustered,
            Arm::Canary => &mut self.canary,
            Arm::Stable => &mut self.stable,
            Arm::Baseline => &mut self.baseline,
            Arm::Cohort => &mut self.cohort,
        }
    }
}

#[cfg(test)]
mod tests;
