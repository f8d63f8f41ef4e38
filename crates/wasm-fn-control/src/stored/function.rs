//! The stored form of functions: their versions, builds and stages.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use wasm_fn_core::{self as core, FunctionConfig, StageName, VersionNo};
use wasm_fn_router::Salt;

use super::{
    Malformed, StoredConfig,
    approval::StoredProposal,
    parse, parse_all,
    provenance::StoredProvenance,
    rollout::{StoredEndedRollout, StoredRollout},
    secrets::{self, StoredPins, StoredSecrets},
    split::StoredSplit,
    stage_config::StoredStageConfig,
    texts,
    trigger::StoredTriggers,
};
use crate::state;

/// The stored form of [`state::Function`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredFunction {
    /// 0 if it was not stored; the journal tells it then.
    #[serde(default)]
    revision: u64,
    next_version: String,
    versions: BTreeMap<String, StoredVersion>,
    stages: BTreeMap<String, StoredStage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ended: BTreeMap<String, StoredEndedRollout>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    proposals: BTreeMap<String, StoredProposal>,
    #[serde(default, skip_serializing_if = "StoredSecrets::is_default")]
    secrets: StoredSecrets,
    #[serde(default, skip_serializing_if = "StoredTriggers::is_empty")]
    triggers: StoredTriggers,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredVersion {
    build: StoredBuild,
    created_ms: u64,
    created_by: String,
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<Box<StoredProvenance>>,
    verdict: Option<StoredVerdict>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, StoredPins>,
    /// By stage, also where it is empty: the version had a part in that stage, or was deployed there. If
    /// absent, as before stages had configurations, the stages that name the version tell it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    stage_configs: BTreeMap<String, StoredStageConfig>,
}

/// The stored form of [`state::Build`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredBuild {
    digest: String,
    kind: String,
    config: StoredConfig,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredVerdict {
    fate: StoredFate,
    stage: String,
    at_ms: u64,
    reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredFate {
    Aborted,
    RolledBack,
}

/// The stored form of [`state::StageState`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredStage {
    split: StoredSplit,
    stable: String,
    previous: Vec<String>,
    rollout: Option<StoredRollout>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep: Option<StoredKeep>,
    salt: String,
}

/// The stored form of [`state::Keep`].
#[derive(Debug, Serialize, Deserialize)]
struct StoredKeep {
    version: String,
    until_ms: u64,
}

impl From<&state::StageState> for StoredStage {
    fn from(stage: &state::StageState) -> Self {
        let Salt([low, high]) = stage.salt;
        Self {
            split: (&stage.split).into(),
            stable: stage.stable.to_string(),
            previous: texts(&stage.previous),
            rollout: stage.rollout.as_deref().map(StoredRollout::from),
            keep: stage
                .keep
                .map(|keep| StoredKeep { version: keep.version.to_string(), until_ms: keep.until_ms }),
            salt: format!("{low:016x}{high:016x}"),
        }
    }
}

impl TryFrom<StoredStage> for state::StageState {
    type Error = Malformed;

    fn try_from(stored: StoredStage) -> Result<Self, Malformed> {
        let bad_salt = || Malformed(format!("salt {:?}, expected 32 hexadecimal digits", stored.salt));
        let half = |range| {
            let digits: Option<&str> = stored.salt.get(range);
            digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(bad_salt)
        };
        let rollout: Option<state::Rollout> = stored.rollout.map(TryInto::try_into).transpose()?;
        let keep = match stored.keep {
            Some(StoredKeep { version, until_ms }) => {
                Some(state::Keep { version: parse(&version)?, until_ms })
            }
            // If it was not stored, the watch of a blue-green rollout implies it.
            None => rollout.as_ref().and_then(state::Rollout::kept_since_its_switch),
        };
        Ok(Self {
            salt: Salt([half(0..16)?, half(16..32)?]),
            split: stored.split.try_into()?,
            stable: parse(&stored.stable)?,
            previous: parse_all(&stored.previous)?,
            rollout: rollout.map(Box::new),
            keep,
        })
    }
}

impl From<&state::Build> for StoredBuild {
    fn from(build: &state::Build) -> Self {
        Self {
            digest: build.digest.to_string(),
            kind: build.kind.clone(),
            config: StoredConfig::from(&*build.config),
        }
    }
}

impl TryFrom<StoredBuild> for state::Build {
    type Error = Malformed;

    fn try_from(stored: StoredBuild) -> Result<Self, Malformed> {
        let config = FunctionConfig::try_from(stored.config)?;
        Ok(Self { digest: parse(&stored.digest)?, kind: stored.kind, config: Arc::new(config) })
    }
}

