//! A function's configuration as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wasm_fn_core as core;

use crate::words::{
    BucketText, CohortText, EgressText, HeaderText, PreviewAccessWord, RouteText, SecretNameText, StickyText,
};

/// The configuration of a function. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigSpec {
    /// Linear memory of one instance, 64 KiB to 4 GiB; 128 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 65536, maximum = 4294967296_i64)]
    pub memory_bytes: Option<u64>,
    /// Wall-clock time of one invocation, 1 ms to 1 h; 10 s if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600000)]
    pub timeout_ms: Option<u64>,
    /// CPU time of one invocation, 1 ms to 1 h; no limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600000)]
    pub cpu_ms: Option<u64>,
    /// How many invocations may run at once, 1 to 100,000; 1,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub concurrency: Option<u32>,
    /// How many requests may wait, 0 to 100,000; 1,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100000)]
    pub queue: Option<u32>,
    /// How long a request may wait, 0 to 60 s; 1 s if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 60000)]
    pub queue_wait_ms: Option<u64>,
    /// How many requests one instance may serve; 1 (a fresh instance for each request) if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub reuse: Option<u32>,
    /// Routes of the live stage, `[host]/path` or `[host]/path/*`; `/<function>/*` if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RouteText>)]
    pub routes: Vec<String>,
    /// Who may use the addresses of the function's versions: `open`, `token` or `off`; `token` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PreviewAccessWord>)]
    pub preview: Option<String>,
    /// What keeps users on one version: `header:NAME`, `cookie:NAME`, `ip` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StickyText>)]
    pub sticky: Option<String>,
    /// Rules that place users on a version. The first rule that matches applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cohorts: Vec<CohortSpec>,
    /// Origins that the guest may call; none if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<EgressText>)]
    pub egress: Vec<String>,
    /// How many requests one invocation may send, 1 to 100,000; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub egress_requests: Option<u32>,
    /// How many bytes the bodies of these requests may have together, and how many the bodies of their
    /// responses, 1 KiB to 1 TiB; 256 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1024, maximum = 1099511627776_i64)]
    pub egress_bytes: Option<u64>,
    /// Time of one such request, from the lookup of its name to the end of its response, 1 ms to 1 h;
    /// `timeout_ms` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600000)]
    pub egress_timeout_ms: Option<u64>,
    /// Environment variables of the guest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of the secrets that the guest sees, by `wasi:config/store`; none if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<SecretNameText>)]
    pub secrets: Vec<String>,
    /// Whether the guest sees its secrets as environment variables too; `false` if absent.
    #[serde(skip_serializing_if = "is_false")]
    pub secrets_env: bool,
    /// Whether clients may send requests that are answered later, by the header `wasm-fn-async: 1`.
    #[serde(default, rename = "async", skip_serializing_if = "is_false")]
    pub asynchronous: bool,
    /// Such requests with the same value of this header are answered one at a time, in the order in which
    /// they came; in no order if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HeaderText>)]
    pub async_ordered_by: Option<String>,
    /// Buckets that the guest may open by `wasi:keyvalue`, by name; none if empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<BucketText, BucketSpec>)]
    pub buckets: BTreeMap<String, BucketSpec>,
}

/// A bucket of keys and values. Every field has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BucketSpec {
    /// Bytes of all its keys and values, 1 KiB to 64 GiB; 64 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1024, maximum = 68719476736_i64)]
    pub bytes_max: Option<u64>,
    /// Number of its keys, 1 to 100,000,000; 100,000 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000000)]
    pub keys_max: Option<u64>,
    /// Bytes of one value, 1 B to 8 MiB; 1 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 8388608)]
    pub value_bytes_max: Option<u64>,
    /// When a write returns; `committed` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<DurabilityWord>,
    /// What a read sees in a cluster; `strong` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency: Option<ConsistencyWord>,
}

/// When a write to a bucket returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityWord {
    /// Once it is on disk.
    Committed,
    /// Once readers see it. It is on disk within a second.
    Relaxed,
}

/// What a read of a bucket sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsistencyWord {
    /// Every write that returned before it, on whichever node.
    Strong,
    /// What one of the broker's servers has, which may be older.
    Eventual,
}

/// What a stage lays over the configuration of the version that is deployed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StageConfigSpec {
    /// Routes of the stage, `[host]/path` or `[host]/path/*`. If empty, the live stage has those of the
    /// version's configuration, and another stage has `/<function>@<stage>/*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RouteText>)]
    pub routes: Vec<String>,
    /// Environment variables of the guest in the stage. They take precedence over those of the version's
    /// configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A rule that sends requests to one version if their header, cookie or query parameter has one of `values`.
///
/// Set exactly one of `header`, `cookie` and `query`: it names where to find the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CohortSpec {
    /// The name by which rollout steps refer to these users: letters, digits, `-` and `_`, starting with a
    /// letter. Each rule needs a different name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CohortText>)]
    pub name: Option<String>,
    /// The name of a request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The name of a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The name of a query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Values that match, 1 to 1,024 of them.
    #[schema(min_items = 1, max_items = 1024)]
    pub values: Vec<String>,
    /// The role of the version that gets the request.
    pub to: CohortRole,
}

