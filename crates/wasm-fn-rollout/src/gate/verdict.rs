//! What a gate says, and why.

use wasm_fn_core::Weight;

use super::{
    Baseline, Counts, Evidence, Floor, Gate, GateFailure, Group, SignalEvidence, Step, Verdict, Waiting,
    check::{Check, Null, odds},
    floor::Recent,
    mixture,
    spec::HISTORY_MIN,
};
use crate::Event;

/// Minimum number of independent events of one kind before a floor applies.
const FLOOR_UNITS_MIN: u64 = 3;

/// Maximum number of voices that a verdict needs, however little each of them tells.
const VOICES_MAX: u64 = 200;

impl Gate {
    /// The current verdict.
    pub fn verdict(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Fail(failure.clone());
        }
        let needed = self.spec.min_requests;
        let Step { canary, share, voices, .. } = self.step;
        let alone = self.is_silent(share);
        // While stable is silent, what it did before is all that there will be.
        let stable = self.compared(alone).requests.max(self.compared(false).requests);
        if self.by_cohort {
            let Step { cohort_requests: canary, cohort_failed, .. } = self.step;
            let failed = self.failing_by_few().then_some(cohort_failed);
            let waiting = Waiting { canary, stable, needed, voices: None, by_cohort: true, failed };
            let waits = canary < needed || failed.is_some();
            return if waits { Verdict::Wait(waiting) } else { Verdict::Pass };
        }
        let waiting = Waiting { canary, stable, needed, voices: None, by_cohort: false, failed: None };
        if canary < needed || stable < needed {
            return Verdict::Wait(waiting);
        }
        // The exact number takes a while to compute, and this many are enough at any share.
        let heard = voices >= VOICES_MAX;
        let voices_needed = if heard { None } else { self.voices_needed(share, alone) };
        match voices_needed.filter(|&needed| voices < needed) {
            Some(needed) => Verdict::Wait(Waiting { voices: Some((voices, needed)), ..waiting }),
            None => Verdict::Pass,
        }
    }

    /// The verdict at the beginning of a step, by cohort or not, before it has seen any request of it.
    pub fn verdict_of_next_step(&self, by_cohort: bool) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Fail(failure.clone());
        }
        let stable = self.compared(false).requests;
        let needed = self.spec.min_requests;
        Verdict::Wait(Waiting { canary: 0, stable, needed, voices: None, by_cohort, failed: None })
    }

    /// The numbers behind the verdict.
    pub fn evidence(&self) -> Evidence {
        let alone = self.is_silent(self.step.share);
        Evidence {
            canary: self.canary,
            stable: self.compared(alone),
            baseline: self.beside,
            cohort: self.cohort,
            past: alone || matches!(self.baseline, Baseline::Past(_)),
            signals: self.checks.iter().map(|check| self.evidence_of(check)).collect(),
        }
    }

    pub(super) fn evidence_of(&self, check: &Check) -> SignalEvidence {
        let event = check.signal.event();
        let compared = match (&self.baseline, check.null) {
            (_, Null::OfBaseline) => self.beside,
            (_, Null::OfStable(_)) => self.stable.and(&self.beside),
            (Baseline::Concurrent(history), _) if check.group == Group::Cohort => {
                if history.cohort.requests >= HISTORY_MIN { history.cohort } else { history.stable }
            }
            (Baseline::Concurrent(history), _) => history.stable,
            (Baseline::Past(past), _) => *past,
        };
        let canary = if check.group == Group::Cohort { &self.cohort } else { &self.canary };
        SignalEvidence {
            signal: check.signal,
            group: check.group,
            against: check.against(),
            canary: canary.bad(event),
            canary_requests: canary.asked(event),
            stable: compared.bad(event),
            stable_requests: compared.asked(event),
            rate_max: match check.null {
                Null::Past(rate) | Null::Ceiling(rate) => Some(rate),
                Null::OfStable(_) | Null::OfBaseline => None,
            },
            log_e: check.process.log_e(),
            log_threshold: check.log_threshold + self.finite_cost(),
        }
    }

    /// Whether so many of the cohort's requests fail that the step must not pass, although too few users met
    /// the failures for a test to fail. One user alone cannot abort a rollout, and a rollout that is broken
    /// for one user does not pass on that user's requests alone.
    fn failing_by_few(&self) -> bool {
        let too_bad = |failed: u64, of: u64| failed as f64 >= self.spec.floor.error_rate * of as f64;
        let before = match &self.baseline {
            Baseline::Concurrent(history) if history.cohort.requests >= HISTORY_MIN => history.cohort,
            _ => Counts::default(),
        };
        let failed_before = before.bad(Event::FailedAtAll).requests;
        let as_before = before.requests > 0 && too_bad(failed_before, before.requests);
        let Step { cohort_requests, cohort_failed, .. } = self.step;
        cohort_requests >= self.spec.min_requests && too_bad(cohort_failed, cohort_requests) && !as_before
    }

    /// Whether the canary fails too often where there is nothing to compare it with.
    pub(super) fn below_floor(&self) -> Option<GateFailure> {
        let (stable, cohort) = match &self.baseline {
            Baseline::Concurrent(history) => (history.stable.requests, history.cohort.requests),
            Baseline::Past(past) => (past.requests, 0),
        };
        let Floor { error_rate, .. } = self.spec.floor;
        // Failures that were as frequent on stable when it last had requests are not the canary's fault.
        if self.stable_rate >= error_rate || !self.cost.is_finite() {
            return None;
        }
        let held = [
            (self.step.alone, &self.canary, stable < HISTORY_MIN),
            (self.recent_cohort, &self.cohort, stable.max(cohort) < HISTORY_MIN),
        ];
        let below = |(recent, counts, held): &(Recent, &Counts, bool)| {
            let several = counts.bad(Event::FailedAtAll).units >= FLOOR_UNITS_MIN;
            *held && several && recent.is_below(&self.spec.floor)
        };
        let (recent, ..) = held.into_iter().find(below)?;
        let (requests, failed) = recent.sum();
        Some(GateFailure::Floor { failed, requests })
    }

    /// What the canary is compared with; `alone` as in [`is_silent`](Self::is_silent).
    fn compared(&self, alone: bool) -> Counts {
        match &self.baseline {
            Baseline::Concurrent(history) if alone => history.stable,
            Baseline::Concurrent(_) => self.stable.and(&self.beside),
            Baseline::Past(past) => *past,
        }
    }

    /// How many voices the canary needs at `share` so that the run of this step finds a fault that all of
    /// them meet; `alone` as in [`is_silent`](Self::is_silent). `None` where voices do not matter.
    fn voices_needed(&self, share: Weight, alone: bool) -> Option<u64> {
        let of = |null: Null| match null {
            Null::OfStable(tolerate) if !alone => Some(tolerate * odds(share, share.complement())?),
            Null::Past(rate) if alone => Some(rate / (1.0 - rate)),
            _ => None,
        };
        let group = if alone { Group::Alone } else { Group::Placed };
        let mut checks = self.checks.iter().filter(|check| check.group == group);
        let (check, odds) = checks.find_map(|check| Some((check, of(check.null)?)))?;
        let start = if alone { self.start } else { self.users_since };
        Some(
            mixture::hits_needed(start, odds, check.log_threshold + self.finite_cost(), VOICES_MAX)
                .unwrap_or(VOICES_MAX),
        )
    }
}
