//! Reading traces of requests that failed or were slow.

use std::time::{Duration, Instant};

use axum::{Json, extract::State};
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::{ControlError, host::Host, state::ChangeError};
use wasm_fn_core::{FinishedRequest, OutgoingRequest, SpanDetail, SpanRecord, StageName};
use wasm_fn_store::Store;

use crate::{
    ApiError, TracedRequest,
    admin::Shared,
    authorize::Caller,
    extract::{Function, Parameters},
    nodes::Others,
};

/// Reads the traces of a function.
pub(crate) async fn list<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(function): Function,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::TracesQuery>,
) -> Result<Json<api::TraceList>, ApiError> {
    let state = admin.control.state();
    let stages = &state.function(&function)?.stages;
    let stage: Option<StageName> = query.stage.as_deref().map(str::parse).transpose()?;
    if let Some(stage) = &stage {
        let _ = caller.on(Target::Stage(&function, stage))?;
        if !stages.contains_key(stage) {
            return Err(
                ControlError::from(ChangeError::NoSuchStage { function, stage: stage.clone() }).into()
            );
        }
    }
    let kept = admin.options.telemetry.traces();
    let traced = kept.is_some();
    let wanted = |traced: &TracedRequest| {
        let (of, at) = traced.request.head.target.as_ref()?;
        let is_wanted =
            *of == function && stage.as_ref().map_or_else(|| caller.sees_stage(at), |stage| stage == at);
        is_wanted.then(|| view(traced, at))
    };
    let traces = kept.iter().flatten().filter_map(wanted).collect();
    let own = api::TraceList { traced, traces, nodes: Vec::new() };
    Ok(Json(others.added_to(own).await))
}

fn view(traced: &TracedRequest, stage: &StageName) -> api::TraceView {
    let TracedRequest { request, began_ms } = traced;
    let FinishedRequest { head, trace, spans, runs, status, ended, .. } = &**request;
    let last = runs.last();
    let mut spans: Vec<_> = spans.iter().map(|part| span(part, request)).collect();
    spans.sort_by(|a, b| a.from_ms.total_cmp(&b.from_ms).then(b.duration_ms.total_cmp(&a.duration_ms)));
    api::TraceView {
        node: None,
        trace_id: trace.as_ref().map(|trace| trace.id.to_string()).unwrap_or_default(),
        request_id: format!("{:032x}", head.request_id),
        at_ms: *began_ms,
        duration_ms: millis(head.began, *ended),
        stage: stage.to_string(),
        method: head.method.to_string(),
        path: head.path.to_string(),
        status: *status,
        version: last.map(|run| run.version.to_string()),
        outcome: last.map(|run| run.outcome.as_str().to_owned()),
        failed: request.is_failure(),
        spans,
    }
}

fn span(part: &SpanRecord, request: &FinishedRequest) -> api::TraceSpanView {
    let (name, version, error) = match &part.detail {
        SpanDetail::Queue => ("queue".to_owned(), None, None),
        SpanDetail::InstanceStart => ("instance start".to_owned(), None, None),
        SpanDetail::SecondRun { version } => ("second run".to_owned(), Some(version), None),
        SpanDetail::Guest { version, .. } => {
            let run = request.runs.iter().find(|run| run.version == *version && run.outcome.is_failure());
            let error = run.map(|run| match &run.trap {
                Some(trap) => format!("{}: {trap}", run.outcome.as_str()),
                None => run.outcome.as_str().to_owned(),
            });
            ("guest".to_owned(), Some(version), error)
        }
        SpanDetail::Outgoing(outgoing) => {
            let OutgoingRequest { method, scheme, host, port, path, end } = &**outgoing;
            let authority = if *port == scheme.port() { host.to_string() } else { format!("{host}:{port}") };
            let error = match end {
                Ok(status) if *status < 400 => None,
                Ok(status) => Some(status.to_string()),
                Err(reason) => Some(reason.to_string()),
            };
            (format!("{method} {}://{authority}{path}", scheme.as_str()), None, error)
        }
    };
    api::TraceSpanView {
        name,
        from_ms: millis(request.head.began, part.from),
        duration_ms: millis(part.from, part.to),
        version: version.map(ToString::to_string),
        error,
    }
}

/// Milliseconds from one moment to another, in steps of a microsecond.
fn millis(from: Instant, to: Instant) -> f64 {
    let took: Duration = to.saturating_duration_since(from);
    (took.as_secs_f64() * 1e6).round() / 1e3
}
