//! The addresses of versions, and the tokens for them.

use axum::{Json, extract::State};
use wasm_fn_core::{FunctionName, PreviewAccess, StageName, VersionRef};

use super::{
    ApiError,
    extract::{Function, Parameters, Plane},
    view,
};
use crate::{
    control::{Control, ControlError},
    host::Host,
    state::{PlanError, StageState},
    store::Store,
    wire,
};

/// Where the versions of a function are reached by themselves, with the token for that.
#[utoipa::path(get, path = "/v1/functions/{function}/preview", tag = "functions", security(("token" = [])),
    params(("function" = String, Path, description = "Name of the function"), wire::PreviewQuery),
    responses(
        (status = 200, description = "The addresses", body = wire::Preview),
        (status = 400, description = "`invalid-name`, `invalid-version`", body = wire::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-function`, `unknown-stage`, `unknown-version`", body = wire::Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = wire::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn preview<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
    Parameters(query): Parameters<wire::PreviewQuery>,
) -> Result<Json<wire::Preview>, ApiError> {
    let (state, table) = (control.state(), control.tables().load_full());
    let stage: StageName = query.stage.parse()?;
    let unknown = || PlanError::UnknownStage { function: name.clone(), stage: stage.clone() };
    let stands = state.function(&name)?.stages.get(&stage).ok_or_else(unknown).map_err(ControlError::from)?;
    let published = table.stage(&name, &stage).ok_or_else(unknown).map_err(ControlError::from)?;
    let asked: Vec<VersionRef> = match query.version {
        Some(text) => vec![text.parse()?],
        None => with_roles(stands),
    };
    let access = published.preview();
    let asked = if access == PreviewAccess::Off { Vec::new() } else { asked };
    let mut addresses = Vec::new();
    for asked in asked {
        let version = state.resolve(&name, &stage, asked)?;
        addresses.push(address(
            &control,
            &name,
            &stage,
            asked,
            wire::PreviewAddress {
                version: version.to_string(),
                role: view::role(stands, version),
                path: String::new(),
                host: None,
                no_host: None,
            },
        ));
    }
    Ok(Json(wire::Preview {
        function: name.to_string(),
        stage: stage.to_string(),
        access: access.to_string(),
        token: (access == PreviewAccess::Token).then(|| control.access.preview_token(&name)),
        guest_path: if published.own_path().is_empty() { "/" } else { published.own_path() }.to_owned(),
        addresses,
    }))
}

/// The versions that have a role, newest first.
fn with_roles(stage: &StageState) -> Vec<VersionRef> {
    let roles = [Some(stage.stable), stage.canary(), stage.newest_previous()];
    let mut versions: Vec<_> = roles.into_iter().flatten().collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions.into_iter().map(VersionRef::No).collect()
}

/// `version` with its addresses, which name it as it was `asked` for.
fn address<H: Host, S: Store>(
    control: &Control<H, S>,
    function: &FunctionName,
    stage: &StageName,
    asked: VersionRef,
    version: wire::PreviewAddress,
) -> wire::PreviewAddress {
    if !stage.is_live() {
        return wire::PreviewAddress { path: format!("/{function}@{stage}@{asked}"), ..version };
    }
    let host = control.preview_domain.as_ref().map(|domain| domain.host(asked, function));
    let (host, no_host) = match host {
        None => (None, None),
        Some(Ok(host)) => (Some(host), None),
        Some(Err(error)) => (None, Some(error.to_string())),
    };
    wire::PreviewAddress { path: format!("/{function}@{asked}"), host, no_host, ..version }
}

/// Makes every preview token of this node so far worthless.
#[utoipa::path(post, path = "/v1/preview-key", tag = "node", security(("token" = [])), responses(
    (status = 200, description = "There is a new key", body = wire::PreviewKeyRotated),
    (status = "4XX", description = "Refused", body = wire::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn rotate_key<H: Host, S: Store>(
    State(control): Plane<H, S>,
) -> Result<Json<wire::PreviewKeyRotated>, ApiError> {
    let at_ms = control.clock.now_ms();
    let rotated = tokio::task::spawn_blocking(move || control.access.rotate_preview_key()).await;
    match rotated {
        Ok(Ok(())) => {
            tracing::info!("preview key rotated");
            Ok(Json(wire::PreviewKeyRotated { at_ms }))
        }
        Ok(Err(error)) => Err(ApiError::internal(error)),
        Err(_) => Err(ControlError::Interrupted.into()),
    }
}
