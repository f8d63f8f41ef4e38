//! The stored form of a configuration. Every value is written out, so that a new default does not change old
//! versions.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use wasm_fn_core as core;

use super::{Malformed, parse, parse_all, texts};

/// The stored form of [`core::FunctionConfig`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredConfig {
    memory_bytes: u64,
    timeout_us: u64,
    /// If absent, there is no limit, as before this setting existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    concurrency: u32,
    queue: u32,
    queue_wait_us: u64,
    reuse: u32,
    routes: Vec<String>,
    /// `token` if absent, as for versions from before this setting existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preview: Option<String>,
    sticky: String,
    cohorts: Vec<StoredCohort>,
    egress: Vec<String>,
    /// The three are today's default if absent, as for versions from before these settings existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_requests: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_timeout_us: Option<u64>,
    env: BTreeMap<String, String>,
    /// None if absent, as for versions from before this setting existed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    secrets_env: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asynchronous: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    async_ordered_by: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    buckets: BTreeMap<String, StoredBucket>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredBucket {
    bytes_max: u64,
    keys_max: u64,
    value_bytes_max: u64,
    durability: StoredDurability,
    #[serde(default, skip_serializing_if = "StoredConsistency::is_strong")]
    consistency: StoredConsistency,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredDurability {
    Committed,
    Relaxed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredConsistency {
    #[default]
    Strong,
    Eventual,
}

impl StoredConsistency {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_strong(&self) -> bool {
        *self == Self::Strong
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredCohort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    source: StoredSource,
    values: Vec<String>,
    role: StoredRole,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredSource {
    Header(String),
    Cookie(String),
    Query(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredRole {
    Stable,
    Canary,
}

/// Whole microseconds. Configurations hold at most an hour.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<&core::FunctionConfig> for StoredConfig {
    fn from(config: &core::FunctionConfig) -> Self {
        let limits = &config.limits;
        Self {
            memory_bytes: limits.memory_bytes,
            timeout_us: micros(limits.timeout),
            cpu_us: limits.cpu.map(micros),
            concurrency: limits.concurrency,
            queue: limits.queue,
            queue_wait_us: micros(limits.queue_wait),
            reuse: limits.reuse,
            routes: texts(&config.routes),
            preview: Some(config.preview)
                .filter(|&access| access != core::PreviewAccess::Token)
                .map(|access| access.to_string()),
            sticky: config.sticky.to_string(),
            cohorts: config.cohorts.iter().map(StoredCohort::from).collect(),
            egress: texts(&config.egress),
            egress_requests: Some(limits.egress.requests),
            egress_bytes: Some(limits.egress.bytes),
            egress_timeout_us: limits.egress.timeout.map(micros),
            env: config.env.clone(),
            secrets: config.secrets.iter().map(ToString::to_string).collect(),
            secrets_env: config.secrets_env,
            asynchronous: config.asynchronous,
            async_ordered_by: config.async_ordered_by.as_ref().map(ToString::to_string),
            buckets: config.buckets.iter().map(|(name, bucket)| (name.to_string(), bucket.into())).collect(),
        }
    }
}

impl TryFrom<StoredConfig> for core::FunctionConfig {
    type Error = Malformed;

    fn try_from(stored: StoredConfig) -> Result<Self, Malformed> {
        let usual = core::EgressLimits::default();
        Ok(Self {
            limits: core::Limits {
                memory_bytes: stored.memory_bytes,
                timeout: Duration::from_micros(stored.timeout_us),
                cpu: stored.cpu_us.map(Duration::from_micros),
                concurrency: stored.concurrency,
                queue: stored.queue,
                queue_wait: Duration::from_micros(stored.queue_wait_us),
                reuse: stored.reuse,
                egress: core::EgressLimits {
                    requests: stored.egress_requests.unwrap_or(usual.requests),
                    bytes: stored.egress_bytes.unwrap_or(usual.bytes),
                    timeout: stored.egress_timeout_us.map(Duration::from_micros),
                },
            },
            routes: parse_all(&stored.routes)?,
            preview: stored.preview.as_deref().map(parse).transpose()?.unwrap_or(core::PreviewAccess::Token),
            sticky: parse(&stored.sticky)?,
            cohorts: stored.cohorts.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            egress: parse_all(&stored.egress)?,
            env: stored.env,
            secrets: parse_all::<core::SecretName>(&stored.secrets)?.into_iter().collect(),
            secrets_env: stored.secrets_env,
            asynchronous: stored.asynchronous,
            async_ordered_by: stored.async_ordered_by.as_deref().map(parse).transpose()?,
            buckets: stored
                .buckets
                .into_iter()
                .map(|(name, bucket)| Ok((parse(&name)?, bucket.into())))
                .collect::<Result<_, Malformed>>()?,
        })
    }
}

impl From<&core::BucketConfig> for StoredBucket {
    fn from(config: &core::BucketConfig) -> Self {
        let &core::BucketConfig { bytes_max, keys_max, value_bytes_max, durability, consistency } = config;
        let durability = match durability {
            core::Durability::Committed => StoredDurability::Committed,
            core::Durability::Relaxed => StoredDurability::Relaxed,
        };
        let consistency = match consistency {
            core::Consistency::Strong => StoredConsistency::Strong,
            core::Consistency::Eventual => StoredConsistency::Eventual,
        };
        Self { bytes_max, keys_max, value_bytes_max, durability, consistency }
    }
}

impl From<StoredBucket> for core::BucketConfig {
    fn from(stored: StoredBucket) -> Self {
        let StoredBucket { bytes_max, keys_max, value_bytes_max, durability, consistency } = stored;
        let durability = match durability {
            StoredDurability::Committed => core::Durability::Committed,
            StoredDurability::Relaxed => core::Durability::Relaxed,
        };
        let consistency = match consistency {
            StoredConsistency::Strong => core::Consistency::Strong,
            StoredConsistency::Eventual => core::Consistency::Eventual,
        };
        Self { bytes_max, keys_max, value_bytes_max, durability, consistency }
    }
}

impl From<&core::CohortRule> for StoredCohort {
    fn from(rule: &core::CohortRule) -> Self {
        let source = match rule.condition.source.clone() {
            core::Source::Header(name) => StoredSource::Header(name),
            core::Source::Cookie(name) => StoredSource::Cookie(name),
            core::Source::Query(name) => StoredSource::Query(name),
        };
        let role = match rule.role {
            core::Role::Stable => StoredRole::Stable,
            core::Role::Canary => StoredRole::Canary,
        };
        let name = rule.name.as_ref().map(ToString::to_string);
        Self { name, source, values: rule.condition.values.clone(), role }
    }
}

impl TryFrom<StoredCohort> for core::CohortRule {
    type Error = Malformed;

    fn try_from(stored: StoredCohort) -> Result<Self, Malformed> {
        let source = match &stored.source {
            StoredSource::Header(name) => core::Source::header(name),
            StoredSource::Cookie(name) => core::Source::cookie(name),
            StoredSource::Query(name) => core::Source::query(name),
        };
        let source = source.map_err(Malformed::new)?;
        let role = match stored.role {
            StoredRole::Stable => core::Role::Stable,
            StoredRole::Canary => core::Role::Canary,
        };
        let name = stored.name.as_deref().map(parse).transpose()?;
        let condition = core::Condition::new(source, stored.values).map_err(Malformed::new)?;
        Ok(Self { name, condition, role })
    }
}
