//! Reads `[function.NAME]` into its wire form.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use wasm_fn_api as api;
use wasm_fn_core::{BucketConfig, BucketName, ConfigError, FunctionConfig, Route, StageConfig, StageName};

use super::{
    gate,
    project::ModuleSource,
    rollout::{self, Rollout},
    toml_file::{BadValue, millis, size},
};

/// `[function.NAME]`, resolved.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Function {
    /// The component: a path relative to the file's folder, or an artifact in a registry.
    pub(crate) component: Option<ModuleSource>,
    /// The command that builds the component, for a shell in the file's folder.
    pub(crate) build: Option<String>,
    /// `[function.NAME.rollout]`.
    pub(crate) rollout: Rollout,
    /// `[function.NAME.gate]`, and the rollout's `min_requests`.
    pub(crate) gate: api::GateOptions,
    /// `[function.NAME.stage.STAGE]`: what a stage has of its own.
    pub(crate) stages: BTreeMap<StageName, Release>,
    /// Every other key.
    pub(crate) config: api::ConfigSpec,
}

/// How a version is released to a stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Release {
    /// What the stage lays over the configuration of the version; `None` leaves that to the node.
    pub(crate) stage_config: Option<api::StageConfigSpec>,
    /// How it gets its traffic.
    pub(crate) rollout: Rollout,
    /// The rule that the rollout must satisfy.
    pub(crate) gate: api::GateOptions,
}

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    component: Option<String>,
    build: Option<String>,
    routes: Vec<String>,
    preview: Option<String>,
    memory: Option<String>,
    timeout: Option<String>,
    cpu: Option<String>,
    concurrency: Option<u32>,
    queue: Option<u32>,
    queue_wait: Option<String>,
    reuse: Option<u32>,
    egress: Vec<String>,
    egress_requests: Option<u32>,
    egress_bytes: Option<String>,
    egress_timeout: Option<String>,
    env: BTreeMap<String, String>,
    secrets: Vec<String>,
    secrets_env: bool,
    #[serde(default, rename = "async")]
    asynchronous: bool,
    async_ordered_by: Option<String>,
    sticky: Option<String>,
    cohorts: Vec<RawCohort>,
    rollout: rollout::Raw,
    gate: gate::Raw,
    stage: BTreeMap<String, RawStage>,
    bucket: BTreeMap<String, RawBucket>,
}

/// `[function.NAME.bucket.BUCKET]` as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawBucket {
    bytes_max: Option<String>,
    keys_max: Option<u64>,
    value_bytes_max: Option<String>,
    durability: Option<api::DurabilityWord>,
    consistency: Option<api::ConsistencyWord>,
}

/// `[function.NAME.stage.STAGE]` as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStage {
    routes: Vec<String>,
    env: BTreeMap<String, String>,
    rollout: Option<rollout::Raw>,
    gate: Option<gate::Raw>,
}

/// `{ name = "beta", header = "x-group", in = ["beta"], to = "canary" }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCohort {
    name: Option<String>,
    header: Option<String>,
    cookie: Option<String>,
    query: Option<String>,
    r#in: Option<Vec<String>>,
    equals: Option<String>,
    to: api::CohortRole,
}

impl Raw {
    /// Resolves the table; `key` is its path in the file, and `folder` is the file's folder.
    pub(super) fn resolve(self, key: &str, folder: &Path) -> Result<Function, BadValue> {
        let at = |name: &str| format!("{key}.{name}");
        let cohorts = self.cohorts.into_iter().map(RawCohort::resolve).collect::<Result<_, _>>();
        let config = api::ConfigSpec {
            memory_bytes: size(&at("memory"), self.memory)?,
            timeout_ms: millis(&at("timeout"), self.timeout)?,
            cpu_ms: millis(&at("cpu"), self.cpu)?,
            concurrency: self.concurrency,
            queue: self.queue,
            queue_wait_ms: millis(&at("queue_wait"), self.queue_wait)?,
            reuse: self.reuse,
            routes: self.routes,
            preview: self.preview,
            sticky: self.sticky,
            cohorts: cohorts.map_err(|reason| BadValue::new(at("cohorts"), reason))?,
            egress: self.egress,
            egress_requests: self.egress_requests,
            egress_bytes: size(&at("egress_bytes"), self.egress_bytes)?,
            egress_timeout_ms: millis(&at("egress_timeout"), self.egress_timeout)?,
            env: self.env,
            secrets: self.secrets,
            secrets_env: self.secrets_env,
            asynchronous: self.asynchronous,
            async_ordered_by: self.async_ordered_by,
            buckets: buckets(&at("bucket"), self.bucket)?,
        };
        // The node checks it again, but here the error can name the line.
        let own = FunctionConfig::try_from(&config)
            .map_err(|api::InvalidConfig { key, reason }| BadValue::new(at(key), reason))?;
        let (whole_rollout, whole_gate) =
            (self.rollout.resolve(&at("rollout"))?, self.gate.resolve(&at("gate"))?);
        let (rollout, gate) = together(key, whole_rollout.clone(), whole_gate.clone())?;
        let mut stages = BTreeMap::new();
        for (name, raw) in self.stage {
            let key = format!("{key}.stage.{name}");
            let name: StageName = name.parse().map_err(|error| BadValue::new(&key, error))?;
            let RawStage { routes, env, rollout, gate } = raw;
            let rollout = rollout.map(|rollout| rollout.resolve(&format!("{key}.rollout"))).transpose()?;
            let gate = gate.map(|gate| gate.resolve(&format!("{key}.gate"))).transpose()?;
            // What a stage does not have is the function's.
            let rollout = rollout.unwrap_or_else(|| whole_rollout.clone());
            let (rollout, gate) = together(&key, rollout, gate.unwrap_or_else(|| whole_gate.clone()))?;
            let stage_config = Some(laid_over(&key, api::StageConfigSpec { routes, env }, &own)?);
            stages.insert(name, Release { stage_config, rollout, gate });
        }
        check_routes(key, &own, &stages)?;
        let component = self.component.map(|component| ModuleSource::parse(Path::new(&component)));
        let component = component.transpose().map_err(|error| BadValue::new(at("component"), error))?;
        let component = component.map(|component| component.below(folder));
        if self.build.as_ref().is_some_and(|build| build.trim().is_empty()) {
            return Err(BadValue::new(
                at("build"),
                "found no command, expected one such as `cargo build --release`",
            ));
        }
        Ok(Function { component, build: self.build, rollout, gate, stages, config })
    }
}

