//! Plans deployments.

use std::{collections::BTreeSet, sync::Arc};

use wasm_fn_core::{Digest, FunctionConfig, FunctionName, StageConfig, StageName, TrafficSplit, VersionNo};
use wasm_fn_router::Salt;

use wasm_fn_rollout::{Counts, Phase, Place, Time};

use super::{
    Action, Build, ChangeError, Function, FunctionChange, Grows, Growth, Imports, NoCohort, Proposal,
    Provenance, ReleaseStrategy, Rollout, RolloutSpec, SecretPins, SecretsProblem, SecretsProblemKind,
    StageRule, StageState, State, cohorts,
};
use crate::report::Report;

/// How many versions without a share or a role a function keeps.
const UNREFERENCED_MAX: usize = 50;

/// How many stages a function may have.
pub(super) const STAGES_MAX: usize = 32;

/// A deployment to plan.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// The stage.
    pub stage: &'a StageName,
    /// The component.
    pub digest: Digest,
    /// The kind of the component.
    pub kind: &'a str,
    /// The configuration.
    pub config: &'a Arc<FunctionConfig>,
    /// What the stage lays over the configuration; `None` stands for what it lays over that of stable.
    pub stage_config: Option<&'a Arc<StageConfig>>,
    /// How it gets its traffic.
    pub strategy: &'a ReleaseStrategy,
    /// The past of the stable version, for a rollout that leaves nothing to compare with.
    pub past: Option<Counts>,
    /// The numbers of the rollout under way, in case this deployment replaces it.
    pub report: Option<Box<Report>>,
    /// Whether to abort a rollout that is under way.
    pub replace: bool,
    /// Whether the version may do more than the one that is stable.
    pub allow_new: bool,
    /// Where the component comes from, if not from a file.
    pub provenance: Option<&'a Provenance>,
    /// What the component imports, and the stable one; `None` as long as nobody has read them.
    pub imports: Option<&'a Imports>,
    /// Random bits for a stage or rollout that begins.
    pub salt: Salt,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
}

/// The result of planning a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeployPlan {
    /// The change; `None` if everything is already as requested.
    pub change: Option<FunctionChange>,
    /// The version that has the component and configuration.
    pub version: VersionNo,
    /// Whether the stage had no version. Then this one goes live at once, whatever the strategy.
    pub first: bool,
    /// What the version can do beyond the one that is stable, or all it can do if there is none.
    pub growth: Growth,
    /// The secrets that the version has in the stage.
    pub secrets: SecretPins,
    /// Its configuration as it is in the stage.
    pub config: Arc<FunctionConfig>,
}

/// The effect of a deployment on its stage.
struct Aim {
    after: Option<StageState>,
    aborted: Option<VersionNo>,
}

impl State {
    /// Plans `deployment`.
    ///
    /// # Errors
    /// If a secret is not set, the configuration does not fit what the stage lays over it, a rollout is under
    /// way, a step names a cohort that stable does not have, the version could do more than stable, a route
    /// belongs to another function, or a limit is reached.
    pub fn plan_deploy(&self, deployment: &Deployment<'_>) -> Result<DeployPlan, ChangeError> {
        let empty = Function::default();
        let name = deployment.function;
        let function = self.functions.get(name).map_or(&empty, |function| &**function);
        let secrets = deployment.secrets(function)?;
        let (stage_config, config) = deployment.configured(function)?;
        let (stage, own) = (deployment.stage, deployment.config);
        let existing = function.like(deployment.digest, own, stage, &secrets, &stage_config);
        let version = existing.unwrap_or(function.next_version);
        if version.next().is_none() {
            return Err(ChangeError::VersionsUsedUp(name.clone()));
        }
        let current = function.stages.get(deployment.stage);
        let stages = function.named_stages();
        if !stages.contains(deployment.stage) && stages.len() >= STAGES_MAX {
            let (function, stage) = (name.clone(), deployment.stage.clone());
            return Err(ChangeError::TooManyStages { function, stage, found: stages.len() });
        }

        let Aim { after, aborted } = deployment.aim(function, version)?;
        let first = current.is_none() && after.is_some();
        // Without an entry, the version has nothing of the stage.
        let none = Arc::default();
        let pinned = existing.and_then(|no| function.versions[&no].stage_configs.get(stage)).unwrap_or(&none);
        let is_pinned = function.secrets_of(stage, version) == secrets && *pinned == stage_config;
        if existing.is_some() && after.is_none() && is_pinned {
            let growth = Growth::default();
            return Ok(DeployPlan { change: None, version, first, growth, secrets, config });
        }
        let (growth, accepted) = deployment.growth(function, &config)?;
        let made = existing.is_none().then(|| Build {
            digest: deployment.digest,
            kind: deployment.kind.to_owned(),
            config: Arc::clone(deployment.config),
        });
        let report = aborted.and_then(|canary| {
            let report = deployment.report.as_deref()?.clone();
            Some(Box::new(Report { reason: Action::replaced_by(version, canary), ..report }))
        });
        let plan = |dropped| FunctionChange {
            function: name.clone(),
            action: Action::Deploy {
                stage: deployment.stage.clone(),
                version,
                made: made.clone(),
                after: after.clone(),
                aborted,
                dropped,
                report: report.clone(),
                growth: accepted.clone(),
                secrets: secrets.clone(),
                stage_config: Arc::clone(&stage_config),
                provenance: deployment.provenance.cloned().map(Box::new),
            },
        };
        let dropped = self.outcome(&plan(Vec::new())).surplus();
        let change = plan(dropped);
        self.check_claims(&change)?;
        Ok(DeployPlan { change: Some(change), version, first, growth, secrets, config })
    }
}

