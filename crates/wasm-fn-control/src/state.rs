//! The decided state: functions, their versions, their stages; tokens.
//!
//! Pure. One of the `plan_*` functions plans a mutation as a [`Change`] and makes all decisions;
//! [`State::apply`] carries it out and decides nothing, because a change contains its own outcome. Replaying
//! the changes of the journal therefore gives the same state, even if the rules have changed since.

mod advance;
mod approval;
mod change;
mod check;
mod claims;
mod cohorts;
mod deploy;
mod error;
pub(crate) mod functions;
mod growth;
mod proposal;
mod provenance;
mod rollout;
mod secrets;
mod spec;
mod stage_config;
mod tokens;
mod traffic;
mod triggers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use wasm_fn_access::Tokens;
use wasm_fn_core::{
    Digest, FunctionConfig, FunctionName, Revision, Route, StageConfig, StageName, TrafficSplit, VersionNo,
    VersionRef, Weight,
};
use wasm_fn_rollout::Time;
use wasm_fn_router::Salt;
use wasm_fn_secrets::SealedDataKey;

pub use advance::{Facts, effective};
pub use approval::Approve;
pub use change::{
    AccessChange, Action, Advance, Build, Change, EventsOperation, FunctionChange, Meta, Refusals,
    TriggerChange, ValueOperation,
};
pub use check::{Check, CheckError, CheckText, Mismatch};
pub use cohorts::{CohortProblem, NoCohort};
pub use deploy::{DeployPlan, Deployment};
pub use error::{ChangeError, Grows, NotDeployedThere, SecretsProblem, SecretsProblemKind};
use functions::Functions;
pub use growth::{Growth, Imports};
pub use proposal::{Approval, NoApproval, Proposal, StageRule, StageRules};
pub use provenance::Provenance;
pub use rollout::{EndedRollout, Rollout, RolloutId, RolloutOutcome, SeenRollout, StageKey};
pub use secrets::{FunctionSecrets, NewSecret, ResealedValue, Secret, SecretEntry, SecretPins};
use spec::KEEP_MAX;
pub use spec::{RolloutSpec, SpecError};
pub use tokens::NewToken;
pub use triggers::{FunctionTriggers, TriggerRelease, TriggerState};

/// How many earlier stable versions a stage remembers.
const PREVIOUS_MAX: usize = 20;

/// Everything that the control plane has decided, at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(crate) revision: Revision,
    functions: Functions,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) data_keys: Arc<Vec<SealedDataKey>>,
}

/// One function. A function without versions is a tombstone, which keeps its numbers from being reused, or
/// it has secrets and was not deployed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// The revision of its last change.
    pub revision: Revision,
    /// The number of the next version.
    pub next_version: VersionNo,
    /// Its versions.
    pub versions: BTreeMap<VersionNo, Arc<VersionState>>,
    /// Its stages that have had traffic.
    pub stages: BTreeMap<StageName, StageState>,
    /// The last ended rollout of each stage, or a rollback after it.
    pub ended: BTreeMap<StageName, EndedRollout>,
    /// The releases that wait for approval, by stage.
    pub proposals: BTreeMap<StageName, Proposal>,
    /// Its secrets, in stages with and without traffic.
    pub secrets: FunctionSecrets,
    /// Its triggers.
    pub triggers: FunctionTriggers,
}

/// One immutable build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionState {
    /// The build of the version.
    pub build: Build,
    /// When it was created, Unix milliseconds.
    pub created_ms: u64,
    /// The name of the token that created it.
    pub created_by: String,
    /// The message of its deployment.
    pub message: Option<String>,
    /// Where its component comes from, if not from a file.
    pub provenance: Option<Box<Provenance>>,
    /// How its last time with traffic ended, if that deserves a warning.
    pub verdict: Option<VersionVerdict>,
    /// Its secrets in each stage that it was deployed to; those of a stage never change.
    pub secrets: BTreeMap<StageName, SecretPins>,
    /// What each stage that it was deployed to, or had a part in, lays over its configuration; what a stage
    /// lays over it never changes.
    pub stage_configs: BTreeMap<StageName, Arc<StageConfig>>,
}

