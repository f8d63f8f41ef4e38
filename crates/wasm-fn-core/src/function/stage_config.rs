//! What a version gets from a stage, besides its own configuration.

use std::collections::BTreeMap;

use super::FunctionConfig;
use crate::Route;

/// What a stage lays over the configuration of the versions that are deployed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageConfig {
    /// Routes of the stage. If empty, the live stage has those of the version's configuration, and another
    /// stage has [`Route::default_for`].
    pub routes: Vec<Route>,
    /// Environment variables. They take precedence over those of the version's configuration.
    pub env: BTreeMap<String, String>,
}

impl StageConfig {
    /// Whether the stage lays nothing over.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.env.is_empty()
    }

    /// `config` as it is in the stage. [`FunctionConfig::check`] says whether the two fit together.
    pub fn over(&self, config: &FunctionConfig) -> FunctionConfig {
        let mut merged = config.clone();
        merged.env.extend(self.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        if !self.routes.is_empty() {
            merged.routes.clone_from(&self.routes);
        }
        merged
    }
}

#[cfg(test)]
mod tests;