impl State {
    /// Plans `deployment` as a release that waits for approvals: the version is made, and gets no traffic.
    /// Approvers see what it could do beyond stable, so nobody else has to accept that.
    ///
    /// # Errors
    /// The errors of [`plan_deploy`](Self::plan_deploy), now instead of at the last approval.
    pub fn plan_propose(
        &self,
        deployment: &Deployment<'_>,
        author: &str,
        message: Option<&str>,
        rule: StageRule,
    ) -> Result<DeployPlan, ChangeError> {
        let Deployment { function: name, stage, strategy, replace, now_ms, .. } = deployment;
        let allowed = Deployment { allow_new: true, ..deployment.clone() };
        let plan = self.plan_deploy(&allowed)?;
        let DeployPlan { change: Some(change), version, growth, secrets, .. } = &plan else {
            return Ok(plan);
        };
        let Action::Deploy { made, stage_config, .. } = &change.action else { return Ok(plan) };
        let proposal = Proposal {
            revision: self.revision.next(),
            version: *version,
            spec: match strategy {
                ReleaseStrategy::Rollout(spec) => Some(Arc::clone(spec)),
                ReleaseStrategy::AllAtOnce | ReleaseStrategy::NoTraffic => None,
            },
            replace: *replace,
            growth: growth.texts().to_vec(),
            author: author.to_owned(),
            message: message.map(str::to_owned),
            approvers: rule.approvers,
            created_ms: *now_ms,
            expires_ms: now_ms.saturating_add(u64::try_from(rule.expires.as_millis()).unwrap_or(u64::MAX)),
            approvals: Vec::new(),
        };
        let waiting = self.functions.get(name).and_then(|function| function.proposals.get(*stage));
        let same = |waiting: &Proposal| {
            waiting.version == *version
                && waiting.spec == proposal.spec
                && waiting.replace == *replace
                && waiting.expires_ms > *now_ms
        };
        if waiting.is_some_and(same) {
            return Ok(DeployPlan { change: None, ..plan });
        }
        let plan_with = |dropped| FunctionChange {
            function: (*name).clone(),
            action: Action::Propose {
                stage: (*stage).clone(),
                version: *version,
                made: made.clone(),
                dropped,
                secrets: secrets.clone(),
                stage_config: Arc::clone(stage_config),
                proposal: Box::new(proposal.clone()),
                provenance: deployment.provenance.cloned().map(Box::new),
            },
        };
        let dropped = self.outcome(&plan_with(Vec::new())).surplus();
        Ok(DeployPlan { change: Some(plan_with(dropped)), first: false, ..plan })
    }
}