/// How a version ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionVerdict {
    /// How it ended.
    pub fate: Fate,
    /// The stage where it ended.
    pub stage: StageName,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Why it ended.
    pub reason: Option<String>,
}

/// How a version lost its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was a canary, and its rollout was aborted.
    Aborted,
    /// It was stable, and it was rolled back.
    RolledBack,
}

/// One stage with traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct StageState {
    /// The shares of its versions.
    pub split: TrafficSplit,
    /// The version that the stage falls back on. Its configuration, with what the stage lays over it, gives
    /// the stage its routes and cohorts.
    pub stable: VersionNo,
    /// Earlier stable versions, newest last, each of them once, at most 20.
    pub previous: Vec<VersionNo>,
    /// The rollout under way, which few stages have at a time.
    pub rollout: Option<Box<Rollout>>,
    /// The version that a blue-green switch left and that stays ready.
    pub keep: Option<Keep>,
    /// Determines where sticky keys fall.
    pub salt: Salt,
}

/// A version without traffic that stays ready for a while, so that switching back to it is as fast.
///
/// Nothing removes it from the state when its time is over; after that it has no effect. The version may have
/// been deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The version.
    pub version: VersionNo,
    /// When its time is over, Unix milliseconds.
    pub until_ms: u64,
}

/// How a deployment gets its traffic.
#[derive(Clone, Debug, PartialEq)]
pub enum ReleaseStrategy {
    /// All traffic at once, without a watch.
    AllAtOnce,
    /// No traffic.
    NoTraffic,
    /// Through a rollout.
    Rollout(Arc<RolloutSpec>),
}

impl State {
    /// A state as read from the store.
    pub fn new(
        revision: Revision,
        functions: BTreeMap<FunctionName, Arc<Function>>,
        tokens: Arc<Tokens>,
        data_keys: Arc<Vec<SealedDataKey>>,
    ) -> Self {
        Self { revision, functions: functions.into_iter().collect(), tokens, data_keys }
    }

    /// The revision of the state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The functions that are not deleted, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&FunctionName, &Arc<Function>)> {
        self.functions.iter().filter(|(_, function)| !function.versions.is_empty())
    }

    /// The tokens of people and programs, besides the one in the data directory.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// The function called `name`, unless it is deleted.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchFunction`].
    pub fn function(&self, name: &FunctionName) -> Result<&Arc<Function>, ChangeError> {
        let found = self.functions.get(name).filter(|function| !function.versions.is_empty());
        found.ok_or_else(|| ChangeError::NoSuchFunction(name.clone()))
    }

    /// The function called `name`, even if it is a tombstone.
    pub fn stored_function(&self, name: &FunctionName) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// Carries `change` out. Never fails: it skips whatever `change` names but the state does not have.
    pub fn apply(&mut self, change: &Change, meta: &Meta<'_>) {
        match change {
            Change::Function(change) if change.action.is_record() => {}
            Change::Function(change) => {
                let before = self.functions.get(&change.function);
                let mut function = before.map(|before| Function::clone(before)).unwrap_or_default();
                function.apply(&change.action, meta);
                function.revision = meta.revision;
                self.functions.put(&change.function, Arc::new(function));
            }
            Change::Access(change) => self.apply_access(change),
        }
        self.revision = meta.revision;
    }

    /// The version that `asked` means in `stage` of `function`.
    ///
    /// # Errors
    /// If there is no such function or version, or if `asked` is a role and the stage has no traffic.
    pub fn resolve(
        &self,
        function: &FunctionName,
        stage: &StageName,
        asked: VersionRef,
    ) -> Result<VersionNo, ChangeError> {
        let versions = self.function(function)?;
        let roles = versions.stages.get(stage);
        let found = match asked {
            VersionRef::No(no) => versions.versions.contains_key(&no).then_some(no),
            VersionRef::Latest => versions.latest(),
            VersionRef::Stable => roles.map(|roles| roles.stable),
            VersionRef::Canary => roles.and_then(StageState::canary),
            VersionRef::Previous => roles.and_then(StageState::newest_previous),
        };
        found.ok_or_else(|| ChangeError::NoSuchVersion {
            function: function.clone(),
            stage: stage.clone(),
            asked,
        })
    }

    /// The rollout at `key`.
    pub fn rollout(&self, (function, stage): &StageKey) -> Option<&Rollout> {
        self.functions.get(function)?.stages.get(stage)?.rollout.as_deref()
    }

    fn stage(&self, function: &FunctionName, stage: &StageName) -> Result<&StageState, ChangeError> {
        let found = self.function(function)?.stages.get(stage);
        found.ok_or_else(|| ChangeError::NoSuchStage { function: function.clone(), stage: stage.clone() })
    }
}

