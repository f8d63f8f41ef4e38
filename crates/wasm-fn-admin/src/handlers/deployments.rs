//! Deployments.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use wasm_fn_access::{Permission, Target};
use wasm_fn_core::{FunctionConfig, FunctionName, StageConfig, StageName, VersionRef, Weight};

use wasm_fn_api as api;
use wasm_fn_control::{
    Control, Deploy, Deployed, Note,
    host::{Host, Progress},
    state::ChangeError,
};
use wasm_fn_store::Store;

use crate::{
    ApiError, NDJSON,
    authorize::Caller,
    extract::{Function, FunctionStage, JsonBody, Plane, WantsLines},
    strategy, view,
};

/// How many events may wait for a slow client. Further progress is skipped.
const EVENTS_MAX: usize = 64;

/// Creates a version of a function and gives it traffic.
pub(crate) async fn deploy<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    caller: Caller,
    WantsLines(lines): WantsLines,
    JsonBody(request): JsonBody<api::DeployRequest>,
) -> Result<Response, ApiError> {
    let mut deploy = parse(function, &request)?;
    deploy.may_move_traffic =
        caller.may(Permission::MoveTraffic, Target::Stage(&deploy.function, &deploy.stage));
    let granted = caller.on(Target::Stage(&deploy.function, &deploy.stage))?;
    let note = granted.note(request.release.message.clone(), request.release.expected_revision)?;
    answer(control, deploy, note, lines).await
}

/// Takes the version that is stable in one stage to another.
pub(crate) async fn promote_stage<H: Host, S: Store>(
    State(control): Plane<H, S>,
    FunctionStage(function, stage): FunctionStage,
    caller: Caller,
    WantsLines(lines): WantsLines,
    JsonBody(request): JsonBody<api::PromoteStageRequest>,
) -> Result<Response, ApiError> {
    let api::PromoteStageRequest { from, release } = request;
    let from: StageName = from.parse()?;
    // Whoever may not see a stage may not find out what is stable there.
    let _ = caller.on(Target::Stage(&function, &from))?;
    let granted = caller.on(Target::Stage(&function, &stage))?;
    let note = granted.note(release.message.clone(), release.expected_revision)?;
    let state = control.state();
    let stable = state.resolve(&function, &from, VersionRef::Stable);
    let stable = stable.map_err(|_| ChangeError::NoSuchStage { function: function.clone(), stage: from });
    let build = &state.function(&function)?.versions[&stable?].build;
    let deploy = Deploy {
        function,
        stage,
        component: build.digest,
        config: Arc::clone(&build.config),
        stage_config: stage_config(&release)?,
        strategy: strategy::strategy(&release.strategy, &release.rollout, &release.gate)?,
        prepared: prepared(&release)?,
        replace: release.replace,
        may_move_traffic: true,
        allow_new: release.allow_new,
        provenance: None,
    };
    answer(control, deploy, note, lines).await
}

async fn answer<H: Host, S: Store>(
    control: Arc<Control<H, S>>,
    deploy: Deploy,
    note: Note,
    lines: bool,
) -> Result<Response, ApiError> {
    if lines {
        return Ok(follow(control, deploy, note));
    }
    let (name, stage) = (deploy.function.clone(), deploy.stage.clone());
    let deployed = control.deploy(deploy, note, Arc::new(|_| {})).await?;
    Ok(Json(result(&control, &name, &stage, &deployed)).into_response())
}

fn parse(function: FunctionName, request: &api::DeployRequest) -> Result<Deploy, ApiError> {
    let release = &request.release;
    Ok(Deploy {
        function,
        stage: request.stage.parse()?,
        component: request.component.parse()?,
        config: Arc::new(FunctionConfig::try_from(&request.config)?),
        stage_config: stage_config(release)?,
        strategy: strategy::strategy(&release.strategy, &release.rollout, &release.gate)?,
        prepared: prepared(release)?,
        replace: release.replace,
        may_move_traffic: false,
        allow_new: release.allow_new,
        provenance: None,
    })
}

/// The share of the nodes that must have prepared the version.
fn prepared(release: &api::ReleaseRequest) -> Result<Weight, ApiError> {
    Ok(release.prepared.as_deref().map(str::parse).transpose()?.unwrap_or(Weight::FULL))
}

fn stage_config(release: &api::ReleaseRequest) -> Result<Option<Arc<StageConfig>>, ApiError> {
    let config = release.stage_config.as_ref().map(StageConfig::try_from).transpose()?;
    Ok(config.map(Arc::new))
}

fn result<H: Host, S: Store>(
    control: &Control<H, S>,
    name: &FunctionName,
    stage: &wasm_fn_core::StageName,
    deployed: &Deployed,
) -> api::DeployResult {
    let now_ms = control.now().0;
    let function = deployed.state.function(name).ok();
    let stands = function.and_then(|function| function.stages.get(stage));
    api::DeployResult {
        function: name.to_string(),
        stage: stage.to_string(),
        version: deployed.version.to_string(),
        kind: deployed.kind.clone(),
        unchanged: deployed.unchanged,
        first: deployed.first,
        optimising: deployed.is_optimising,
        split: stands.map(|stands| view::shares(&stands.split)).unwrap_or_default(),
        rollout: stands.and_then(view::rollout),
        routes: function.map(|function| view::routes(name, function, stage)).unwrap_or_default(),
        pending: function
            .map(|function| view::pending(name, function, stage, deployed.version))
            .unwrap_or_default(),
        growth: deployed.growth.texts().to_vec(),
        proposal: function
            .and_then(|function| function.proposals.get(stage))
            .filter(|proposal| proposal.version == deployed.version)
            .map(|proposal| view::proposal(stage, proposal, deployed.state.tokens(), now_ms)),
        needs_approval: control.is_unapproved(&deployed.state, name, stage, deployed.version),
        revision: function.map_or(deployed.state.revision(), |function| function.revision).0,
    }
}

/// Answers with lines of progress. The last line is the result.
fn follow<H: Host, S: Store>(control: Arc<Control<H, S>>, deploy: Deploy, note: Note) -> Response {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let progress = {
        let sender = sender.clone();
        move |Progress { stage, done, total }: Progress| {
            // A slow client misses progress, but never the result.
            let _ = sender.try_send(api::DeployEvent::Progress { stage: stage.to_owned(), done, total });
        }
    };
    tokio::spawn(async move {
        let (name, stage) = (deploy.function.clone(), deploy.stage.clone());
        let event = match control.deploy(deploy, note, Arc::new(progress)).await {
            Ok(deployed) => api::DeployEvent::Done { result: result(&control, &name, &stage, &deployed) },
            Err(error) => api::DeployEvent::Error { problem: ApiError::from(error).into_problem() },
        };
        // A client that has left needs no result.
        let _ = sender.send(event).await;
    });
    lines(ReceiverStream::new(events))
}

/// An answer with one line of JSON for each event.
pub(crate) fn lines<E: serde::Serialize + Send + 'static>(
    events: impl tokio_stream::Stream<Item = E> + Send + 'static,
) -> Response {
    let lines = events.map(|event| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response
}
