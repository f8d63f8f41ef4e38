//! Reads `[function.NAME]` into its wire form.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionConfig, StageName};

use super::{
    gate,
    rollout::{self, Rollout},
    toml_file::{BadValue, millis, size},
};

/// `[function.NAME]`, resolved.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Function {
    /// The component's path, relative to the file's folder.
    pub(crate) component: Option<PathBuf>,
    /// `[function.NAME.rollout]`.
    pub(crate) rollout: Rollout,
    /// `[function.NAME.gate]`, and the rollout's `min_requests`.
    pub(crate) gate: api::GateOptions,
    /// `[function.NAME.stage.STAGE]`: what a stage has instead.
    pub(crate) stages: BTreeMap<StageName, Release>,
    /// Every other key.
    pub(crate) config: api::ConfigSpec,
}

/// How a version is released.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Release {
    /// How it gets its traffic.
    pub(crate) rollout: Rollout,
    /// The rule that the rollout must satisfy.
    pub(crate) gate: api::GateOptions,
}

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    component: Option<PathBuf>,
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
    sticky: Option<String>,
    cohorts: Vec<RawCohort>,
    rollout: rollout::Raw,
    gate: gate::Raw,
    stage: BTreeMap<String, RawRelease>,
}

/// Rollout and gate as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRelease {
    rollout: rollout::Raw,
    gate: gate::Raw,
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
        };
        // The node checks it again, but here the error can name the line.
        FunctionConfig::try_from(&config)
            .map_err(|api::InvalidConfig { key, reason }| BadValue::new(at(key), reason))?;
        let own = RawRelease { rollout: self.rollout, gate: self.gate };
        let Release { rollout, gate } = own.resolve(key)?;
        let mut stages = BTreeMap::new();
        for (name, raw) in self.stage {
            let key = format!("{key}.stage.{name}");
            let name: StageName = name.parse().map_err(|error| BadValue::new(&key, error))?;
            stages.insert(name, raw.resolve(&key)?);
        }
        let component = self.component.map(|component| folder.join(component));
        Ok(Function { component, rollout, gate, stages, config })
    }
}

impl RawRelease {
    /// Resolves the tables below `key`.
    fn resolve(self, key: &str) -> Result<Release, BadValue> {
        let at = |name: &str| format!("{key}.{name}");
        let (rollout, min_requests) = self.rollout.resolve(&at("rollout"))?;
        let gate = api::GateOptions { min_requests, ..self.gate.resolve(&at("gate"))? };
        gate::check(&gate).map_err(|(signal, reason)| match signal {
            // In the file, this key is in the rollout's table.
            Some("min_requests") => BadValue::new(at("rollout.min_requests"), reason),
            Some(signal) => BadValue::new(at(&format!("gate.{signal}")), reason),
            None => BadValue::new(at("gate"), reason),
        })?;
        Ok(Release { rollout, gate })
    }
}

impl Function {
    /// How a version is released to `stage`: as the stage says, or else as the function does.
    pub(crate) fn release(&mut self, stage: &StageName) -> Release {
        let own = Release { rollout: self.rollout.clone(), gate: self.gate.clone() };
        self.stages.remove(stage).unwrap_or(own)
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
