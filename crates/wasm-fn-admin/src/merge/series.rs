//! Adds up numbers over time.

use std::collections::BTreeMap;

use wasm_fn_api as api;

use super::PerNode;

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

impl PerNode for api::SeriesList {
    fn mark(&mut self, _: &str) {}

    fn add(&mut self, _: &str, other: Self) {
        let (begins_ms, shift) = (self.begins_ms, other.begins_ms);
        for function in other.functions {
            let Some(own) = self.functions.iter_mut().find(|own| own.function == function.function) else {
                continue;
            };
            for at in 0..function.requests.len() {
                // Nodes begin at different steps of ten seconds: the nearest minute counts.
                let Some(to) = minute(begins_ms, shift, at).filter(|&to| to < own.requests.len()) else {
                    continue;
                };
                own.requests[to] += function.requests[at];
                own.failures[to] += function.failures.get(at).copied().unwrap_or(0);
                let latency = function.latency_p99_ms.get(at).copied().unwrap_or(0.0);
                own.latency_p99_ms[to] = own.latency_p99_ms[to].max(latency);
            }
        }
    }

    fn nodes(&mut self) -> &mut Vec<api::AskedNode> {
        &mut self.nodes
    }
}

/// Which minute of those that begin at `begins_ms` is nearest to the minute `at` of those from `other_ms` on.
fn minute(begins_ms: u64, other_ms: u64, at: usize) -> Option<usize> {
    let at_ms = other_ms + u64::try_from(at).ok()? * MINUTE_MS;
    let since_ms = (at_ms + MINUTE_MS / 2).checked_sub(begins_ms)?;
    usize::try_from(since_ms / MINUTE_MS).ok()
}

impl PerNode for api::FunctionSeries {
    fn mark(&mut self, _: &str) {}

    fn add(&mut self, _: &str, other: Self) {
        self.now_ms = self.now_ms.max(other.now_ms);
        for version in other.versions {
            let is_same =
                |own: &&mut api::VersionSeries| own.stage == version.stage && own.version == version.version;
            match self.versions.iter_mut().find(is_same) {
                Some(own) => *own = sum(own, &version),
                None => self.versions.push(version),
            }
        }
        for course in other.rollouts {
            let own = self.rollouts.iter_mut().find(|own| own.stage == course.stage);
            match own {
                Some(own) if is_better(&course, own) => *own = course,
                Some(_) => {}
                None => self.rollouts.push(course),
            }
        }
    }

    fn nodes(&mut self) -> &mut Vec<api::AskedNode> {
        &mut self.nodes
    }
}

/// Requests and failures, and the two latencies.
type Step = (u64, u64, f64, f64);

fn steps(version: &api::VersionSeries) -> impl Iterator<Item = (u64, Step)> {
    let api::VersionSeries { at_ms, requests, failures, latency_p50_ms, latency_p99_ms, .. } = version;
    let latencies = latency_p50_ms.iter().zip(latency_p99_ms);
    let numbers = requests.iter().zip(failures).zip(latencies);
    at_ms
        .iter()
        .copied()
        .zip(numbers.map(|((requests, failures), (p50, p99))| (*requests, *failures, *p50, *p99)))
}

fn sum(own: &api::VersionSeries, other: &api::VersionSeries) -> api::VersionSeries {
    let mut all: BTreeMap<u64, Step> = BTreeMap::new();
    for (at_ms, (requests, failures, p50, p99)) in steps(own).chain(steps(other)) {
        let step = all.entry(at_ms).or_default();
        *step = (step.0 + requests, step.1 + failures, step.2.max(p50), step.3.max(p99));
    }
    api::VersionSeries {
        stage: own.stage.clone(),
        version: own.version.clone(),
        at_ms: all.keys().copied().collect(),
        requests: all.values().map(|step| step.0).collect(),
        failures: all.values().map(|step| step.1).collect(),
        latency_p50_ms: all.values().map(|step| step.2).collect(),
        latency_p99_ms: all.values().map(|step| step.3).collect(),
    }
}

/// Whether a node knows more of the rollout of a stage: a later one, or more requests of the same.
fn is_better(other: &api::RolloutSeries, own: &api::RolloutSeries) -> bool {
    let known = |course: &api::RolloutSeries| {
        let last = |side: &api::SideSeries| side.requests.last().copied().unwrap_or(0);
        (course.started_ms, last(&course.canary_side) + last(&course.stable_side))
    };
    known(other) > known(own)
}