impl Default for Function {
    fn default() -> Self {
        Self {
            revision: Revision::default(),
            next_version: VersionNo::FIRST,
            versions: BTreeMap::new(),
            stages: BTreeMap::new(),
            ended: BTreeMap::new(),
            proposals: BTreeMap::new(),
            secrets: FunctionSecrets::default(),
            triggers: FunctionTriggers::new(),
        }
    }
}

impl Function {
    /// The version with the highest number; `None` for a tombstone.
    pub fn latest(&self) -> Option<VersionNo> {
        self.versions.keys().next_back().copied()
    }

    /// The routes of `stage` if `stable` is its stable version: those that the stage lays over its
    /// configuration, or else, in the live stage, those of the configuration, or else the default route.
    pub fn routes(&self, name: &FunctionName, stage: &StageName, stable: VersionNo) -> Vec<Route> {
        match self.configured_routes(stage, stable) {
            [] => vec![Route::default_for(name, stage)],
            routes => routes.to_vec(),
        }
    }

    /// The [`routes`](Self::routes), without the default.
    fn configured_routes(&self, stage: &StageName, stable: VersionNo) -> &[Route] {
        let Some(version) = self.versions.get(&stable) else { return &[] };
        match version.stage_configs.get(stage) {
            Some(config) if !config.routes.is_empty() => &config.routes,
            _ if stage.is_live() => &version.build.config.routes,
            _ => &[],
        }
    }

    /// The newest version with this component and configuration that has these `secrets` and this
    /// `stage_config` in `stage`, or was not deployed there yet and can get them.
    fn like(
        &self,
        digest: Digest,
        config: &FunctionConfig,
        stage: &StageName,
        secrets: &SecretPins,
        stage_config: &StageConfig,
    ) -> Option<VersionNo> {
        let same = |version: &VersionState| {
            version.build.digest == digest
                && *version.build.config == *config
                && version.secrets.get(stage).is_none_or(|pins| pins == secrets)
                && version.stage_configs.get(stage).is_none_or(|config| **config == *stage_config)
        };
        self.versions.iter().rev().find(|(_, version)| same(version)).map(|(&no, _)| no)
    }

