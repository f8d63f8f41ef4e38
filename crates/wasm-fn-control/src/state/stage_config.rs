//! What stages lay over the configurations of the versions that are deployed to them.
//!
//! A version is immutable, so what it has in a stage is pinned when it is deployed there, as its secrets are.
//! The same build with something else laid over it in the same stage is another version. A rollout moves
//! users to it, and a rollback brings back what was there.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use wasm_fn_core::{FunctionConfig, FunctionName, StageConfig, StageName, VersionNo};

use super::{ChangeError, Function, NotDeployedThere, StageState, State, VersionState};

impl VersionState {
    /// What `stage` lays over its configuration.
    pub fn stage_config(&self, stage: &StageName) -> Option<&Arc<StageConfig>> {
        self.stage_configs.get(stage).filter(|config| !config.is_empty())
    }

    /// Its configuration as it is in `stage`.
    pub fn config_in(&self, stage: &StageName) -> Cow<'_, FunctionConfig> {
        match self.stage_config(stage) {
            Some(config) => Cow::Owned(config.over(&self.build.config)),
            None => Cow::Borrowed(&self.build.config),
        }
    }
}

impl Function {
    /// The environment variables that `stage` lays over those of version `no`.
    pub(crate) fn stage_env(&self, stage: &StageName, no: VersionNo) -> BTreeMap<String, String> {
        let config = self.versions.get(&no).and_then(|version| version.stage_config(stage));
        config.map(|config| config.env.clone()).unwrap_or_default()
    }

    /// What `stage` lays over the configuration of its stable version.
    pub(super) fn stable_stage_config(&self, stage: &StageName) -> Option<&Arc<StageConfig>> {
        self.versions.get(&self.stages.get(stage)?.stable)?.stage_config(stage)
    }

    /// The stages that have traffic, or that a version was deployed to.
    pub(super) fn named_stages(&self) -> BTreeSet<&StageName> {
        let deployed_to = self.versions.values().flat_map(|version| version.stage_configs.keys());
        self.stages.keys().chain(deployed_to).collect()
    }

    /// Pins what `stage` lays over the configuration of version `no`, unless that was pinned before.
    pub(super) fn put_in_stage(&mut self, stage: &StageName, no: VersionNo, config: &Arc<StageConfig>) {
        if let Some(version) = self.version_mut(no) {
            version.stage_configs.entry(stage.clone()).or_insert_with(|| Arc::clone(config));
        }
    }

    /// Does for all stages what [`note_stage`](Self::note_stage) does for one that changes. Functions need it
    /// that were stored before stages had configurations.
    pub(crate) fn note_stages(&mut self) {
        for (stage, state) in self.stages.clone() {
            self.note_stage(&stage, &state);
        }
    }

    /// Pins that `stage` lays nothing over the versions in `after` that were not deployed there. Later, they
    /// can get nothing else.
    pub(super) fn note_stage(&mut self, stage: &StageName, after: &StageState) {
        for no in after.needed() {
            self.put_in_stage(stage, no, &Arc::default());
        }
    }
}

impl State {
    /// Checks that version `no` may get traffic in `stage` without a deployment: it was deployed there, or
    /// the stage lays nothing over stable.
    pub(super) fn check_deployed_there(
        &self,
        name: &FunctionName,
        stage: &StageName,
        no: VersionNo,
    ) -> Result<(), ChangeError> {
        let function = self.function(name)?;
        let is_pinned =
            function.versions.get(&no).is_none_or(|version| version.stage_configs.contains_key(stage));
        match (function.stages.get(stage), function.stable_stage_config(stage)) {
            (Some(current), Some(_)) if !is_pinned => {
                Err(ChangeError::NotDeployedThere(Box::new(NotDeployedThere {
                    function: name.clone(),
                    stage: stage.clone(),
                    version: no,
                    stable: current.stable,
                })))
            }
            _ => Ok(()),
        }
    }
}
