//! The addresses of versions, and the tokens for them.

use axum::{Json, extract::State};
use wasm_fn_access::Target;
use wasm_fn_core::{FunctionName, PreviewAccess, PreviewDomain, StageName, VersionRef};

use wasm_fn_api as api;
use wasm_fn_control::{
    ControlError,
    host::Host,
    state::{ChangeError, StageState},
};
use wasm_fn_store::Store;

use crate::{
    ApiError,
    admin::Shared,
    authorize::Caller,
    extract::{Function, Parameters, Plane},
    view,
};

/// Shows the addresses of a function's versions, with the token for them.
pub(crate) async fn preview<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(name): Function,
    caller: Caller,
    Parameters(query): Parameters<api::PreviewQuery>,
) -> Result<Json<api::PreviewView>, ApiError> {
    let stage: StageName = query.stage.parse()?;
    let _ = caller.on(Target::Stage(&name, &stage))?;
    let control = &admin.control;
    let (state, table) = (control.state(), control.tables().load_full());
    let unknown = || ChangeError::NoSuchStage { function: name.clone(), stage: stage.clone() };
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
            admin.options.preview_domain.as_ref(),
            &name,
            &stage,
            asked,
            api::PreviewAddress {
                version: version.to_string(),
                role: view::role(stands, version),
                path: String::new(),
                host: None,
                no_host: None,
            },
        ));
    }
    Ok(Json(api::PreviewView {
        function: name.to_string(),
        stage: stage.to_string(),
        access: access.to_string(),
        token: (access == PreviewAccess::Token).then(|| control.access().preview_token(&name, &stage)),
        guest_path: if published.own_path().is_empty() { "/" } else { published.own_path() }.to_owned(),
        addresses,
    }))
}

/// The versions with a role, newest first.
fn with_roles(stage: &StageState) -> Vec<VersionRef> {
    let roles = [Some(stage.stable), stage.canary(), stage.newest_previous()];
    let mut versions: Vec<_> = roles.into_iter().flatten().collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions.into_iter().map(VersionRef::No).collect()
}

/// The addresses of `version`. They name it as it was `asked` for.
fn address(
    domain: Option<&PreviewDomain>,
    function: &FunctionName,
    stage: &StageName,
    asked: VersionRef,
    version: api::PreviewAddress,
) -> api::PreviewAddress {
    if !stage.is_live() {
        return api::PreviewAddress { path: format!("/{function}@{stage}@{asked}"), ..version };
    }
    let host = domain.map(|domain| domain.host(asked, function));
    let (host, no_host) = match host {
        None => (None, None),
        Some(Ok(host)) => (Some(host), None),
        Some(Err(error)) => (None, Some(error.to_string())),
    };
    api::PreviewAddress { path: format!("/{function}@{asked}"), host, no_host, ..version }
}

/// Replaces the key of preview tokens, which makes every preview token of this node invalid.
pub(crate) async fn rotate_key<H: Host, S: Store>(
    State(control): Plane<H, S>,
    caller: Caller,
) -> Result<Json<api::PreviewKeyRotated>, ApiError> {
    let note = caller.on(Target::Node)?.note(None, None)?;
    control.rotate_preview_key(note).await?;
    Ok(Json(api::PreviewKeyRotated { at_ms: control.now().0 }))
}