    fn apply(&mut self, action: &Action, meta: &Meta<'_>) {
        if let (Some(stage), Some(after)) = (action.stage(), action.after())
            && let Some(ended) = rollout::ended(self.stages.get(stage), after, action, meta)
        {
            self.ended.insert(stage.clone(), ended);
        }
        // The person's message, or else the reason in the numbers.
        let reason = || {
            let report = action.report().map(|report| report.reason.as_str());
            meta.message.or(report).map(str::to_owned)
        };
        match action {
            Action::Deploy {
                stage, version, made, after, aborted, dropped, secrets, stage_config, ..
            } => {
                if let Some(build) = made {
                    self.insert(*version, build.clone(), action.provenance(), meta);
                }
                if let Some(version) = self.version_mut(*version).filter(|_| !secrets.is_empty()) {
                    version.secrets.insert(stage.clone(), secrets.clone());
                }
                self.put_in_stage(stage, *version, stage_config);
                if let Some(after) = after {
                    self.settle(stage, after);
                }
                if let Some(canary) = aborted {
                    let reason = Some(Action::replaced_by(*version, *canary));
                    self.condemn(*canary, Fate::Aborted, stage, reason, meta);
                }
                for version in dropped {
                    self.versions.remove(version);
                }
            }
            Action::Traffic { stage, after }
            | Action::Promote { stage, after, .. }
            | Action::Advance { stage, after, .. } => {
                self.settle(stage, after);
            }
            Action::Abort { stage, version, after, .. } => {
                self.settle(stage, after);
                self.condemn(*version, Fate::Aborted, stage, reason(), meta);
            }
            Action::Rollback { stage, version: _, left, aborted, after, .. } => {
                self.settle(stage, after);
                if let Some(left) = left {
                    self.condemn(*left, Fate::RolledBack, stage, reason(), meta);
                }
                if let Some(canary) = aborted {
                    self.condemn(*canary, Fate::Aborted, stage, reason(), meta);
                }
            }
            Action::Propose { stage, version, made, dropped, secrets, stage_config, proposal, .. } => {
                if let Some(build) = made {
                    self.insert(*version, build.clone(), action.provenance(), meta);
                }
                if let Some(version) = self.version_mut(*version).filter(|_| !secrets.is_empty()) {
                    version.secrets.insert(stage.clone(), secrets.clone());
                }
                self.put_in_stage(stage, *version, stage_config);
                self.propose(stage, proposal);
                for version in dropped {
                    self.versions.remove(version);
                }
            }
            Action::Approve { stage, version, approval, begins, aborted, after } => {
                self.approve(stage, approval, *begins);
                if let Some(after) = after {
                    self.settle(stage, after);
                }
                if let Some(canary) = aborted {
                    let reason = Some(Action::replaced_by(*version, *canary));
                    self.condemn(*canary, Fate::Aborted, stage, reason, meta);
                }
            }
            Action::Reject { stage, .. } => {
                self.proposals.remove(stage);
            }
            Action::DeleteStage { stage } => {
                self.stages.remove(stage);
                self.ended.remove(stage);
                self.proposals.remove(stage);
                self.secrets.remove_stage(stage);
                self.remove_triggers(stage);
                for version in self.versions.values_mut().map(Arc::make_mut) {
                    version.secrets.remove(stage);
                    version.stage_configs.remove(stage);
                }
            }
            Action::SetSecrets { .. } | Action::DeleteSecret { .. } | Action::ResealSecrets { .. } => {
                self.apply_secrets(action, meta);
            }
            Action::SetTrigger { stage, name, trigger, hook, release, change } => {
                self.set_trigger((stage.clone(), name.clone()), (trigger, hook, release), *change, meta);
            }
            Action::RemoveTrigger { stage, name } => {
                self.triggers.remove(&(stage.clone(), name.clone()));
            }
            // The inbox or a bucket has changed, and nothing here.
            Action::OperateEvents { .. } | Action::ChangeValue { .. } => {}
            Action::Delete => {
                self.triggers.clear();
                self.proposals.clear();
                self.versions.clear();
                self.stages.clear();
                self.ended.clear();
                self.secrets.clear();
            }
        }
    }

    fn insert(&mut self, no: VersionNo, build: Build, from: Option<&Provenance>, meta: &Meta<'_>) {
        let version = VersionState {
            build,
            created_ms: meta.at_ms,
            created_by: meta.actor.to_owned(),
            message: meta.message.map(str::to_owned),
            provenance: from.cloned().map(Box::new),
            verdict: None,
            secrets: BTreeMap::new(),
            stage_configs: BTreeMap::new(),
        };
        self.versions.insert(no, Arc::new(version));
        // The last possible number is never used, so there is always a next one.
        self.next_version = self.next_version.max(no.next().unwrap_or(no));
    }

    fn version_mut(&mut self, no: VersionNo) -> Option<&mut VersionState> {
        self.versions.get_mut(&no).map(Arc::make_mut)
    }

    /// Replaces the state of `stage` with `after`. A version that becomes stable loses its verdict.
    fn settle(&mut self, stage: &StageName, after: &StageState) {
        self.note_stage(stage, after);
        let before = self.stages.insert(stage.clone(), after.clone());
        if before.is_none_or(|before| before.stable != after.stable)
            && let Some(version) = self.version_mut(after.stable)
        {
            version.verdict = None;
        }
    }

    fn condemn(
        &mut self,
        no: VersionNo,
        fate: Fate,
        stage: &StageName,
        reason: Option<String>,
        meta: &Meta<'_>,
    ) {
        if let Some(version) = self.version_mut(no) {
            version.verdict = Some(VersionVerdict { fate, stage: stage.clone(), at_ms: meta.at_ms, reason });
        }
    }
}

