//! The stored form of what stages lay over configurations.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wasm_fn_core::StageConfig;

use super::{Malformed, parse_all, texts};

/// The stored form of [`StageConfig`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredStageConfig {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
}

impl StoredStageConfig {
    /// Whether to leave it out where one is not expected.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&Arc<StageConfig>> for StoredStageConfig {
    fn from(config: &Arc<StageConfig>) -> Self {
        Self { routes: texts(&config.routes), env: config.env.clone() }
    }
}

impl TryFrom<StoredStageConfig> for Arc<StageConfig> {
    type Error = Malformed;

    fn try_from(stored: StoredStageConfig) -> Result<Self, Malformed> {
        Ok(Self::new(StageConfig { routes: parse_all(&stored.routes)?, env: stored.env }))
    }
}
