//! Parses what a deployment says about its rollout.

use std::{fmt::Display, sync::Arc, time::Duration};

use wasm_fn_core::{Weight, defaults};
use wasm_fn_rollout::{self as rollout, GateSpec, PlanSpec};

use wasm_fn_api::{self as api, GateOptions, OnFailSpec, OnNoDataSpec, RolloutOptions, Tolerance};
use wasm_fn_control::state::{Check, CheckError, CheckText, ReleaseStrategy, RolloutSpec, SpecError};

use crate::ApiError;

/// The strategy that `strategy`, `options` and `gate` describe together.
///
/// # Errors
/// If one of them is malformed, even if the strategy does not use it.
pub(crate) fn strategy(
    strategy: &api::StrategySpec,
    options: &RolloutOptions,
    gate: &GateOptions,
) -> Result<ReleaseStrategy, ApiError> {
    let usual = match strategy {
        api::StrategySpec::NoTraffic => {
            gate_spec(gate)?;
            return Ok(ReleaseStrategy::NoTraffic);
        }
        api::StrategySpec::AllAtOnce => rollout::Strategy::AllAtOnce,
        api::StrategySpec::BlueGreen => rollout::Strategy::BlueGreen,
        api::StrategySpec::Canary { steps } => {
            let steps: Result<_, ApiError> = steps.iter().map(|step| self::step(step)).collect();
            rollout::Strategy::Canary { steps: steps? }
        }
        api::StrategySpec::Linear { by, every_ms } => {
            rollout::Strategy::Linear { by: weight(by)?, every: Duration::from_millis(*every_ms) }
        }
    };
    let mut plan = PlanSpec::usual(usual);
    plan.manual = options.manual;
    plan.on_fail = match options.on_fail.unwrap_or_default() {
        OnFailSpec::Rollback => rollout::OnFail::Rollback,
        OnFailSpec::Pause => rollout::OnFail::Pause,
        OnFailSpec::Freeze => rollout::OnFail::Freeze,
    };
    plan.on_no_data = match gate.on_no_data.unwrap_or_default() {
        OnNoDataSpec::Wait => rollout::OnNoData::Wait,
        OnNoDataSpec::Pass => rollout::OnNoData::Pass,
    };
    plan.step_min = options.step_min_ms.map_or(plan.step_min, Duration::from_millis);
    plan.watch = options.watch_ms.map_or(plan.watch, Duration::from_millis);
    let checks = options.checks.iter().map(check).collect::<Result<Vec<_>, _>>();
    let spec = RolloutSpec::new(
        plan,
        gate_spec(gate)?,
        options.shield.unwrap_or(true),
        options.keep_ms.map_or(defaults::KEEP, Duration::from_millis),
        checks.map_err(ApiError::invalid_check)?,
    );
    let spec = spec.map_err(|error| match error {
        SpecError::Gate(error) => ApiError::invalid_gate(error),
        SpecError::Checks(_) | SpecError::ChecksUnused => ApiError::invalid_check(error),
        SpecError::Plan(_) | SpecError::Keep(_) => ApiError::invalid_strategy(error),
    })?;
    Ok(ReleaseStrategy::Rollout(Arc::new(spec)))
}

/// Checks what a configuration file says about rollouts, as a deployment does.
///
/// # Errors
/// Says what was found and what was expected.
pub fn check_release(
    strategy: &api::StrategySpec,
    options: &RolloutOptions,
    gate: &GateOptions,
) -> Result<(), String> {
    self::strategy(strategy, options, gate).map(drop).map_err(|error| error.into_problem().detail)
}

fn check(spec: &api::CheckSpec) -> Result<Check, CheckError> {
    let api::CheckSpec { method, path, headers, body, expect } = spec;
    Check::parse(CheckText {
        method: method.as_deref(),
        path,
        headers,
        body: body.as_deref(),
        status: expect.status,
        expected_headers: &expect.headers,
        pattern: expect.body.as_deref(),
        json: &expect.json,
    })
}

fn step(text: &str) -> Result<rollout::Step, ApiError> {
    text.parse().map_err(|error: rollout::StepError| ApiError::invalid_strategy(error))
}

fn weight(text: &str) -> Result<Weight, ApiError> {
    text.parse().map_err(|error: wasm_fn_core::WeightError| ApiError::invalid_strategy(error))
}

fn gate_spec(gate: &GateOptions) -> Result<GateSpec, ApiError> {
    let usual = GateSpec::default();
    let tolerated = |asked: Option<Tolerance>, usual: Option<f64>| match asked {
        Some(Tolerance { off: true, .. }) => None,
        Some(Tolerance { tolerate: Some(tolerate), .. }) => Some(tolerate),
        Some(_) | None => usual,
    };
    let spec = GateSpec {
        alpha: gate.alpha.unwrap_or(usual.alpha),
        errors: tolerated(gate.errors, usual.errors),
        latency_p99: tolerated(gate.latency_p99, usual.latency_p99),
        memory_p99: tolerated(gate.memory_p99, usual.memory_p99),
        max_error_rate: gate.max_error_rate,
        max_latency_p99: gate.max_latency_p99_ms.map(Duration::from_millis),
        min_requests: gate.min_requests.unwrap_or(usual.min_requests),
        floor: gate.floor.map_or(usual.floor, |floor| rollout::Floor {
            error_rate: floor.error_rate,
            requests: floor.requests,
        }),
    };
    spec.check().map_err(|error: rollout::GateError| ApiError::invalid_gate(&error as &dyn Display))?;
    Ok(spec)
}
