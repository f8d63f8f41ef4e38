//! `[function.NAME]` as written, and what it is on the wire.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use wasm_fn_control::wire;
use wasm_fn_core::FunctionConfig;

use super::file::{BadValue, duration, size};

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    component: Option<PathBuf>,
    routes: Vec<String>,
    memory: Option<String>,
    timeout: Option<String>,
    concurrency: Option<u32>,
    queue: Option<u32>,
    queue_wait: Option<String>,
    reuse: Option<u32>,
    egress: Vec<String>,
    env: BTreeMap<String, String>,
    sticky: Option<String>,
    cohorts: Vec<RawCohort>,
}

/// `{ header = "x-group", in = ["beta"], to = "canary" }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCohort {
    header: Option<String>,
    cookie: Option<String>,
    query: Option<String>,
    r#in: Option<Vec<String>>,
    equals: Option<String>,
    to: wire::CohortRole,
}

impl Raw {
    /// The component and the rest; `key` is the table's path in the file.
    pub(super) fn meant(self, key: &str) -> Result<(Option<PathBuf>, wire::Config), BadValue> {
        let at = |name: &str| format!("{key}.{name}");
        let cohorts = self.cohorts.into_iter().map(RawCohort::meant).collect::<Result<_, _>>();
        let config = wire::Config {
            memory_bytes: size(&at("memory"), self.memory)?,
            timeout_ms: millis(&at("timeout"), self.timeout)?,
            concurrency: self.concurrency,
            queue: self.queue,
            queue_wait_ms: millis(&at("queue_wait"), self.queue_wait)?,
            reuse: self.reuse,
            routes: self.routes,
            sticky: self.sticky,
            cohorts: cohorts.map_err(|reason| BadValue::new(at("cohorts"), reason))?,
            egress: self.egress,
            env: self.env,
        };
        // The node checks it again; here the error still has a line.
        FunctionConfig::try_from(&config)
            .map_err(|wire::InvalidConfig { key, reason }| BadValue::new(at(key), reason))?;
        Ok((self.component, config))
    }
}

impl RawCohort {
    fn meant(self) -> Result<wire::Cohort, &'static str> {
        let values = match (self.r#in, self.equals) {
            (Some(values), None) => values,
            (None, Some(value)) => vec![value],
            (Some(_), Some(_)) => return Err("a rule has both `in` and `equals`, expected one of them"),
            (None, None) => return Err("a rule has neither `in` nor `equals`, expected one of them"),
        };
        let Self { header, cookie, query, to, .. } = self;
        Ok(wire::Cohort { header, cookie, query, values, to })
    }
}

/// Reads `10s` as whole milliseconds, the finest that a node keeps.
fn millis(key: &str, text: Option<String>) -> Result<Option<u64>, BadValue> {
    let Some(duration) = duration(key, text)? else { return Ok(None) };
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if duration != Duration::from_millis(whole) {
        let found = humantime::format_duration(duration);
        return Err(BadValue::new(key, format!("found {found}, expected whole milliseconds")));
    }
    Ok(Some(whole))
}