impl Deployment<'_> {
    /// The stage with `version` placed in it, if that changes it, and the canary that this aborts.
    pub(super) fn placed(
        &self,
        function: &Function,
        version: VersionNo,
    ) -> Result<(Option<StageState>, Option<VersionNo>), ChangeError> {
        self.aim(function, version).map(|aim| (aim.after, aim.aborted))
    }

    /// The newest values of the secrets that the configuration names.
    ///
    /// # Errors
    /// Some are not set.
    fn secrets(&self, function: &Function) -> Result<SecretPins, ChangeError> {
        function.newest_secrets(self.stage, self.config).map_err(|names| {
            let (function, stage) = (self.function.clone(), self.stage.clone());
            let problem = SecretsProblemKind::NotSet { names };
            ChangeError::Secrets(Box::new(SecretsProblem { function, stage, problem }))
        })
    }

    /// What the stage lays over the configuration, and the configuration with that.
    ///
    /// # Errors
    /// The two do not fit together.
    fn configured(
        &self,
        function: &Function,
    ) -> Result<(Arc<StageConfig>, Arc<FunctionConfig>), ChangeError> {
        let stage_config = self.stage_config.or_else(|| function.stable_stage_config(self.stage));
        let Some(stage_config) = stage_config.filter(|config| !config.is_empty()) else {
            return Ok((Arc::default(), Arc::clone(self.config)));
        };
        let config = stage_config.over(self.config);
        config.check().map_err(|error| {
            let (function, stage) = (self.function.clone(), self.stage.clone());
            ChangeError::StageConfig { function, stage, error }
        })?;
        Ok((Arc::clone(stage_config), Arc::new(config)))
    }

    /// What the version can do beyond the stable one with `config`, which is what it has in the stage, and
    /// what of it is new to the stage.
    ///
    /// # Errors
    /// It is new, and nobody has accepted it. Or stable is another version than the one that was read.
    fn growth(
        &self,
        function: &Function,
        config: &FunctionConfig,
    ) -> Result<(Growth, Vec<String>), ChangeError> {
        let none = BTreeSet::new();
        let imports = |digest| self.imports.and_then(|imports| imports.of(digest));
        let own = imports(self.digest).unwrap_or(&none);
        let stable = function.stages.get(self.stage).map(|stage| stage.stable);
        let replaced = stable.and_then(|no| Some((no, function.versions.get(&no)?)));
        let Some((stable, version)) = replaced else {
            return Ok((Growth::between(None, (config, own)), Vec::new()));
        };
        let theirs = match imports(version.build.digest) {
            Some(theirs) => theirs,
            None if version.build.digest == self.digest => own,
            None if self.imports.is_none() => &none,
            None => {
                return Err(ChangeError::Moved {
                    function: self.function.clone(),
                    stage: self.stage.clone(),
                    found: format!("{stable} as its stable version"),
                    expected: "the one that the deployment was compared with".to_owned(),
                });
            }
        };
        let before = version.config_in(self.stage);
        let growth = Growth::between(Some((&before, theirs)), (config, own));
        if !growth.is_empty() && !self.allow_new {
            let (function, stage) = (self.function.clone(), self.stage.clone());
            return Err(ChangeError::Grows(Box::new(Grows { function, stage, stable, growth })));
        }
        let accepted = growth.texts().to_vec();
        Ok((growth, accepted))
    }

    fn aim(&self, function: &Function, version: VersionNo) -> Result<Aim, ChangeError> {
        let Function { stages, versions, .. } = function;
        let current = stages.get(self.stage);
        let leave = Aim { after: None, aborted: None };
        let Some(stage) = current else {
            let first =
                (*self.strategy != ReleaseStrategy::NoTraffic).then(|| StageState::first(version, self.salt));
            return Ok(Aim { after: first, ..leave });
        };
        if *self.strategy == ReleaseStrategy::NoTraffic {
            return Ok(leave);
        }
        let Some(rollout) = stage.moving() else {
            return Ok(Aim { after: self.place(function, stage, version)?, ..leave });
        };
        if !self.replace {
            let same = |spec: &Arc<RolloutSpec>| *spec == rollout.spec;
            if rollout.canary == version
                && matches!(self.strategy, ReleaseStrategy::Rollout(spec) if same(spec))
            {
                return Ok(leave);
            }
            return Err(ChangeError::RolloutInProgress {
                function: self.function.clone(),
                stage: self.stage.clone(),
                stable: stage.stable,
                canary: rollout.canary,
                expected: "it to be promoted or aborted first",
            });
        }
        let aborted = stage.without_rollout(versions);
        let mut after = match self.place(function, &aborted, version) {
            Ok(after) => after.unwrap_or(aborted),
            // A rollout to the stable version is not possible: the deployment only aborts the other one.
            Err(ChangeError::AlreadyStable { .. }) => aborted,
            Err(error) => return Err(error),
        };
        if let Some(begun) = &mut after.rollout {
            // Rollouts to the same version differ in when they began.
            begun.started_ms = begun.started_ms.max(rollout.started_ms.saturating_add(1));
        }
        let canary = Some(rollout.canary).filter(|&canary| canary != after.stable);
        Ok(Aim { after: Some(after), aborted: canary })
    }

    /// `stage`, which has no canary, with `version` placed in it; `None` if it is already like that.
    fn place(
        &self,
        function: &Function,
        stage: &StageState,
        version: VersionNo,
    ) -> Result<Option<StageState>, ChangeError> {
        let settled = stage.split == TrafficSplit::all(stage.stable);
        Ok(match self.strategy {
            ReleaseStrategy::NoTraffic => None,
            ReleaseStrategy::AllAtOnce if version == stage.stable && settled => None,
            ReleaseStrategy::AllAtOnce => Some(stage.moved_to(version)),
            ReleaseStrategy::Rollout(spec) if version == stage.stable => {
                if spec.plan().first() != Place::Watch {
                    return Err(ChangeError::AlreadyStable {
                        function: self.function.clone(),
                        stage: self.stage.clone(),
                        version,
                    });
                }
                (!settled).then(|| stage.all_to_stable())
            }
            ReleaseStrategy::Rollout(spec) => {
                self.check_cohorts(function, stage, spec)?;
                Some(self.begin(stage, version, spec))
            }
        })
    }

    /// Checks that the stable version has the cohorts that steps name.
    fn check_cohorts(
        &self,
        function: &Function,
        stage: &StageState,
        spec: &RolloutSpec,
    ) -> Result<(), ChangeError> {
        let stable = function.versions.get(&stage.stable).map(|version| &*version.build.config);
        let none = FunctionConfig::default();
        cohorts::check(spec.plan(), stable.unwrap_or(&none), self.config).map_err(
            |(index, problem, named)| {
                ChangeError::Cohort(Box::new(NoCohort {
                    function: self.function.clone(),
                    stage: self.stage.clone(),
                    stable: stage.stable,
                    number: index + 1,
                    step: spec.plan().steps()[index].clone(),
                    problem,
                    named,
                }))
            },
        )
    }

    /// The stage with a new rollout to `canary`.
    ///
    /// If the rollout begins with all traffic on stable, the stage gets a new salt. This moves nobody, and
    /// makes other users the first to move each time.
    fn begin(&self, stage: &StageState, canary: VersionNo, spec: &Arc<RolloutSpec>) -> StageState {
        let place = spec.plan().first();
        let rollout = Rollout {
            canary,
            base: stage.stable,
            spec: Arc::clone(spec),
            phase: Phase::start(spec.plan(), Time(self.now_ms)),
            started_ms: self.now_ms,
            from_split: stage.split.clone(),
            gate_no: 1,
            gate: None,
            past: self.past.filter(|_| place == Place::Watch),
        };
        if place == Place::Watch {
            let watched = !spec.plan().watch().is_zero();
            return StageState { rollout: watched.then(|| Box::new(rollout)), ..stage.moved_to(canary) };
        }
        let settled = stage.split == TrafficSplit::all(stage.stable);
        StageState {
            split: TrafficSplit::between(stage.stable, canary, spec.plan().share(place)),
            rollout: Some(Box::new(rollout)),
            salt: if settled { self.salt } else { stage.salt },
            ..stage.clone()
        }
    }
}

impl Function {
    /// The oldest versions without a share or a role that exceed the number to keep.
    fn surplus(&self) -> Vec<VersionNo> {
        let waiting = self.proposals.values().map(|proposal| proposal.version);
        let used: BTreeSet<_> = self.stages.values().flat_map(StageState::needed).chain(waiting).collect();
        let unused: Vec<_> =
            self.versions.keys().copied().filter(|version| !used.contains(version)).collect();
        unused[..unused.len().saturating_sub(UNREFERENCED_MAX)].to_vec()
    }
}
