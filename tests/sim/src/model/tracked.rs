//! One rollout as the model counts it.

use std::{collections::BTreeSet, sync::Arc};

use wasm_fn_control::state::{Rollout, StageKey, State};
use wasm_fn_core::Weight;
use wasm_fn_rollout::{OnFail, Phase, Place, Signal};
use wasm_fn_router::TrafficObserver;

use super::{
    Id, PROMPT_MS, id,
    ledger::{Arm, Beginning, Counted, Ending, Failed, Ledger},
    voices,
};
use crate::scenario::{Health, Scenario};

/// Evidence, as a logarithm, by which every gate must have failed: that of the pooled failures' threshold,
/// 8.1, the prior of the ratio that grows fastest, 1.5, what the later gates and the late starters cost, with
/// as much again to spare.
const CONDEMNED: f64 = 26.0;

/// Failures of users whom a rule places, without a single answer, by which every gate must have failed.
const COHORT_CONDEMNED: u64 = 40;

/// Longest time that a request takes, and that evidence waits for one.
const SETTLES_MS: u64 = 120_000;

/// A rollout under way.
pub(super) struct Tracked {
    id: Id,
    gate_no: u32,
    place: Place,
    /// Whom its place is about: the canary's, or those of a cohort.
    about: Arm,
    // How long the place ran before `since_ms`, and since when it runs; `None` while it stands still.
    ran_ms: u64,
    since_ms: Option<u64>,
    ledger: Ledger,
    share: Weight,
    /// The least share that the canary has had in its place: a voice says most under that one.
    share_min: Weight,
    // Since when there is nothing left to wait for.
    ready_ms: Option<u64>,
    health: Option<Health>,
    evidence: f64,
    failed_users: BTreeSet<u64>,
    /// Failures of the cohort, of independent requests or users, and users it had.
    cohort_failed: u64,
    cohort_users: BTreeSet<u64>,
    condemned_ms: Option<u64>,
    withheld_ms: Option<u64>,
    trial: Option<Arc<dyn TrafficObserver>>,
    heard: u64,
    first_heard_ms: Option<u64>,
}

impl Tracked {
    pub(super) fn new(
        rollout: &Rollout,
        now_ms: u64,
        state: &State,
        key: &StageKey,
        scenario: &Scenario,
        ledger: Ledger,
    ) -> Self {
        let digest = |version| {
            let function = state.function(&key.0).ok()?;
            function.versions.get(&version).map(|version| version.build.digest)
        };
        let behaviour = |version| digest(version).map(|digest| scenario.behaviour(digest));
        let faultless =
            behaviour(rollout.base).is_some_and(|base| base.is_faultless()) && scenario.cursed.is_none();
        let same = digest(rollout.base) != digest(rollout.canary)
            && behaviour(rollout.base).is_some_and(|base| base.health == Health::Same);
        let health = match behaviour(rollout.canary).map(|canary| canary.health) {
            Some(health @ (Health::Broken | Health::BrokenForCohort)) if faultless => Some(health),
            Some(Health::Same) if same && scenario.quiet => Some(Health::Same),
            _ => None,
        };
        let place = rollout.phase.place().unwrap_or(Place::Watch);
        Self {
            id: id(key, rollout),
            gate_no: rollout.gate_no,
            place,
            about: about(rollout, place),
            ran_ms: 0,
            since_ms: Some(now_ms),
            ledger,
            share: share_at(state, key, rollout),
            share_min: share_at(state, key, rollout),
            ready_ms: None,
            health,
            evidence: 0.0,
            failed_users: BTreeSet::new(),
            cohort_failed: 0,
            cohort_users: BTreeSet::new(),
            condemned_ms: None,
            withheld_ms: None,
            trial: None,
            heard: 0,
            first_heard_ms: None,
        }
    }