impl StageState {
    /// A stage whose first version is `version`.
    pub fn first(version: VersionNo, salt: Salt) -> Self {
        let split = TrafficSplit::all(version);
        Self { split, stable: version, previous: Vec::new(), rollout: None, keep: None, salt }
    }

    /// The version that a rollout moves to; `None` once everybody is on it, because then it is stable.
    pub fn canary(&self) -> Option<VersionNo> {
        self.moving().map(|rollout| rollout.canary)
    }

    /// The rollout under way, unless everybody is already on the new version.
    pub fn moving(&self) -> Option<&Rollout> {
        self.rollout.as_deref().filter(|rollout| !rollout.is_watch())
    }

    /// The version that a rollback goes to.
    pub fn newest_previous(&self) -> Option<VersionNo> {
        self.previous.last().copied()
    }

    /// Every version that the stage names; some may repeat.
    pub fn references(&self) -> impl Iterator<Item = VersionNo> {
        let split = self.split.shares().iter().map(|&(version, _)| version);
        let rollout = self.rollout.iter().flat_map(|rollout| [rollout.canary, rollout.base]);
        split.chain([self.stable]).chain(rollout).chain(self.previous.iter().copied())
    }

    /// Every version that planning may name again; some may repeat. These are the
    /// [`references`](Self::references), and the versions that an abort of the rollout goes back to.
    fn needed(&self) -> impl Iterator<Item = VersionNo> {
        let before = self.rollout.iter().flat_map(|rollout| rollout.from_split.shares());
        self.references().chain(before.map(|&(version, _)| version))
    }

    /// The stage with the split from before the rollout, and without the rollout.
    ///
    /// Stable gets the share that the canary had by hand, and the shares of versions that are no longer among
    /// `versions`.
    fn without_rollout(&self, versions: &BTreeMap<VersionNo, Arc<VersionState>>) -> Self {
        let Some(rollout) = &self.rollout else { return self.clone() };
        let stays = |version: VersionNo| {
            version != rollout.canary && version != self.stable && versions.contains_key(&version)
        };
        let before = rollout.from_split.shares().iter().copied();
        let others: Vec<_> = before.filter(|&(version, _)| stays(version)).collect();
        let of_others: u16 = others.iter().map(|(_, weight)| weight.basis_points()).sum();
        let of_stable =
            Weight::FULL.basis_points().checked_sub(of_others).and_then(Weight::from_basis_points);
        let of_stable = of_stable.filter(|&weight| weight > Weight::ZERO);
        let shares = others.into_iter().chain(of_stable.map(|weight| (self.stable, weight)));
        let split = TrafficSplit::new(shares).unwrap_or_else(|_| TrafficSplit::all(self.stable));
        Self { split, rollout: None, ..self.clone() }
    }

    /// The stage with all traffic on stable, and without a rollout.
    fn all_to_stable(&self) -> Self {
        Self { split: TrafficSplit::all(self.stable), rollout: None, ..self.clone() }
    }

    /// The stage with all traffic on `version`, which becomes stable. The old stable version becomes the
    /// newest previous one.
    fn moved_to(&self, version: VersionNo) -> Self {
        let mut after = Self { split: TrafficSplit::all(version), rollout: None, ..self.clone() };
        after.make_stable(version);
        after
    }

    /// The stage with all traffic on `version`. Versions that were stable after it are no longer previous
    /// ones.
    fn back_at(&self, version: VersionNo) -> Self {
        let mut after = self.moved_to(version);
        if let Some(at) = self.previous.iter().position(|&previous| previous == version) {
            after.previous = self.previous[..at].to_vec();
        }
        after
    }

    fn make_stable(&mut self, version: VersionNo) {
        if version == self.stable {
            return;
        }
        self.previous.retain(|&previous| previous != version && previous != self.stable);
        self.previous.push(self.stable);
        let surplus = self.previous.len().saturating_sub(PREVIOUS_MAX);
        self.previous.drain(..surplus);
        self.stable = version;
        self.keep = self.keep.filter(|keep| keep.version != version);
    }
}

impl Keep {
    /// The time left at `now`; `None` if it is over. Even if the clock was set back, it is at most the
    /// longest time allowed.
    pub fn left(self, now: Time) -> Option<Duration> {
        let left = Time(self.until_ms).since(now).min(KEEP_MAX);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests;
