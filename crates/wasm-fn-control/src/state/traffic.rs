//! Plans a person's actions on existing versions and stages: weights, rollback, delete.

use std::cmp::Reverse;

use wasm_fn_core::{FunctionName, StageName, TrafficSplit, VersionNo, VersionRef, Weight};

use wasm_fn_rollout::Command;
use wasm_fn_router::Salt;

use super::{Action, ChangeError, Facts, FunctionChange, StageState, State, deploy::STAGES_MAX};

impl State {
    /// Plans to split `stage` by `shares`; `None` if it is already split like that. A share of zero is the
    /// same as no share.
    ///
    /// The stable version stays stable as long as it has a share. If it has none, the version with the
    /// largest share becomes stable, and among equal shares the oldest. During a rollout the roles stay. A
    /// stage without traffic begins with this split, and with `salt`.
    ///
    /// # Errors
    /// An unknown function or version, shares that do not make a split, a version that takes no part in the
    /// rollout under way, a route that belongs to another function, or a stage too many.
    pub fn plan_traffic(
        &self,
        function: &FunctionName,
        stage: &StageName,
        shares: &[(VersionRef, Weight)],
        salt: Salt,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        let stages = &self.function(function)?.stages;
        let shares: Result<Vec<_>, ChangeError> = shares
            .iter()
            .map(|&(version, weight)| Ok((self.resolve(function, stage, version)?, weight)))
            .collect();
        // After resolving: a version that is not there is an error even if its share is zero.
        let split = TrafficSplit::new(shares?.into_iter().filter(|&(_, weight)| weight > Weight::ZERO))?;
        let Some(current) = stages.get(stage) else {
            if stages.len() >= STAGES_MAX {
                let (function, stage) = (function.clone(), stage.clone());
                return Err(ChangeError::TooManyStages { function, stage, found: stages.len() });
            }
            let stable = largest(&split);
            return self.fit_traffic(
                function,
                stage,
                StageState { split, ..StageState::first(stable, salt) },
            );
        };
        if split == current.split {
            return Ok(None);
        }
        let mut after = StageState { split, ..current.clone() };
        if let Some(canary) = current.canary() {
            let takes_part = |version| version == current.stable || version == canary;
            if !after.split.shares().iter().all(|&(version, _)| takes_part(version)) {
                let expected =
                    "weights for these two versions, or the rollout to be promoted or aborted first";
                return Err(in_progress(function, stage, current, canary, expected));
            }
        } else {
            // Setting weights by hand ends the watch.
            after.rollout = None;
        }
        if current.canary().is_none() && after.split.weight(current.stable) == Weight::ZERO {
            after.make_stable(largest(&after.split));
        }
        self.fit_traffic(function, stage, after)
    }

    fn fit_traffic(
        &self,
        function: &FunctionName,
        stage: &StageName,
        after: StageState,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        for &(version, _) in after.split.shares() {
            self.check_secrets(function, stage, version)?;
            self.check_deployed_there(function, stage, version)?;
        }
        let change = FunctionChange {
            function: function.clone(),
            action: Action::Traffic { stage: stage.clone(), after },
        };
        self.check_claims(&change)?;
        Ok(Some(change))
    }

    /// Plans to send all traffic to `to`, or to the newest previous version; `None` if it already goes there.
    /// During a rollout, `None` for `to`, or its stable version, means an abort.
    ///
    /// The versions that were stable after `to` are no longer previous ones: a second rollback goes further
    /// back, and not forward again.
    ///
    /// # Errors
    /// An unknown function, stage or version, no previous version, the canary as `to`, or a route of `to`
    /// that now belongs to another function.
    pub fn plan_rollback(
        &self,
        function: &FunctionName,
        stage: &StageName,
        to: Option<VersionRef>,
        facts: Facts,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        let current = self.stage(function, stage)?;
        let to = to.map(|to| self.resolve(function, stage, to)).transpose()?;
        let aborted = current.canary();
        if let Some(canary) = aborted {
            if to.is_none_or(|to| to == current.stable) {
                return self.plan_command(function, stage, Command::Abort, facts).map(Some);
            }
            if to == Some(canary) {
                let expected = "a version to go back to; to finish the rollout, promote it";
                return Err(in_progress(function, stage, current, canary, expected));
            }
        }
        let version = to.or(current.newest_previous()).ok_or_else(|| ChangeError::NoPreviousVersion {
            function: function.clone(),
            stage: stage.clone(),
            stable: current.stable,
        })?;
        let after = current.back_at(version);
        if after == *current {
            return Ok(None);
        }
        self.check_secrets(function, stage, version)?;
        self.check_deployed_there(function, stage, version)?;
        let back = version < current.stable || current.previous.contains(&version);
        let left = (back && version != current.stable).then_some(current.stable);
        let (stage, report) = (stage.clone(), facts.report);
        self.fit_rollback(function, Action::Rollback { stage, version, left, aborted, after, report })
    }

    /// Drops previous versions whose routes now belong to another function. They claimed no routes while
    /// there was a newer version to go back to.
    pub(super) fn fit_rollback(
        &self,
        function: &FunctionName,
        action: Action,
    ) -> Result<Option<FunctionChange>, ChangeError> {
        let mut change = FunctionChange { function: function.clone(), action };
        loop {
            let Err(clash) = self.check_claims(&change) else { return Ok(Some(change)) };
            let Action::Rollback { after, .. } = &mut change.action else { return Err(clash.into()) };
            if after.previous.pop().is_none() {
                return Err(clash.into());
            }
        }
    }

    /// Plans to delete `stage` of `function`: its split, its routes, its secrets and what it knows of earlier
    /// versions.
    /// The function's versions stay. A watch ends, because nobody can go back any more.
    ///
    /// # Errors
    /// An unknown function or stage, the live stage, or a rollout that still moves traffic.
    pub fn plan_delete_stage(
        &self,
        function: &FunctionName,
        stage: &StageName,
    ) -> Result<FunctionChange, ChangeError> {
        let current = self.stage(function, stage)?;
        if stage.is_live() {
            return Err(ChangeError::LiveStage(function.clone()));
        }
        if let Some(canary) = current.canary() {
            let expected = "it to be promoted or aborted first";
            return Err(in_progress(function, stage, current, canary, expected));
        }
        Ok(FunctionChange {
            function: function.clone(),
            action: Action::DeleteStage { stage: stage.clone() },
        })
    }

    /// Plans to delete `function`.
    ///
    /// # Errors
    /// An unknown function.
    pub fn plan_delete(&self, function: &FunctionName) -> Result<FunctionChange, ChangeError> {
        self.function(function)?;
        Ok(FunctionChange { function: function.clone(), action: Action::Delete })
    }
}

/// The version with the largest share, and among equal shares the oldest.
fn largest(split: &TrafficSplit) -> VersionNo {
    let largest = split.shares().iter().max_by_key(|&&(no, weight)| (weight, Reverse(no)));
    largest.expect("a split has a share").0
}

fn in_progress(
    function: &FunctionName,
    stage: &StageName,
    current: &StageState,
    canary: VersionNo,
    expected: &'static str,
) -> ChangeError {
    let (function, stage) = (function.clone(), stage.clone());
    ChangeError::RolloutInProgress { function, stage, stable: current.stable, canary, expected }
}
