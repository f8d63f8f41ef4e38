//! What both sides did since the gate was last asked.

use std::time::Duration;

use wasm_fn_core::{Outcome, Side, Weight};

use super::UserSet;
use crate::{Class, Event};

/// Above what a response is a bad event.
///
/// Both sides are held to the same thresholds, and those must come from stable's past alone: a threshold
/// that was chosen after seeing the responses it judges makes the test invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The tolerated multiple of stable's p99 latency.
    pub slow_above: Option<Duration>,
    /// The tolerated multiple of stable's p99 memory peak, bytes.
    pub large_above: Option<u64>,
    /// The ceiling of the latency.
    pub ceiling: Option<Duration>,
}

/// The end of one invocation, as the gate sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Who answered.
    pub side: Side,
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's head to the end of the answer.
    pub latency: Duration,
    /// Most linear memory that the instance held, bytes.
    pub memory_peak_bytes: u64,
    /// 64-bit hash of the sticky key under sticky routing; `None` when the request drew its version.
    pub user: Option<u64>,
}

/// How often a bad event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// To how many requests. What people are shown.
    pub requests: u64,
    /// To how many that are independent: requests that drew their version, and users. What is tested.
    pub units: u64,
}

/// What one side did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Invocations that the version ran to their end, good and bad.
    pub requests: u64,
    // In the order of `Event::index`.
    bad: [Bad; Event::COUNT],
}

/// Responses of both sides while the canary's share was the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The canary's share of the requests, when they *started*.
    ///
    /// Requests that a cohort rule, an override or the shield placed have no such share: leave them out.
    pub share: Weight,
    /// What the canary did.
    pub canary: Counts,
    /// What stable did.
    pub stable: Counts,
    /// Whether these ended shortly after a slow response of the canary that was counted: what made that one slow may
    /// have made these slow too.
    ///
    /// Where the canary's latencies are held to a rate, and not to what stable does in the same moment, such
    /// responses say nothing of them, be they slow or not: a cluster of slow responses counts once (declustering of
    /// exceedances: Coles, *An Introduction to Statistical Modeling of Extreme Values*, 5.3.2). Which responses are
    /// passed over follows from those before, so the test stays valid.
    pub clustered: bool,
}

impl Bad {
    /// `count` requests, each a unit of its own.
    pub fn each(count: u64) -> Self {
        Self { requests: count, units: count }
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

    /// Adds what happened in `other`.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        for (sum, bad) in self.bad.iter_mut().zip(other.bad) {
            sum.requests = sum.requests.saturating_add(bad.requests);
            sum.units = sum.units.saturating_add(bad.units);
        }
    }
}

impl Batch {
    /// Nothing yet, at `share`.
    pub fn new(share: Weight) -> Self {
        Self { share, canary: Counts::default(), stable: Counts::default(), clustered: false }
    }

    /// Counts `response`, unless it says nothing of the version: shed, cancelled or failed by the host.
    pub fn add(&mut self, response: &Response, thresholds: &Thresholds, users: &mut UserSet) {
        let class = Class::of(response.outcome);
        if class.is_none() && response.outcome != Outcome::Success {
            return;
        }
        let counts = match response.side {
            Side::Canary => &mut self.canary,
            Side::Stable => &mut self.stable,
        };
        counts.requests += 1;
        let over = |limit: Option<Duration>| limit.is_some_and(|limit| response.latency > limit);
        let events = [
            class.map(Event::Failed),
            class.map(|_| Event::FailedAtAll),
            over(thresholds.slow_above).then_some(Event::Slow),
            thresholds
                .large_above
                .is_some_and(|limit| response.memory_peak_bytes > limit)
                .then_some(Event::Large),
            over(thresholds.ceiling).then_some(Event::OverCeiling),
        ];
        for event in events.into_iter().flatten() {
            let bad = &mut counts.bad[event.index()];
            bad.requests += 1;
            bad.units += u64::from(response.user.is_none_or(|user| users.counts(user, event)));
        }
    }
}

#[cfg(test)]
mod tests;