/// The role of the version that a cohort is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CohortRole {
    /// The version that the stage falls back on.
    Stable,
    /// The version that a rollout moves to.
    Canary,
}

/// An invalid configuration. The text names the key, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidConfig {
    /// The key, as users write it.
    pub key: &'static str,
    /// What was found and what was expected.
    pub reason: String,
}

fn invalid(key: &'static str) -> impl Fn(&dyn Display) -> InvalidConfig {
    move |reason| InvalidConfig { key, reason: reason.to_string() }
}

impl TryFrom<&ConfigSpec> for core::FunctionConfig {
    type Error = InvalidConfig;

    fn try_from(wire: &ConfigSpec) -> Result<Self, InvalidConfig> {
        let defaults = core::Limits::default();
        let limits = core::Limits {
            memory_bytes: wire.memory_bytes.unwrap_or(defaults.memory_bytes),
            timeout: wire.timeout_ms.map_or(defaults.timeout, Duration::from_millis),
            cpu: wire.cpu_ms.map(Duration::from_millis).or(defaults.cpu),
            concurrency: wire.concurrency.unwrap_or(defaults.concurrency),
            queue: wire.queue.unwrap_or(defaults.queue),
            queue_wait: wire.queue_wait_ms.map_or(defaults.queue_wait, Duration::from_millis),
            reuse: wire.reuse.unwrap_or(defaults.reuse),
            egress: core::EgressLimits {
                requests: wire.egress_requests.unwrap_or(defaults.egress.requests),
                bytes: wire.egress_bytes.unwrap_or(defaults.egress.bytes),
                timeout: wire.egress_timeout_ms.map(Duration::from_millis).or(defaults.egress.timeout),
            },
        };
        let preview = wire.preview.as_deref().map(str::parse).transpose();
        let sticky = wire.sticky.as_deref().unwrap_or("none").parse();
        let egress = wire.egress.iter().map(|rule| rule.parse()).collect::<Result<_, core::EgressError>>();
        let async_ordered_by = wire.async_ordered_by.as_deref().map(str::parse).transpose();
        let config = Self {
            limits,
            routes: routes("routes", &wire.routes)?,
            preview: preview
                .map_err(|error: core::PreviewAccessError| invalid("preview")(&error))?
                .unwrap_or_default(),
            sticky: sticky.map_err(|error: core::StickyError| invalid("sticky")(&error))?,
            cohorts: wire.cohorts.iter().map(TryFrom::try_from).collect::<Result<_, _>>()?,
            egress: egress.map_err(|error| invalid("egress")(&error))?,
            env: wire.env.clone(),
            secrets: secrets(&wire.secrets)?,
            secrets_env: wire.secrets_env,
            asynchronous: wire.asynchronous,
            async_ordered_by: async_ordered_by
                .map_err(|error: core::OrderedByError| invalid("async_ordered_by")(&error))?,
            buckets: buckets(&wire.buckets)?,
        };
        config.check().map_err(|error| InvalidConfig {
            key: error.key,
            reason: format!("found {}, expected {}", error.found, error.expected),
        })?;
        Ok(config)
    }
}

fn routes(key: &'static str, texts: &[String]) -> Result<Vec<core::Route>, InvalidConfig> {
    let routes = texts.iter().map(|text| text.parse()).collect::<Result<_, core::RouteError>>();
    routes.map_err(|error| invalid(key)(&error))
}

impl TryFrom<&StageConfigSpec> for core::StageConfig {
    type Error = InvalidConfig;

    /// Whether it fits the configuration of a version is checked where the two meet.
    fn try_from(wire: &StageConfigSpec) -> Result<Self, InvalidConfig> {
        Ok(Self { routes: routes("stage_config.routes", &wire.routes)?, env: wire.env.clone() })
    }
}

impl From<&core::StageConfig> for StageConfigSpec {
    fn from(config: &core::StageConfig) -> Self {
        Self { routes: config.routes.iter().map(ToString::to_string).collect(), env: config.env.clone() }
    }
}

/// The names of secrets, each of them once.
fn secrets(texts: &[String]) -> Result<BTreeSet<core::SecretName>, InvalidConfig> {
    let mut names = BTreeSet::new();
    for text in texts {
        let name = text.parse().map_err(|error: core::SecretNameError| invalid("secrets")(&error))?;
        if !names.insert(name) {
            return Err(invalid("secrets")(&format!("found {text} twice, expected each secret once")));
        }
    }
    Ok(names)
}

/// Buckets, by their names.
fn buckets(
    specs: &BTreeMap<String, BucketSpec>,
) -> Result<BTreeMap<core::BucketName, core::BucketConfig>, InvalidConfig> {
    let bucket = |(name, spec): (&String, &BucketSpec)| {
        let name = name.parse().map_err(|error: core::NameError| invalid("bucket")(&error))?;
        Ok((name, spec.into()))
    };
    specs.iter().map(bucket).collect()
}

