//! Releases that others approve before they begin.

use axum::{Json, extract::State};
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::{Revision, StageName};
use wasm_fn_store::Store;

use crate::{
    ApiError,
    authorize::Caller,
    extract::{Function, JsonBody, Plane},
};

/// Approves the release that waits in a stage. With the last approval that it needs, it begins.
pub(crate) async fn approve<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::ApprovalRequest>,
) -> Result<Json<api::ApprovalResult>, ApiError> {
    let stage: StageName = request.stage.parse()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let version = control.state().proposal(&function, &stage)?.version;
    let seen = Revision(request.proposal);
    let state = control.approve(function.clone(), stage.clone(), seen, note).await?;
    let waits = state.proposal(&function, &stage).ok();
    let missing = waits.map_or(0, |waits| {
        waits.approvers.saturating_sub(u32::try_from(waits.approvals.len()).unwrap_or(u32::MAX))
    });
    Ok(Json(api::ApprovalResult {
        function: function.to_string(),
        stage: stage.to_string(),
        version: version.to_string(),
        missing,
        revision: state.revision().0,
    }))
}

/// Withdraws the release that waits in a stage. Its version stays.
pub(crate) async fn reject<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::ApprovalRequest>,
) -> Result<Json<api::ApprovalResult>, ApiError> {
    let stage: StageName = request.stage.parse()?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(request.message, request.expected_revision)?;
    let version = control.state().proposal(&function, &stage)?.version;
    let seen = Revision(request.proposal);
    let state = control.reject(function.clone(), stage.clone(), seen, note).await?;
    Ok(Json(api::ApprovalResult {
        function: function.to_string(),
        stage: stage.to_string(),
        version: version.to_string(),
        missing: 0,
        revision: state.revision().0,
    }))
}
