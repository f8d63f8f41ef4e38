//! Commands to existing functions.

use std::sync::{Arc, Mutex, PoisonError};

use wasm_fn_core::{BucketName, FunctionName, StageName, TrafficSplit, VersionRef, Weight};
use wasm_fn_rollout::{Command, Place, Verdict};

use super::{Control, ControlError, Note};
use wasm_fn_store::Store;

use crate::{
    analysis::past,
    host::Host,
    report::Report,
    state::{
        Action, Facts, FunctionChange, Rollout, SeenRollout, StageKey, StageState, State, ValueOperation,
    },
};

/// What somebody did with a value that functions keep.
#[derive(Clone, Debug)]
pub struct ChangedValue {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: String,
    /// What was done.
    pub operation: ValueOperation,
}

/// The current verdict of a rollout's gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStanding {
    /// `pass`, `fail` or `wait`.
    pub verdict: &'static str,
    /// Why, in a sentence.
    pub reason: String,
    /// Requests of the canary in this step; in a step by cohort, the cohort's requests.
    pub requests: u64,
    /// How many requests a step needs.
    pub requests_needed: u64,
    /// The numbers.
    pub report: Report,
}

impl<H: Host, S: Store> Control<H, S> {
    /// Sets the weights of a stage.
    ///
    /// # Errors
    /// The errors of [`State::plan_traffic`]; another revision than expected; a failure of the store.
    pub async fn set_traffic(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        shares: Vec<(VersionRef, Weight)>,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let (name, salt) = (function.clone(), (self.salt)());
        let approved = self.needs_approval(&stage);
        self.mutate(name, note, move |state| {
            if approved {
                let versions = shares.iter().filter(|(_, weight)| *weight > Weight::ZERO);
                let versions = versions.map(|&(asked, _)| state.resolve(&function, &stage, asked));
                let versions = versions.collect::<Result<Vec<_>, _>>()?;
                state.check_approved(&function, &stage, versions)?;
            }
            state.plan_traffic(&function, &stage, &shares, salt)
        })
        .await
    }

