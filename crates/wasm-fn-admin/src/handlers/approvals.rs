//! Releases that others approve before they begin.

use std::sync::Arc;

use axum::{Json, extract::State};
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::{Control, Note, host::Host};
use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};
use wasm_fn_store::Store;

use crate::{
    ApiError,
    authorize::Caller,
    extract::{Function, JsonBody, Plane},
};

/// What is answered about a release that waits.
struct Answer {
    stage: StageName,
    version: VersionNo,
    proposal: Revision,
    note: Note,
}

impl Answer {
    /// Checks that `caller` may give it.
    fn of<H: Host, S: Store>(
        control: &Arc<Control<H, S>>,
        function: &FunctionName,
        caller: &Caller,
        request: api::ApprovalRequest,
    ) -> Result<Self, ApiError> {
        let stage: StageName = request.stage.parse()?;
        let granted = caller.on(Target::Stage(function, &stage))?;
        let note = granted.note(request.message, request.expected_revision)?;
        let version = control.state().proposal(function, &stage)?.version;
        Ok(Self { stage, version, proposal: Revision(request.proposal), note })
    }
}

/// Approves the release that waits in a stage. With the last approval that it needs, it begins.
pub(crate) async fn approve<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::ApprovalRequest>,
) -> Result<Json<api::ApprovalResult>, ApiError> {
    let Answer { stage, version, proposal, note } = Answer::of(&control, &function, &caller, request)?;
    let state = control.approve(function.clone(), stage.clone(), proposal, note).await?;
    let missing = state.proposal(&function, &stage).ok().map_or(0, |waits| {
        let valid = waits.valid_approvals(state.tokens(), control.now().0).count();
        waits.approvers.saturating_sub(u32::try_from(valid).unwrap_or(u32::MAX))
    });
    Ok(result(&function, &stage, version, missing, state.revision()))
}

/// Withdraws the release that waits in a stage. Its version stays.
pub(crate) async fn reject<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    JsonBody(request): JsonBody<api::ApprovalRequest>,
) -> Result<Json<api::ApprovalResult>, ApiError> {
    let Answer { stage, version, proposal, note } = Answer::of(&control, &function, &caller, request)?;
    let state = control.reject(function.clone(), stage.clone(), proposal, note).await?;
    Ok(result(&function, &stage, version, 0, state.revision()))
}

fn result(
    function: &FunctionName,
    stage: &StageName,
    version: VersionNo,
    missing: u32,
    revision: Revision,
) -> Json<api::ApprovalResult> {
    Json(api::ApprovalResult {
        function: function.to_string(),
        stage: stage.to_string(),
        version: version.to_string(),
        missing,
        revision: revision.0,
    })
}
