//! Reading numbers over time.

use axum::{Json, extract::State};
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::FunctionName;
use wasm_fn_store::Store;

use super::functions::seen;
use crate::{
    ApiError,
    admin::Shared,
    authorize::Caller,
    extract::{Function, Parameters},
    nodes::Others,
    series::{
        STEP_MS,
        rollouts::{Course, Side},
        traffic::{STEPS, Version},
    },
};

/// Most functions in one request.
const FUNCTIONS_MAX: usize = 100;

/// Minutes of an hour.
const MINUTES: usize = 60;

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// Reads the last hour of several functions, by the minute.
pub(crate) async fn list<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::SeriesQuery>,
) -> Result<Json<api::SeriesList>, ApiError> {
    let names = query.functions.split(',').take(FUNCTIONS_MAX + 1);
    let names: Vec<FunctionName> = names.map(str::parse).collect::<Result<_, _>>()?;
    if names.len() > FUNCTIONS_MAX {
        let detail = format!("functions has more than {FUNCTIONS_MAX} names, expected at most so many");
        return Err(ApiError::invalid_request(detail));
    }
    let state = admin.control.state();
    let own = {
        let traffic = admin.series.traffic();
        let begins_ms = traffic.read_ms.saturating_sub(STEPS * STEP_MS);
        let there = names.iter().filter(|name| caller.sees(name) && state.function(name).is_ok());
        let functions = there.map(|name| {
            let versions = traffic.versions(name).iter().filter(|version| caller.sees_stage(&version.stage));
            minutes(name, versions, begins_ms)
        });
        api::SeriesList { begins_ms, functions: functions.collect(), nodes: Vec::new() }
    };
    Ok(Json(others.added_to(own).await))
}

fn minutes<'a>(
    name: &FunctionName,
    versions: impl Iterator<Item = &'a Version>,
    begins_ms: u64,
) -> api::FunctionMinutes {
    let mut minutes = api::FunctionMinutes {
        function: name.to_string(),
        requests: vec![0; MINUTES],
        failures: vec![0; MINUTES],
        latency_p99_ms: vec![0.0; MINUTES],
    };
    for step in versions.flat_map(Version::steps) {
        let minute = step.at_ms.saturating_sub(begins_ms) / MINUTE_MS;
        let Some(minute) = usize::try_from(minute).ok().filter(|&minute| minute < MINUTES) else { continue };
        minutes.requests[minute] += step.requests;
        minutes.failures[minute] += step.failures;
        let latency = &mut minutes.latency_p99_ms[minute];
        *latency = latency.max(step.latency_p99_ms);
    }
    minutes
}

/// Reads the numbers of a function over time.
pub(crate) async fn show<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(name): Function,
    caller: Caller,
    others: Others,
    Parameters(_): Parameters<api::NodeQuery>,
) -> Result<Json<api::FunctionSeries>, ApiError> {
    let state = admin.control.state();
    let function = seen(state.function(&name)?, &caller);
    let rollouts: Vec<_> = {
        let rollouts = admin.series.rollouts();
        let stages = function.stages.keys();
        let courses = stages.filter_map(|stage| {
            let course = rollouts.course(&(name.clone(), stage.clone()))?;
            Some((stage.clone(), course.clone()))
        });
        courses.collect()
    };
    let own = {
        let traffic = admin.series.traffic();
        let versions = traffic.versions(&name).iter().filter(|version| caller.sees_stage(&version.stage));
        api::FunctionSeries {
            function: name.to_string(),
            step_ms: STEP_MS,
            now_ms: traffic.read_ms,
            versions: versions.map(version).collect(),
            rollouts: rollouts.iter().map(|(stage, course)| rollout(stage.to_string(), course)).collect(),
            nodes: Vec::new(),
        }
    };
    Ok(Json(others.added_to(own).await))
}

fn version(version: &Version) -> api::VersionSeries {
    let steps: Vec<_> = version.steps().collect();
    api::VersionSeries {
        stage: version.stage.to_string(),
        version: version.no.to_string(),
        at_ms: steps.iter().map(|step| step.at_ms).collect(),
        requests: steps.iter().map(|step| step.requests).collect(),
        failures: steps.iter().map(|step| step.failures).collect(),
        latency_p50_ms: steps.iter().map(|step| step.latency_p50_ms).collect(),
        latency_p99_ms: steps.iter().map(|step| step.latency_p99_ms).collect(),
    }
}

fn rollout(stage: String, course: &Course) -> api::RolloutSeries {
    let moments = &course.moments;
    let side = |of: fn(&crate::series::rollouts::Moment) -> Side| api::SideSeries {
        requests: moments.iter().map(|moment| of(moment).requests).collect(),
        failures: moments.iter().map(|moment| of(moment).failures).collect(),
        latency_p50_ms: moments.iter().map(|moment| f64::from(of(moment).latency_p50_us) / 1e3).collect(),
        latency_p99_ms: moments.iter().map(|moment| f64::from(of(moment).latency_p99_us) / 1e3).collect(),
    };
    let signals = course.signals.iter().enumerate().map(|(at, (name, log_threshold))| api::SignalSeries {
        signal: name.clone(),
        log_threshold: *log_threshold,
        log_e: moments.iter().map(|moment| moment.log_e.get(at).copied().map_or(0.0, f64::from)).collect(),
    });
    api::RolloutSeries {
        stage,
        stable: course.stable.to_string(),
        canary: course.canary.to_string(),
        started_ms: course.started_ms,
        ended: course.ended,
        at_ms: moments.iter().map(|moment| moment.at_ms).collect(),
        share: moments.iter().map(|moment| moment.share).collect(),
        canary_side: side(|moment| moment.canary),
        stable_side: side(|moment| moment.stable),
        signals: signals.collect(),
    }
}