    /// Records in the journal that somebody changed a value. Changes nothing else.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn record_value(
        self: &Arc<Self>,
        changed: ChangedValue,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let ChangedValue { function, stage, bucket, key, operation } = changed;
        self.mutate(function.clone(), note, move |_| {
            let (stage, bucket, key) = (stage.clone(), bucket.clone(), key.clone());
            let action = Action::ChangeValue { stage, bucket, key, operation };
            Ok(Some(FunctionChange { function: function.clone(), action }))
        })
        .await
    }

    /// Carries out a person's command to a rollout.
    ///
    /// When this returns, the table is published: after an abort no request begins on the canary.
    ///
    /// # Errors
    /// The errors of [`State::plan_command`]; another revision than expected; a failure of the store.
    pub async fn command(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        command: Command,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.command_as_seen(function, stage, command, None, note).await
    }

    /// Carries out a person's command to a rollout as it was `seen`.
    ///
    /// # Errors
    /// The errors of [`State::plan_command_as_seen`]; another revision than expected; a failure of the store.
    pub async fn command_as_seen(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        command: Command,
        seen: Option<SeenRollout>,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let key = (function, stage);
        let control = Arc::clone(self);
        // What was approved is a plan with all its steps.
        let approved = command == Command::PromoteFully && self.needs_approval(&key.1);
        self.mutate(key.0.clone(), note, move |state| {
            if approved && let Some(rollout) = state.rollout(&key).filter(|rollout| !rollout.is_watch()) {
                state.check_approved(&key.0, &key.1, [rollout.canary])?;
            }
            let facts = control.facts(&key, state, "by command".to_owned());
            let change = match &seen {
                Some(seen) => state.plan_command_as_seen(&key.0, &key.1, command, seen, facts),
                None => state.plan_command(&key.0, &key.1, command, facts),
            };
            change.map(Some)
        })
        .await
    }

    /// Ends a rollout as [`Command::Abort`] does, and interrupts the canary's requests that are under way.
    ///
    /// # Errors
    /// The errors of [`command`](Self::command).
    pub async fn abort_now(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let analysis = self.analysis(&(function.clone(), stage.clone()));
        let state = self.command(function, stage, Command::Abort, note).await?;
        if let Some(analysis) = analysis {
            analysis.recall();
        }
        Ok(state)
    }

    /// Sends all traffic to an earlier version. Returns the state after it, and the split that the stage had
    /// before.
    ///
    /// # Errors
    /// The errors of [`State::plan_rollback`]; another revision than expected; a failure of the store.
    pub async fn rollback(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        to: Option<VersionRef>,
        note: Note,
    ) -> Result<(Arc<State>, TrafficSplit), ControlError> {
        let key = (function, stage);
        let control = Arc::clone(self);
        let before = Arc::new(Mutex::new(None));
        let found = Arc::clone(&before);
        let approved = self.needs_approval(&key.1);
        let state = self
            .mutate(key.0.clone(), note, move |state| {
                if let Some(to) = to.filter(|_| approved) {
                    state.check_approved(&key.0, &key.1, [state.resolve(&key.0, &key.1, to)?])?;
                }
                let facts = control.facts(&key, state, "by command".to_owned());
                let change = state.plan_rollback(&key.0, &key.1, to, facts)?;
                let stage = state.function(&key.0)?.stages.get(&key.1);
                *found.lock().unwrap_or_else(PoisonError::into_inner) =
                    stage.map(|stage| stage.split.clone());
                Ok(change)
            })
            .await?;
        let before = before.lock().unwrap_or_else(PoisonError::into_inner).take();
        let before = before.expect("only a stage with a split is rolled back");
        Ok((state, before))
    }

    /// Deletes a function.
    ///
    /// # Errors
    /// An unknown function; another revision than expected; a failure of the store.
    pub async fn delete(
        self: &Arc<Self>,
        function: FunctionName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        self.mutate(function.clone(), note, move |state| state.plan_delete(&function).map(Some)).await
    }

    /// Deletes a stage of a function.
    ///
    /// # Errors
    /// The errors of [`State::plan_delete_stage`]; another revision than expected; a failure of the store.
    pub async fn delete_stage(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let name = function.clone();
        self.mutate(name, note, move |state| state.plan_delete_stage(&function, &stage).map(Some)).await
    }

    /// What is known about the rollout at `key` now, with the `reason` for asking.
    pub(super) fn facts(&self, key: &StageKey, state: &State, reason: String) -> Facts {
        let mut facts = Facts::at(self.clock.now());
        let rollout = state.rollout(key);
        facts.opened = rollout.map_or(self.started, |rollout| self.observed_since(key, &rollout.phase));
        let analysis = rollout.and_then(|rollout| self.analyses.load().of(key, rollout));
        if let (Some(analysis), Some(rollout)) = (analysis, rollout) {
            facts.gate = Some(analysis.state());
            facts.report = Some(Box::new(analysis.report(reason)));
            facts.past =
                self.entry(key, rollout.base).map(|base| past(rollout.spec.gate(), &base.tally.snapshot()));
        }
        facts
    }

    /// The stages with a rollout under way.
    pub fn rollouts(&self) -> Vec<StageKey> {
        self.analyses.load().all().into_iter().map(|(key, _)| key).collect()
    }

    /// The current verdict of the gate of the rollout at `key`.
    pub fn gate(&self, key: &StageKey, rollout: &Rollout) -> Option<GateStanding> {
        let analysis = self.analyses.load().of(key, rollout)?;
        let verdict = analysis.verdict();
        let (word, reason) = match &verdict {
            Verdict::Fail(failure) => ("fail", failure.to_string()),
            _ if rollout.phase.place() == Some(Place::Check) => match analysis.checked() {
                _ if rollout.spec.checks().is_empty() => {
                    ("pass", "a person has to check the new version first".to_owned())
                }
                None => ("wait", "the checks are running".to_owned()),
                Some(Ok(())) => ("pass", "every check passed".to_owned()),
                Some(Err(found)) => ("fail", found.clone()),
            },
            Verdict::Pass => ("pass", "no sign that the canary is worse than tolerated".to_owned()),
            Verdict::Wait(waiting) => ("wait", waiting.to_string()),
        };
        Some(GateStanding {
            verdict: word,
            reason: reason.clone(),
            requests: analysis.step_requests(),
            requests_needed: rollout.spec.gate().min_requests,
            report: analysis.report(reason),
        })
    }

    /// Keeps the version that a blue-green switch left ready, so that switching back is as fast.
    pub(super) fn keep_base(&self, change: &FunctionChange, after: &State) {
        let Action::Promote { stage, .. } = &change.action else { return };
        let Ok(function) = after.function(&change.function) else { return };
        if let Some(stands) = function.stages.get(stage) {
            self.keep(&(change.function.clone(), stage.clone()), stands);
        }
    }

    /// Keeps the versions of all stages ready after a start, for the rest of their time.
    pub(super) fn keep_bases(&self) {
        let state = self.state();
        for (name, function) in state.functions() {
            for (stage, stands) in function.stages.iter().filter(|(_, stands)| stands.keep.is_some()) {
                self.keep(&(name.clone(), stage.clone()), stands);
            }
        }
    }

    fn keep(&self, key: &StageKey, stands: &StageState) {
        let Some(keep) = stands.keep else { return };
        let Some(left) = keep.left(self.clock.now()) else { return };
        if let Some(kept) = self.entry(key, keep.version) {
            self.host.keep_ready(&kept.target, left);
        }
    }
}
