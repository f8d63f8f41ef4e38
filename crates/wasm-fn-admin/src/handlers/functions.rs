//! Reading functions, versions and history.

use std::collections::HashMap;

use axum::{Json, extract::State};
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_router::Stage;

use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_store::{JournalRange, Store};

use crate::{
    ApiError,
    extract::{Function, Parameters, Plane},
    view,
};

/// Most entries of the history in one answer.
const HISTORY_MAX: u32 = 1000;

/// Number of entries if the client sets no limit.
const HISTORY_DEFAULT: u32 = 100;

/// Lists every function.
pub(crate) async fn list<H: Host, S: Store>(State(control): Plane<H, S>) -> Json<api::FunctionList> {
    let (state, table) = (control.state(), control.tables().load_full());
    let mut published: HashMap<&FunctionName, Vec<&Stage<H::Version>>> = HashMap::new();
    for stage in table.stages() {
        published.entry(stage.function()).or_default().push(stage);
    }
    let functions = state.functions().map(|(name, function)| {
        view::summary(name, function, published.get(name).map(Vec::as_slice).unwrap_or_default())
    });
    Json(api::FunctionList { revision: state.revision().0, functions: functions.collect() })
}

/// Shows one function: its stages, their splits, and the numbers of every version.
pub(crate) async fn status<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
) -> Result<Json<api::FunctionStatus>, ApiError> {
    let (state, table) = (control.state(), control.tables().load_full());
    let function = state.function(&name)?;
    Ok(Json(view::status(&*control, &name, function, &table)))
}

/// Lists the versions of a function, newest first.
pub(crate) async fn versions<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
) -> Result<Json<api::VersionList>, ApiError> {
    let state = control.state();
    let function = state.function(&name)?;
    let versions = function.versions.iter().rev().map(|(&no, version)| view::version(function, no, version));
    Ok(Json(api::VersionList { function: name.to_string(), versions: versions.collect() }))
}

/// Shows the journal of a function, newest first. The journal of a deleted function is kept.
pub(crate) async fn history<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
    Parameters(query): Parameters<api::HistoryQuery>,
) -> Result<Json<api::HistoryPage>, ApiError> {
    let limit = query.limit.unwrap_or(HISTORY_DEFAULT);
    if !(1..=HISTORY_MAX).contains(&limit) {
        return Err(ApiError::invalid_request(format!("limit is {limit}, expected 1 to {HISTORY_MAX}")));
    }
    let state = control.state();
    if state.stored_function(&name).is_none() {
        state.function(&name)?;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Reading one more than asked for tells whether there are more.
    let range = JournalRange {
        function: Some(name.clone()),
        before: query.before.map(Revision),
        limit: limit.saturating_add(1),
    };
    let entries = control.journal(range).await?;
    Ok(Json(api::HistoryPage {
        function: name.to_string(),
        more: entries.len() > limit,
        entries: entries.iter().take(limit).flat_map(view::entries).collect(),
    }))
}
