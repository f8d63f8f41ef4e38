//! Moving traffic between versions, and deleting stages and functions.

use std::sync::Arc;

use axum::{Json, extract::State};
use wasm_fn_access::Target;
use wasm_fn_core::{FunctionName, StageName, VersionRef, Weight};
use wasm_fn_rollout::Command;

use wasm_fn_api as api;
use wasm_fn_control::{
    Control, ControlError,
    host::Host,
    state::{ChangeError, SeenRollout, State as Decided},
};
use wasm_fn_store::Store;

use crate::{
    ApiError,
    authorize::Caller,
    extract::{Function, FunctionStage, JsonBody, Parameters, Plane},
    view,
};

/// Most shares in one request.
const SHARES_MAX: usize = 256;

type Answer = Result<Json<api::StageChanged>, ApiError>;

fn answer(name: &FunctionName, stage: &StageName, state: &Arc<Decided>) -> Answer {
    let function = state.function(name)?;
    let stands = function.stages.get(stage).ok_or_else(|| {
        ControlError::from(ChangeError::NoSuchStage { function: name.clone(), stage: stage.clone() })
    })?;
    Ok(Json(view::changed(name, function, stage, stands)))
}

/// Sets the weights of a stage.
pub(crate) async fn set<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::TrafficRequest>,
) -> Answer {
    let stage: StageName = request.stage.parse()?;
    let found = request.split.len();
    if found > SHARES_MAX {
        return Err(ApiError::invalid_split(format!("{found} shares, expected at most {SHARES_MAX}")));
    }
    let shares: Result<Vec<(VersionRef, Weight)>, ApiError> =
        request.split.iter().map(|share| Ok((share.version.parse()?, share.weight.parse()?))).collect();
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let state = control.set_traffic(function.clone(), stage.clone(), shares?, note).await?;
    answer(&function, &stage, &state)
}

/// Takes the rollout to its next step, or with `full`, to its end.
pub(crate) async fn promote<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::PromoteRequest>,
) -> Answer {
    let stage: StageName = request.stage.parse()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let command = if request.full { Command::PromoteFully } else { Command::Promote };
    let seen = request.seen.map(seen).transpose()?;
    let state = control.command_as_seen(function.clone(), stage.clone(), command, seen, note).await?;
    answer(&function, &stage, &state)
}

fn seen(seen: api::RolloutSeen) -> Result<SeenRollout, ApiError> {
    let held = matches!(seen.phase.as_str(), "paused" | "frozen");
    let canary = match seen.canary.parse()? {
        VersionRef::No(canary) => canary,
        role => {
            return Err(ApiError::invalid_request(format!(
                "seen.canary is {role}, expected a number such as v2"
            )));
        }
    };
    Ok(SeenRollout { canary, started_ms: seen.started_ms, step: seen.step, held })
}

/// Ends a rollout. All traffic goes to stable, or back to the split that was set by hand before it.
pub(crate) async fn abort<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::AbortRequest>,
) -> Answer {
    let stage: StageName = request.stage.parse()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let (name, on) = (function.clone(), stage.clone());
    let state = if request.now {
        control.abort_now(name, on, note).await?
    } else {
        control.command(name, on, Command::Abort, note).await?
    };
    answer(&function, &stage, &state)
}

/// Pauses the rollout where it is.
pub(crate) async fn pause<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::HoldRequest>,
) -> Answer {
    hold(&control, function, caller, request, Command::Pause).await
}

/// Resumes a paused rollout, under a new gate.
pub(crate) async fn resume<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::HoldRequest>,
) -> Answer {
    hold(&control, function, caller, request, Command::Resume).await
}

async fn hold<H: Host, S: Store>(
    control: &Arc<Control<H, S>>,
    function: FunctionName,
    caller: Caller,
    request: api::HoldRequest,
    command: Command,
) -> Answer {
    let stage: StageName = request.stage.parse()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let state = control.command(function.clone(), stage.clone(), command, note).await?;
    answer(&function, &stage, &state)
}

/// Sends all traffic to an earlier version. Aborts a rollout that is under way.
pub(crate) async fn rollback<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::RollbackRequest>,
) -> Answer {
    let stage: StageName = request.stage.parse()?;
    let to = request.to.as_deref().map(str::parse).transpose()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let (state, before) = control.rollback(function.clone(), stage.clone(), to, note).await?;
    let Json(changed) = answer(&function, &stage, &state)?;
    Ok(Json(api::StageChanged { split_before: view::shares(&before), ..changed }))
}

/// Deletes a stage of a function. The function's versions stay.
pub(crate) async fn delete_stage<H: Host, S: Store>(
    State(control): Plane<H, S>,
    FunctionStage(function, stage): FunctionStage,
    caller: Caller,
    Parameters(query): Parameters<api::DeleteQuery>,
) -> Result<Json<api::StageDeleted>, ApiError> {
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(query.message, query.expected_revision)?;
    let state = control.delete_stage(function.clone(), stage.clone(), note).await?;
    let revision = state.revision().0;
    Ok(Json(api::StageDeleted { function: function.to_string(), stage: stage.to_string(), revision }))
}

/// Deletes a function. Its version numbers are never used again.
pub(crate) async fn delete<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    Parameters(query): Parameters<api::DeleteQuery>,
) -> Result<Json<api::Deleted>, ApiError> {
    let granted = caller.on(Target::Function(&function))?;
    let note = granted.note(query.message, query.expected_revision)?;
    let state = control.delete(function.clone(), note).await?;
    Ok(Json(api::Deleted { function: function.to_string(), revision: state.revision().0 }))
}