    /// Whether it is that of `rollout`, with the same gate.
    pub(super) fn is(&self, key: &StageKey, rollout: &Rollout) -> bool {
        self.gate_no == rollout.gate_no && self.id == id(key, rollout)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health == Some(Health::Same)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.health, Some(Health::Broken | Health::BrokenForCohort))
    }

    /// Its ledger, if that has this number.
    fn ledger(&mut self, no: u64) -> Option<&mut Ledger> {
        Some(&mut self.ledger).filter(|ledger| ledger.no == no)
    }

    /// Requests of the canary in its place that a gate may have counted at most, or of the cohort that it is
    /// about.
    pub(super) fn canary(&self) -> u64 {
        self.ledger.most(self.about)
    }

    /// The same of stable; `None` where it does not matter, or the past may count.
    pub(super) fn stable(&self) -> Option<u64> {
        let of_canary = self.about == Arm::Canary;
        let silent = !of_canary || self.share == Weight::FULL || self.ledger.may_be_silent();
        (!silent).then(|| self.ledger.stable_most())
    }

    /// Whether the canary has as many voices as its place needs, by the most generous count.
    pub(super) fn has_voices(&self) -> bool {
        let (drawn, users) = self.ledger.voices(false);
        // About how many users there were is known to the gate; not exactly.
        let most = drawn + users + users / 2 + 5;
        self.stable().is_none()
            || voices::needed(self.share_min, self.gate_no, voices::FIRST_RUN)
                .is_none_or(|needed| most >= needed)
    }

    /// Whether what its gate has counted is what its requests came to, in the order in which they began or,
    /// if the gate is that of `several` nodes, in any.
    pub(super) fn check(&self, counted: &Counted, several: bool, now_ms: u64) -> Result<(), String> {
        if several { self.ledger.check_bounds(counted) } else { self.ledger.check(counted, now_ms) }
    }

    /// Responses of the canary in this rollout.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// When the first of them came.
    pub(super) fn first_heard_ms(&self) -> Option<u64> {
        self.first_heard_ms
    }

    /// How long its place ran, as far as that counts.
    pub(super) fn ran_ms(&self, now_ms: u64) -> u64 {
        self.ran_ms + self.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// A new life of the node: what ran before was not seen by it.
    pub(super) fn begin(&mut self, now_ms: u64, ledger: Ledger) {
        if self.since_ms.is_some() {
            (self.ran_ms, self.since_ms) = (0, Some(now_ms));
        }
        self.ledger = ledger;
        self.forget();
    }

    /// What only a gate remembers.
    fn forget(&mut self) {
        (self.ready_ms, self.condemned_ms, self.withheld_ms) = (None, None, None);
        (self.evidence, self.trial) = (0.0, None);
        self.failed_users.clear();
        self.cohort_users.clear();
        self.cohort_failed = 0;
    }

    /// It stands like this since `now_ms`; `ledger` is another gate's, should it have one.
    pub(super) fn follow(&mut self, rollout: &Rollout, now_ms: u64, share: Weight, ledger: Ledger) {
        let place = rollout.phase.place().unwrap_or(self.place);
        let runs = matches!(rollout.phase, Phase::Running { .. } | Phase::Awaiting { .. });
        self.ran_ms = if place == self.place { self.ran_ms(now_ms) } else { 0 };
        self.since_ms = runs.then_some(now_ms);
        if rollout.gate_no != self.gate_no {
            self.ledger = ledger;
            self.forget();
        } else if place != self.place {
            self.ledger.step();
            // Users speak to the runs of their step alone.
            if !self.failed_users.is_empty() {
                self.failed_users.clear();
                self.evidence = 0.0;
            }
        }
        let began = rollout.gate_no != self.gate_no || place != self.place;
        let silent = self.share_min == Weight::ZERO;
        self.share_min = if began || silent { share } else { self.share_min.min(share) };
        self.ready_ms = None;
        (self.gate_no, self.place, self.share) = (rollout.gate_no, place, share);
        self.about = about(rollout, place);
    }

    /// A request begins that counts; gives the ledger's number and the request's.
    pub(super) fn begins(&mut self, begun: Beginning) -> (u64, usize) {
        (self.ledger.no, self.ledger.begin(begun))
    }

    /// The request with `token` ends.
    pub(super) fn ends(&mut self, token: (u64, usize), ending: Ending, now_ms: u64) {
        let Some(ledger) = self.ledger(token.0) else { return };
        let arm = ledger.arm(token.1);
        let taken = ledger.end(token.1, ending, now_ms);
        if matches!(arm, Arm::Canary | Arm::Cohort) && ending.outcome.is_failure() {
            self.heard += 1;
            self.first_heard_ms.get_or_insert(now_ms);
        }
        taken.iter().for_each(|failed| self.takes(failed, now_ms));
    }

    /// The gate has taken a failure.
    fn takes(&mut self, failed: &Failed, now_ms: u64) {
        let Beginning { arm, user, share, .. } = failed.begun;
        match arm {
            // A stable that fails too leaves nothing to foretell.
            Arm::Stable | Arm::Baseline => self.health = None,
            Arm::Cohort => {
                let is_new = user.is_none_or(|user| self.cohort_users.insert(user));
                self.cohort_failed += u64::from(is_new);
            }
            Arm::Canary => {
                let counts = self.health == Some(Health::Broken)
                    && share != Weight::ZERO
                    && share != Weight::FULL
                    && matches!(self.place, Place::Step(_))
                    && user.is_none_or(|user| failed.in_step && self.failed_users.insert(user));
                if counts {
                    // The factor by which the alternative "all but broken" beats "not worse than tolerated".
                    let odds = f64::from(share.basis_points()) / f64::from(share.complement().basis_points());
                    let hits = 1.1 * odds / (1.0 + 1.1 * odds);
                    self.evidence -= hits.ln();
                }
            }
        }
        let cohort = self.is_broken() && self.cohort_failed >= COHORT_CONDEMNED;
        if self.is_broken() && (self.evidence >= CONDEMNED || cohort) {
            self.condemned_ms.get_or_insert(now_ms);
        }
    }

    /// A request is placed on the canary by chance, key or cohort.
    pub(super) fn placed(&mut self, trial: &Arc<dyn TrafficObserver>) -> Result<(), String> {
        self.trial = Some(Arc::clone(trial));
        if trial.is_withheld() {
            return Err("a request begins on a canary that is withheld".to_owned());
        }
        Ok(())
    }

    /// Looks whether it should have moved by now. Of `several` nodes, nobody knows at which moment the canary
    /// has to be withheld.
    pub(super) fn watch(
        &mut self,
        rollout: &Rollout,
        several: bool,
        now_ms: u64,
        trouble_ms: u64,
    ) -> Result<(), String> {
        if self.trial.as_ref().is_some_and(|trial| trial.is_withheld()) {
            self.withheld_ms.get_or_insert(now_ms);
        }
        let late_by = |since_ms: Option<u64>, most_ms| {
            since_ms.is_some_and(|ms| now_ms > ms.max(trouble_ms) + PROMPT_MS + most_ms)
        };
        let late = |since_ms| late_by(since_ms, 0);
        let moves = matches!(rollout.phase, Phase::Running { .. } | Phase::Awaiting { .. });
        if late(self.withheld_ms) {
            return Err(format!("the canary {} is withheld, and its rollout goes on", rollout.canary));
        }
        if moves && late(self.condemned_ms) {
            return Err(format!("the canary {} is broken, and its rollout goes on", rollout.canary));
        }
        let withholds = rollout.spec.plan().on_fail() == OnFail::Rollback;
        if withholds && !several && self.condemned_ms.is_some() && self.withheld_ms.is_none() && moves {
            return Err(format!("the canary {} is broken, and not withheld", rollout.canary));
        }
        let is_ready = self.is_ready(rollout, now_ms);
        self.ready_ms = is_ready.then(|| self.ready_ms.unwrap_or(now_ms));
        if late_by(self.ready_ms, SETTLES_MS) {
            return Err(format!("the rollout to {} stays at {:?} for no reason", rollout.canary, self.place));
        }
        Ok(())
    }

    /// Whether nothing is left to wait for at its place, which it came to in this life or not.
    fn is_ready(&self, rollout: &Rollout, now_ms: u64) -> bool {
        let (plan, needed) = (rollout.spec.plan(), rollout.spec.gate().min_requests);
        let lasts = if self.place == Place::Watch { plan.watch() } else { plan.step_min() };
        let ran_ms = self.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        let ran = u128::from(ran_ms) >= lasts.as_millis();
        let (drawn, users) = self.ledger.voices(true);
        // Compared with the past, it needs the more of them the worse stable was.
        let alone = self.share == Weight::FULL || self.ledger.may_be_silent();
        let needs = voices::needed(self.share, self.gate_no, voices::LAST_RUN);
        let needs = if alone { Some(voices::MOST) } else { needs };
        let heard = needs.is_none_or(|needs| drawn > needs + 2 || users > 2 * needs + 10);
        let (canary, stable) = (self.ledger.least(self.about), self.ledger.stable_least());
        let enough = match (self.place, self.about) {
            (Place::Watch, _) => true,
            // One that fails for many of its users waits for more of them.
            (_, Arm::Cohort) => canary >= needed && self.ledger.failed(Arm::Cohort) == 0,
            _ => canary >= needed && stable >= needed && heard,
        };
        let runs = matches!(rollout.phase, Phase::Running { .. });
        let moves = self.place == Place::Watch || !plan.manual();
        let watches = rollout.spec.gate().tolerate(Signal::Errors).is_some();
        runs && ran && enough && moves && watches && self.place != Place::Check
    }
}

/// Whom `place` is about.
fn about(rollout: &Rollout, place: Place) -> Arm {
    if rollout.spec.plan().is_by_cohort(place) { Arm::Cohort } else { Arm::Canary }
}

/// The canary's share at `key` in `state`.
pub(super) fn share_at(state: &State, key: &StageKey, rollout: &Rollout) -> Weight {
    super::stage_at(state, key).map_or(Weight::ZERO, |stage| stage.split.weight(rollout.canary))
}
