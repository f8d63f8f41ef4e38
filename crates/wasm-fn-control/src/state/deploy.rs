//! Planning deployments.

use std::{collections::BTreeSet, sync::Arc};

use wasm_fn_core::{Digest, FunctionConfig, FunctionName, StageName, TrafficSplit, VersionNo};
use wasm_fn_router::Salt;

use super::{
    Action, Build, Change, Function, PlanError, Rollout, RolloutStrategy, StageState, State, Strategy,
};

/// Versions without a share or a role that a function keeps.
const UNREFERENCED_MAX: usize = 50;

/// Most stages of a function.
const STAGES_MAX: usize = 32;

/// What is to be deployed, and how.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// The stage.
    pub stage: &'a StageName,
    /// The component.
    pub digest: Digest,
    /// What the component is.
    pub kind: &'a str,
    /// The configuration.
    pub config: &'a Arc<FunctionConfig>,
    /// How it gets its traffic.
    pub strategy: Strategy,
    /// Abort a rollout that is under way.
    pub replace: bool,
    /// Random bits, for a stage or rollout that begins.
    pub salt: Salt,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
}

/// What a deployment comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployPlan {
    /// The change; `None` when everything is as asked already.
    pub change: Option<Change>,
    /// The version that has the component and configuration.
    pub version: VersionNo,
    /// The stage had no version: this one goes live at once, whatever the strategy.
    pub first: bool,
}

/// What a deployment does to its stage.
struct Aim {
    after: Option<StageState>,
    aborted: Option<VersionNo>,
}

impl State {
    /// Plans `deployment`.
    ///
    /// # Errors
    /// A rollout is under way, a route is another function's, or a bound is reached.
    pub fn plan_deploy(&self, deployment: &Deployment<'_>) -> Result<DeployPlan, PlanError> {
        let empty = Function::default();
        let name = deployment.function;
        let function = self.functions.get(name).map_or(&empty, |function| &**function);
        let existing = function.like(deployment.digest, deployment.config);
        let version = existing.unwrap_or(function.next_version);
        if version.next().is_none() {
            return Err(PlanError::VersionsUsedUp(name.clone()));
        }
        let current = function.stages.get(deployment.stage);
        if current.is_none() && function.stages.len() >= STAGES_MAX {
            let (function_name, stage) = (name.clone(), deployment.stage.clone());
            let found = function.stages.len();
            return Err(PlanError::TooManyStages { function: function_name, stage, found });
        }

        let Aim { after, aborted } = deployment.aim(current, version)?;
        let first = current.is_none() && after.is_some();
        if existing.is_some() && after.is_none() {
            return Ok(DeployPlan { change: None, version, first });
        }
        let made = existing.is_none().then(|| Build {
            digest: deployment.digest,
            kind: deployment.kind.to_owned(),
            config: Arc::clone(deployment.config),
        });
        let plan = |dropped| Change {
            function: name.clone(),
            action: Action::Deploy {
                stage: deployment.stage.clone(),
                version,
                made: made.clone(),
                after: after.clone(),
                aborted,
                dropped,
            },
        };
        let dropped = self.outcome(&plan(Vec::new())).surplus();
        let change = plan(dropped);
        self.check_claims(&change)?;
        Ok(DeployPlan { change: Some(change), version, first })
    }
}

impl Deployment<'_> {
    fn aim(&self, current: Option<&StageState>, version: VersionNo) -> Result<Aim, PlanError> {
        let leave = Aim { after: None, aborted: None };
        let Some(stage) = current else {
            let first = (self.strategy != Strategy::NoTraffic).then(|| StageState::first(version, self.salt));
            return Ok(Aim { after: first, ..leave });
        };
        if self.strategy == Strategy::NoTraffic {
            return Ok(leave);
        }
        if let Some(rollout) = &stage.rollout {
            if rollout.canary == version && self.strategy == Strategy::Rollout(rollout.strategy) {
                return Ok(leave);
            }
            if !self.replace {
                return Err(PlanError::RolloutInProgress {
                    function: self.function.clone(),
                    stage: self.stage.clone(),
                    stable: stage.stable,
                    canary: rollout.canary,
                    expected: "it to be promoted or aborted first",
                });
            }
        }
        let aborted = stage.canary().filter(|&canary| canary != version);
        let after = match self.strategy {
            Strategy::NoTraffic => None,
            Strategy::AllAtOnce => Some(stage.moved_to(version)).filter(|after| after != stage),
            Strategy::Rollout(_) if version == stage.stable => {
                stage.rollout.is_some().then(|| stage.all_to_stable())
            }
            Strategy::Rollout(strategy) => Some(self.begin(stage, version, strategy)),
        };
        Ok(Aim { after, aborted })
    }

    /// The stage with a rollout to `canary` begun.
    ///
    /// One that begins with everything on stable gets a new salt: that moves nobody, and the users who
    /// go first are others each time.
    fn begin(&self, stage: &StageState, canary: VersionNo, strategy: RolloutStrategy) -> StageState {
        let settled = stage.split == TrafficSplit::all(stage.stable);
        StageState {
            split: TrafficSplit::between(stage.stable, canary, strategy.first_weight()),
            rollout: Some(Rollout {
                canary,
                strategy,
                started_ms: self.now_ms,
                from_split: stage.split.clone(),
            }),
            salt: if settled { self.salt } else { stage.salt },
            ..stage.clone()
        }
    }
}

impl Function {
    /// The oldest versions without a share or a role, beyond those that are kept.
    fn surplus(&self) -> Vec<VersionNo> {
        let used: BTreeSet<_> = self.stages.values().flat_map(StageState::references).collect();
        let unused: Vec<_> =
            self.versions.keys().copied().filter(|version| !used.contains(version)).collect();
        unused[..unused.len().saturating_sub(UNREFERENCED_MAX)].to_vec()
    }
}