impl From<&BucketSpec> for core::BucketConfig {
    fn from(wire: &BucketSpec) -> Self {
        let defaults = Self::default();
        Self {
            bytes_max: wire.bytes_max.unwrap_or(defaults.bytes_max),
            keys_max: wire.keys_max.unwrap_or(defaults.keys_max),
            value_bytes_max: wire.value_bytes_max.unwrap_or(defaults.value_bytes_max),
            durability: match wire.durability {
                Some(DurabilityWord::Committed) => core::Durability::Committed,
                Some(DurabilityWord::Relaxed) => core::Durability::Relaxed,
                None => defaults.durability,
            },
            consistency: match wire.consistency {
                Some(ConsistencyWord::Strong) => core::Consistency::Strong,
                Some(ConsistencyWord::Eventual) => core::Consistency::Eventual,
                None => defaults.consistency,
            },
        }
    }
}

impl From<&core::BucketConfig> for BucketSpec {
    fn from(config: &core::BucketConfig) -> Self {
        Self {
            bytes_max: Some(config.bytes_max),
            keys_max: Some(config.keys_max),
            value_bytes_max: Some(config.value_bytes_max),
            durability: Some(match config.durability {
                core::Durability::Committed => DurabilityWord::Committed,
                core::Durability::Relaxed => DurabilityWord::Relaxed,
            }),
            consistency: Some(match config.consistency {
                core::Consistency::Strong => ConsistencyWord::Strong,
                core::Consistency::Eventual => ConsistencyWord::Eventual,
            }),
        }
    }
}

impl TryFrom<&CohortSpec> for core::CohortRule {
    type Error = InvalidConfig;

    fn try_from(wire: &CohortSpec) -> Result<Self, InvalidConfig> {
        let invalid = invalid("cohorts");
        let source = match (&wire.header, &wire.cookie, &wire.query) {
            (Some(name), None, None) => core::Source::header(name),
            (None, Some(name), None) => core::Source::cookie(name),
            (None, None, Some(name)) => core::Source::query(name),
            (header, cookie, query) => {
                let named = [header, cookie, query].into_iter().flatten().count();
                let found = format!("a rule names {named} sources, expected one of header, cookie or query");
                return Err(invalid(&found));
            }
        };
        let source = source.map_err(|error| invalid(&error))?;
        let condition = core::Condition::new(source, wire.values.clone()).map_err(|error| invalid(&error))?;
        let role = match wire.to {
            CohortRole::Stable => core::Role::Stable,
            CohortRole::Canary => core::Role::Canary,
        };
        let name = wire.name.as_deref().map(str::parse).transpose();
        let name = name.map_err(|error: core::NameError| invalid(&error))?;
        Ok(Self { name, condition, role })
    }
}

/// Whole milliseconds. Configurations never hold more than an hour.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&core::FunctionConfig> for ConfigSpec {
    /// Writes out every default.
    fn from(config: &core::FunctionConfig) -> Self {
        let limits = &config.limits;
        Self {
            memory_bytes: Some(limits.memory_bytes),
            timeout_ms: Some(millis(limits.timeout)),
            cpu_ms: limits.cpu.map(millis),
            concurrency: Some(limits.concurrency),
            queue: Some(limits.queue),
            queue_wait_ms: Some(millis(limits.queue_wait)),
            reuse: Some(limits.reuse),
            routes: config.routes.iter().map(ToString::to_string).collect(),
            preview: Some(config.preview.to_string()),
            sticky: Some(config.sticky.to_string()),
            cohorts: config.cohorts.iter().map(CohortSpec::from).collect(),
            egress: config.egress.iter().map(ToString::to_string).collect(),
            egress_requests: Some(limits.egress.requests),
            egress_bytes: Some(limits.egress.bytes),
            egress_timeout_ms: limits.egress.timeout.map(millis),
            env: config.env.clone(),
            secrets: config.secrets.iter().map(ToString::to_string).collect(),
            secrets_env: config.secrets_env,
            asynchronous: config.asynchronous,
            async_ordered_by: config.async_ordered_by.as_ref().map(ToString::to_string),
            buckets: config.buckets.iter().map(|(name, bucket)| (name.to_string(), bucket.into())).collect(),
        }
    }
}

impl From<&core::CohortRule> for CohortSpec {
    fn from(rule: &core::CohortRule) -> Self {
        let source = rule.condition.source.name().to_owned();
        let (header, cookie, query) = match rule.condition.source {
            core::Source::Header(_) => (Some(source), None, None),
            core::Source::Cookie(_) => (None, Some(source), None),
            core::Source::Query(_) => (None, None, Some(source)),
        };
        let to = match rule.role {
            core::Role::Stable => CohortRole::Stable,
            core::Role::Canary => CohortRole::Canary,
        };
        let name = rule.name.as_ref().map(ToString::to_string);
        Self { name, header, cookie, query, values: rule.condition.values.clone(), to }
    }
}

#[cfg(test)]
mod tests;