impl From<&state::VersionVerdict> for StoredVerdict {
    fn from(verdict: &state::VersionVerdict) -> Self {
        let fate = match verdict.fate {
            state::Fate::Aborted => StoredFate::Aborted,
            state::Fate::RolledBack => StoredFate::RolledBack,
        };
        let (stage, reason) = (verdict.stage.to_string(), verdict.reason.clone());
        Self { fate, stage, at_ms: verdict.at_ms, reason }
    }
}

impl TryFrom<StoredVerdict> for state::VersionVerdict {
    type Error = Malformed;

    fn try_from(stored: StoredVerdict) -> Result<Self, Malformed> {
        let fate = match stored.fate {
            StoredFate::Aborted => state::Fate::Aborted,
            StoredFate::RolledBack => state::Fate::RolledBack,
        };
        Ok(Self { fate, stage: parse(&stored.stage)?, at_ms: stored.at_ms, reason: stored.reason })
    }
}

impl From<&state::VersionState> for StoredVersion {
    fn from(version: &state::VersionState) -> Self {
        Self {
            build: (&version.build).into(),
            created_ms: version.created_ms,
            created_by: version.created_by.clone(),
            message: version.message.clone(),
            provenance: version.provenance.as_deref().map(|provenance| Box::new(provenance.into())),
            verdict: version.verdict.as_ref().map(StoredVerdict::from),
            secrets: version
                .secrets
                .iter()
                .map(|(stage, pins)| (stage.to_string(), secrets::stored_pins(pins)))
                .collect(),
            stage_configs: version
                .stage_configs
                .iter()
                .map(|(stage, config)| (stage.to_string(), config.into()))
                .collect(),
        }
    }
}

impl TryFrom<StoredVersion> for state::VersionState {
    type Error = Malformed;

    fn try_from(stored: StoredVersion) -> Result<Self, Malformed> {
        let pins = stored.secrets.iter().map(|(stage, pins)| Ok((parse(stage)?, secrets::pins(pins)?)));
        let configs = stored.stage_configs.into_iter();
        let configs = configs.map(|(stage, config)| Ok((parse(&stage)?, config.try_into()?)));
        Ok(Self {
            secrets: pins.collect::<Result<_, Malformed>>()?,
            stage_configs: configs.collect::<Result<_, Malformed>>()?,
            build: stored.build.try_into()?,
            created_ms: stored.created_ms,
            created_by: stored.created_by,
            message: stored.message,
            provenance: stored.provenance.map(|found| (*found).try_into().map(Box::new)).transpose()?,
            verdict: stored.verdict.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&state::Function> for StoredFunction {
    fn from(function: &state::Function) -> Self {
        Self {
            revision: function.revision.0,
            next_version: function.next_version.to_string(),
            versions: function
                .versions
                .iter()
                .map(|(no, version)| (no.to_string(), (&**version).into()))
                .collect(),
            stages: function.stages.iter().map(|(name, stage)| (name.to_string(), stage.into())).collect(),
            ended: function.ended.iter().map(|(name, ended)| (name.to_string(), ended.into())).collect(),
            proposals: function
                .proposals
                .iter()
                .map(|(name, proposal)| (name.to_string(), proposal.into()))
                .collect(),
            secrets: (&function.secrets).into(),
            triggers: (&function.triggers).into(),
        }
    }
}

impl TryFrom<StoredFunction> for state::Function {
    type Error = Malformed;

    /// Also checks that stages name only existing versions, which all other code relies on.
    fn try_from(stored: StoredFunction) -> Result<Self, Malformed> {
        let versions: BTreeMap<VersionNo, Arc<state::VersionState>> = stored
            .versions
            .into_iter()
            .map(|(no, version)| Ok((parse(&no)?, Arc::new(version.try_into()?))))
            .collect::<Result<_, Malformed>>()?;
        let stages: BTreeMap<StageName, state::StageState> = stored
            .stages
            .into_iter()
            .map(|(name, stage)| Ok((parse(&name)?, stage.try_into()?)))
            .collect::<Result<_, Malformed>>()?;
        for (name, stage) in &stages {
            if let Some(missing) = stage.references().find(|version| !versions.contains_key(version)) {
                return Err(Malformed(format!("stage `{name}` names {missing}, which does not exist")));
            }
        }
        let ended = stored.ended.into_iter().map(|(name, ended)| Ok((parse(&name)?, ended.try_into()?)));
        let ended = ended.collect::<Result<_, Malformed>>()?;
        let proposals: BTreeMap<StageName, state::Proposal> = stored
            .proposals
            .into_iter()
            .map(|(name, proposal)| Ok((parse(&name)?, proposal.try_into()?)))
            .collect::<Result<_, Malformed>>()?;
        let (revision, next_version) = (core::Revision(stored.revision), parse(&stored.next_version)?);
        let (secrets, triggers) = (stored.secrets.try_into()?, stored.triggers.try_into()?);
        let mut function =
            Self { revision, next_version, versions, stages, ended, proposals, secrets, triggers };
        function.note_stages();
        Ok(function)
    }
}
