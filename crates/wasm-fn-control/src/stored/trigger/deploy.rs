//! The stored form of what triggers deploy, and how.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wasm_fn_events::{PushDeploy, PushDeployOptions, WatchSource};

use super::{super::rollout::StoredSpec, Malformed, ms, parse, parse_all, texts};
use crate::state;

/// The stored form of [`PushDeploy`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredPushDeploy {
    artifact: String,
    on: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    branches: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
}

/// The stored form of [`WatchSource`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredWatch {
    artifact: String,
    every_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<String>,
}

/// The stored form of [`state::TriggerRelease`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredRelease {
    strategy: StoredReleaseStrategy,
    replace: bool,
    allow_new: bool,
    may_move_traffic: bool,
}

/// The stored form of [`state::ReleaseStrategy`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredReleaseStrategy {
    AllAtOnce,
    NoTraffic,
    Rollout(Box<StoredSpec>),
}

impl From<&PushDeploy> for StoredPushDeploy {
    fn from(deploy: &PushDeploy) -> Self {
        let PushDeployOptions { artifact, on, branches, tags, credentials } = deploy.options();
        Self {
            artifact: artifact.to_string(),
            on: texts(on),
            branches: texts(branches),
            tags: texts(tags),
            credentials: credentials.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<StoredPushDeploy> for PushDeploy {
    type Error = Malformed;

    fn try_from(stored: StoredPushDeploy) -> Result<Self, Malformed> {
        Self::new(PushDeployOptions {
            artifact: parse(&stored.artifact)?,
            on: parse_all(&stored.on)?,
            branches: parse_all(&stored.branches)?,
            tags: parse_all(&stored.tags)?,
            credentials: stored.credentials.as_deref().map(parse).transpose()?,
        })
        .map_err(Malformed::new)
    }
}

impl From<&WatchSource> for StoredWatch {
    fn from(watch: &WatchSource) -> Self {
        Self {
            artifact: watch.artifact().to_owned(),
            every_ms: ms(watch.every()),
            credentials: watch.credentials().map(ToString::to_string),
        }
    }
}

impl TryFrom<StoredWatch> for WatchSource {
    type Error = Malformed;

    fn try_from(stored: StoredWatch) -> Result<Self, Malformed> {
        let (artifact, every) = (parse(&stored.artifact)?, Duration::from_millis(stored.every_ms));
        let credentials = stored.credentials.as_deref().map(parse).transpose()?;
        Self::new(artifact, every, credentials).map_err(Malformed::new)
    }
}

impl From<&state::TriggerRelease> for StoredRelease {
    fn from(release: &state::TriggerRelease) -> Self {
        let state::TriggerRelease { strategy, replace, allow_new, may_move_traffic } = release;
        let strategy = match strategy {
            state::ReleaseStrategy::AllAtOnce => StoredReleaseStrategy::AllAtOnce,
            state::ReleaseStrategy::NoTraffic => StoredReleaseStrategy::NoTraffic,
            state::ReleaseStrategy::Rollout(spec) => {
                StoredReleaseStrategy::Rollout(Box::new((&**spec).into()))
            }
        };
        let (replace, allow_new, may_move_traffic) = (*replace, *allow_new, *may_move_traffic);
        Self { strategy, replace, allow_new, may_move_traffic }
    }
}

impl TryFrom<StoredRelease> for state::TriggerRelease {
    type Error = Malformed;

    fn try_from(stored: StoredRelease) -> Result<Self, Malformed> {
        let StoredRelease { strategy, replace, allow_new, may_move_traffic } = stored;
        let strategy = match strategy {
            StoredReleaseStrategy::AllAtOnce => state::ReleaseStrategy::AllAtOnce,
            StoredReleaseStrategy::NoTraffic => state::ReleaseStrategy::NoTraffic,
            StoredReleaseStrategy::Rollout(spec) => {
                state::ReleaseStrategy::Rollout(Arc::new((*spec).try_into()?))
            }
        };
        Ok(Self { strategy, replace, allow_new, may_move_traffic })
    }
}