/// Resolves the buckets at `key`. Each is checked here, so that an error can name it.
fn buckets(
    key: &str,
    raw: BTreeMap<String, RawBucket>,
) -> Result<BTreeMap<String, api::BucketSpec>, BadValue> {
    let mut buckets = BTreeMap::new();
    for (name, raw) in raw {
        let key = format!("{key}.{name}");
        let at = |name: &str| format!("{key}.{name}");
        name.parse::<BucketName>().map_err(|error| BadValue::new(&key, error))?;
        let bucket = api::BucketSpec {
            bytes_max: size(&at("bytes_max"), raw.bytes_max)?,
            keys_max: raw.keys_max,
            value_bytes_max: size(&at("value_bytes_max"), raw.value_bytes_max)?,
            durability: raw.durability,
            consistency: raw.consistency,
        };
        BucketConfig::from(&bucket).check().map_err(|ConfigError { key: blamed, found, expected }| {
            let blamed = blamed.strip_prefix("bucket.").unwrap_or(blamed);
            BadValue::new(at(blamed), format!("found {found}, expected {expected}"))
        })?;
        buckets.insert(name, bucket);
    }
    Ok(buckets)
}

/// A rollout with its `min_requests`, which is the gate's, and a gate. `key` is where they are in the file.
fn together(
    key: &str,
    (rollout, min_requests): (Rollout, Option<u64>),
    gate: api::GateOptions,
) -> Result<(Rollout, api::GateOptions), BadValue> {
    let at = |name: &str| format!("{key}.{name}");
    let gate = api::GateOptions { min_requests, ..gate };
    gate::check(&gate).map_err(|(signal, reason)| match signal {
        // In the file, this key is in the rollout's table.
        Some("min_requests") => BadValue::new(at("rollout.min_requests"), reason),
        Some(signal) => BadValue::new(at(&format!("gate.{signal}")), reason),
        None => BadValue::new(at("gate"), reason),
    })?;
    Ok((rollout, gate))
}

/// Checks what the stage at `key` lays over the function's configuration.
fn laid_over(
    key: &str,
    spec: api::StageConfigSpec,
    own: &FunctionConfig,
) -> Result<api::StageConfigSpec, BadValue> {
    let config = StageConfig::try_from(&spec);
    let config = config.map_err(|error| BadValue::new(format!("{key}.routes"), error.reason))?;
    config.over(own).check().map_err(|ConfigError { key: blamed, found, expected }| {
        let blamed = if blamed == "routes" { "routes" } else { "env" };
        BadValue::new(format!("{key}.{blamed}"), format!("found {found}, expected {expected}"))
    })?;
    Ok(spec)
}

/// Checks that no two stages have the same route. The node compares them with those of other functions too.
fn check_routes(
    key: &str,
    own: &FunctionConfig,
    stages: &BTreeMap<StageName, Release>,
) -> Result<(), BadValue> {
    let mut known: BTreeMap<Route, &StageName> = BTreeMap::new();
    let live = StageName::live();
    let of_live = stages.get(&live).and_then(|stage| stage.stage_config.as_ref());
    if of_live.is_none_or(|config| config.routes.is_empty()) {
        known.extend(own.routes.iter().map(|route| (route.clone(), &live)));
    }
    for (stage, Release { stage_config, .. }) in stages {
        let at = || format!("{key}.stage.{stage}.routes");
        for text in stage_config.iter().flat_map(|config| &config.routes) {
            let route: Route = text.parse().map_err(|error| BadValue::new(at(), error))?;
            if let Some(other) = known.get(&route).filter(|other| **other != stage) {
                let reason = format!("found {text}, which stage {other} has, expected a route of its own");
                return Err(BadValue::new(at(), reason));
            }
            known.insert(route, stage);
        }
    }
    Ok(())
}

impl Function {
    /// How a version is released to `stage`: as the stage says, or else as the function does.
    pub(crate) fn release(&mut self, stage: &StageName) -> Release {
        let own = || Release {
            stage_config: Some(api::StageConfigSpec::default()),
            rollout: self.rollout.clone(),
            gate: self.gate.clone(),
        };
        self.stages.remove(stage).unwrap_or_else(own)
    }
}

impl RawCohort {
    fn resolve(self) -> Result<api::CohortSpec, &'static str> {
        let values = match (self.r#in, self.equals) {
            (Some(values), None) => values,
            (None, Some(value)) => vec![value],
            (Some(_), Some(_)) => return Err("a rule has both `in` and `equals`, expected only one of them"),
            (None, None) => return Err("a rule has neither `in` nor `equals`, expected one of them"),
        };
        let Self { name, header, cookie, query, to, .. } = self;
        Ok(api::CohortSpec { name, header, cookie, query, values, to })
    }
}

#[cfg(test)]
mod tests;
