//! One rollout as the model counts it.

use std::{collections::BTreeSet, sync::Arc};

use wasm_fn_control::state::{Key, Rollout, State};
use wasm_fn_core::{Outcome, Side, Weight};
use wasm_fn_rollout::{OnFail, Phase, Place, Signal};
use wasm_fn_router::Trial;

use super::{Id, PROMPT_MS, Response, id};
use crate::scenario::{Health, Scenario};

/// Evidence, as a logarithm, by which every gate must have failed: that of the pooled failures' threshold,
/// 7.6, the prior of the ratio that grows fastest, 1.5, and what the others and the late starters cost, with
/// as much again to spare.
const CONDEMNED: f64 = 20.0;

/// A rollout under way.
pub(super) struct Tracked {
    id: Id,
    gate_no: u32,
    place: Place,
    // How long the place ran before `since_ms`, and since when it runs; `None` while it stands still.
    ran_ms: u64,
    since_ms: Option<u64>,
    // Responses since the gate came to this place, and of this life among them.
    canary: u64,
    canary_recent: u64,
    // Responses since the gate began.
    stable: u64,
    stable_recent: u64,
    // Since when there is nothing left to wait for.
    ready_ms: Option<u64>,
    health: Option<Health>,
    evidence: f64,
    failed_users: BTreeSet<u64>,
    condemned_ms: Option<u64>,
    withheld_ms: Option<u64>,
    trial: Option<Arc<dyn Trial>>,
    heard: u64,
    first_heard_ms: Option<u64>,
}

impl Tracked {
    pub(super) fn new(rollout: &Rollout, now_ms: u64, state: &State, key: &Key, scenario: &Scenario) -> Self {
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
            Some(Health::Broken) if faultless => Some(Health::Broken),
            Some(Health::Same) if same && scenario.quiet => Some(Health::Same),
            _ => None,
        };
        let place = rollout.phase.place().unwrap_or(Place::Watch);
        Self {
            id: id(key, rollout),
            gate_no: rollout.gate_no,
            place,
            ran_ms: 0,
            since_ms: Some(now_ms),
            canary: 0,
            canary_recent: 0,
            stable: 0,
            stable_recent: 0,
            ready_ms: None,
            health,
            evidence: 0.0,
            failed_users: BTreeSet::new(),
            condemned_ms: None,
            withheld_ms: None,
            trial: None,
            heard: 0,
            first_heard_ms: None,
        }
    }

    /// Whether it is that of `rollout`, with the same gate.
    pub(super) fn is(&self, key: &Key, rollout: &Rollout) -> bool {
        self.gate_no == rollout.gate_no && self.id == id(key, rollout)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health == Some(Health::Same)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.health == Some(Health::Broken)
    }

    pub(super) fn canary(&self) -> u64 {
        self.canary
    }

    pub(super) fn stable(&self) -> u64 {
        self.stable
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
    pub(super) fn begin(&mut self, now_ms: u64) {
        if self.since_ms.is_some() {
            (self.ran_ms, self.since_ms) = (0, Some(now_ms));
        }
        (self.canary_recent, self.stable_recent) = (0, 0);
        self.forget();
    }

    /// What only a gate remembers.
    fn forget(&mut self) {
        (self.ready_ms, self.condemned_ms, self.withheld_ms) = (None, None, None);
        (self.evidence, self.trial) = (0.0, None);
        self.failed_users.clear();
    }

    /// It stands like this since `now_ms`.
    pub(super) fn follow(&mut self, rollout: &Rollout, now_ms: u64) {
        let place = rollout.phase.place().unwrap_or(self.place);
        let runs = matches!(rollout.phase, Phase::Running { .. } | Phase::Awaiting { .. });
        self.ran_ms = if place == self.place { self.ran_ms(now_ms) } else { 0 };
        self.since_ms = runs.then_some(now_ms);
        if rollout.gate_no != self.gate_no {
            (self.stable, self.stable_recent) = (0, 0);
            self.forget();
        }
        if rollout.gate_no != self.gate_no || place != self.place {
            (self.canary, self.canary_recent) = (0, 0);
        }
        self.ready_ms = None;
        (self.gate_no, self.place) = (rollout.gate_no, place);
    }

    /// A response came that counts; the canary's share was `share` when its request began.
    pub(super) fn heard_of(&mut self, response: &Response<'_>, share: Weight, now_ms: u64) {
        match response.side {
            Side::Canary => {
                self.canary += 1;
                self.canary_recent += 1;
                self.heard += 1;
                self.first_heard_ms.get_or_insert(now_ms);
            }
            Side::Stable | Side::Baseline => {
                self.stable += 1;
                self.stable_recent += 1;
            }
        }
        let counts = self.is_broken()
            && response.side == Side::Canary
            && response.ended.outcome != Outcome::Success
            && share != Weight::ZERO
            && share != Weight::FULL
            && matches!(self.place, Place::Step(_))
            && response.user.is_none_or(|user| self.failed_users.insert(user));
        if counts {
            // The factor by which the alternative "all but broken" beats "not worse than tolerated".
            let odds = f64::from(share.basis_points()) / f64::from(share.complement().basis_points());
            let hits = 1.1 * odds / (1.0 + 1.1 * odds);
            self.evidence -= hits.ln();
            if self.evidence >= CONDEMNED {
                self.condemned_ms.get_or_insert(now_ms);
            }
        }
    }

    /// A request is placed on the canary by chance, key or cohort.
    pub(super) fn placed(&mut self, trial: &Arc<dyn Trial>) -> Result<(), String> {
        self.trial = Some(Arc::clone(trial));
        if trial.is_withheld() {
            return Err("a request begins on a canary that is withheld".to_owned());
        }
        Ok(())
    }

    /// Looks whether it should have moved by now.
    pub(super) fn watch(&mut self, rollout: &Rollout, now_ms: u64, trouble_ms: u64) -> Result<(), String> {
        if self.trial.as_ref().is_some_and(|trial| trial.is_withheld()) {
            self.withheld_ms.get_or_insert(now_ms);
        }
        let late = |since_ms: Option<u64>| since_ms.is_some_and(|ms| now_ms > ms.max(trouble_ms) + PROMPT_MS);
        let moves = matches!(rollout.phase, Phase::Running { .. } | Phase::Awaiting { .. });
        if late(self.withheld_ms) {
            return Err(format!("the canary {} is withheld, and its rollout goes on", rollout.canary));
        }
        if moves && late(self.condemned_ms) {
            return Err(format!("the canary {} is broken, and its rollout goes on", rollout.canary));
        }
        let withholds = rollout.spec.plan().on_fail() == OnFail::Rollback;
        if withholds && self.condemned_ms.is_some() && self.withheld_ms.is_none() && moves {
            return Err(format!("the canary {} is broken, and not withheld", rollout.canary));
        }
        if self.ready_ms.is_none() && self.is_ready(rollout, now_ms) {
            self.ready_ms = Some(now_ms);
        }
        if late(self.ready_ms) {
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
        let enough =
            self.place == Place::Watch || (self.canary_recent >= needed && self.stable_recent >= needed);
        let runs = matches!(rollout.phase, Phase::Running { .. });
        let moves = self.place == Place::Watch || !plan.manual();
        let watches = rollout.spec.gate().tolerate(Signal::Errors).is_some();
        runs && ran && enough && moves && watches && self.place != Place::Check
    }
}
