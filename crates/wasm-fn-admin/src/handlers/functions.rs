//! Reading functions, versions and history.

use std::{borrow::Cow, sync::Arc};

use axum::{Json, extract::State};
use wasm_fn_core::{FunctionName, Revision, VersionRef};
use wasm_fn_router::Stage;

use wasm_fn_api as api;
use wasm_fn_control::{
    host::Host,
    journal::Entry,
    state::{Action, Function as FunctionState},
};
use wasm_fn_store::{JournalRange, Store};

use crate::{
    ApiError,
    authorize::Caller,
    extract::{Function, Parameters, Plane},
    nodes::Others,
    view,
};

/// Most entries of a list in one answer.
const ENTRIES_MAX: u32 = 1000;

/// Number of entries if the client sets no limit.
const HISTORY_DEFAULT: u32 = 100;

/// Lists functions, sorted by name.
pub(crate) async fn list<H: Host, S: Store>(
    State(control): Plane<H, S>,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::FunctionsQuery>,
) -> Result<Json<api::FunctionList>, ApiError> {
    let limit = limit(query.limit, ENTRIES_MAX)?;
    let after: Option<FunctionName> = query.after.as_deref().map(str::parse).transpose()?;
    let own = {
        let (state, table) = (control.state(), control.tables().load_full());
        let mut wanted = state.functions_after(after.as_ref()).filter(|(name, _)| caller.sees(name));
        let functions = wanted.by_ref().take(limit).map(|(name, function)| {
            let stages = table.stages_of(name).iter().filter(|stage| caller.sees_stage(stage.name()));
            let stages: Vec<&Stage<H::Version>> = stages.map(|stage| &**stage).collect();
            view::summary(name, &seen(function, &caller), &stages)
        });
        let functions = functions.collect();
        let more = wanted.next().is_some();
        api::FunctionList { revision: state.revision().0, functions, more, nodes: Vec::new() }
    };
    Ok(Json(others.added_to(own).await))
}

/// How many entries of a list to answer with, if the client `asked` for so many.
pub(super) fn limit(asked: Option<u32>, default: u32) -> Result<usize, ApiError> {
    let limit = asked.unwrap_or(default);
    if !(1..=ENTRIES_MAX).contains(&limit) {
        return Err(ApiError::invalid_request(format!("limit is {limit}, expected 1 to {ENTRIES_MAX}")));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Shows one function: its stages, their splits, and the numbers of every version.
pub(crate) async fn status<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
    caller: Caller,
    others: Others,
    Parameters(_): Parameters<api::NodeQuery>,
) -> Result<Json<api::FunctionStatus>, ApiError> {
    let own = {
        let (state, table) = (control.state(), control.tables().load_full());
        let function = seen(state.function(&name)?, &caller);
        view::status(&*control, &name, &function, &table)
    };
    Ok(Json(others.added_to(own).await))
}

/// Lists the versions of a function, newest first.
pub(crate) async fn versions<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
    caller: Caller,
    Parameters(query): Parameters<api::VersionsQuery>,
) -> Result<Json<api::VersionList>, ApiError> {
    let limit = limit(query.limit, ENTRIES_MAX)?;
    let state = control.state();
    let before = match query.before.as_deref().map(str::parse::<VersionRef>).transpose()? {
        None => None,
        Some(VersionRef::No(before)) => Some(before),
        Some(role) => {
            let detail = format!("before is {role}, expected a number such as v2");
            return Err(ApiError::invalid_request(detail));
        }
    };
    let function = &*seen(state.function(&name)?, &caller);
    let wanted = function.versions.iter().rev().filter(|&(&no, _)| before.is_none_or(|before| no < before));
    let mut versions: Vec<_> =
        wanted.take(limit + 1).map(|(&no, version)| view::version(function, no, version)).collect();
    let more = versions.len() > limit;
    versions.truncate(limit);
    Ok(Json(api::VersionList { function: name.to_string(), versions, more }))
}

/// Shows the journal of a function, newest first. The journal of a deleted function is kept.
pub(crate) async fn history<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(name): Function,
    caller: Caller,
    Parameters(query): Parameters<api::HistoryQuery>,
) -> Result<Json<api::HistoryPage>, ApiError> {
    let limit = limit(query.limit, HISTORY_DEFAULT)?;
    let state = control.state();
    if state.stored_function(&name).is_none() {
        state.function(&name)?;
    }
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
        entries: entries
            .iter()
            .take(limit)
            .filter(|entry| is_seen(entry, &caller))
            .flat_map(view::entries)
            .collect(),
    }))
}

/// `function` as `caller` sees it: without stages that are out of scope.
pub(super) fn seen<'a>(function: &'a Arc<FunctionState>, caller: &Caller) -> Cow<'a, FunctionState> {
    let deployed_to = function.versions.values().flat_map(|version| version.stage_configs.keys());
    let mut stages = function.stages.keys().chain(function.proposals.keys()).chain(deployed_to);
    if stages.all(|stage| caller.sees_stage(stage)) {
        return Cow::Borrowed(function);
    }
    let mut function = FunctionState::clone(function);
    function.stages.retain(|stage, _| caller.sees_stage(stage));
    function.ended.retain(|stage, _| caller.sees_stage(stage));
    function.proposals.retain(|stage, _| caller.sees_stage(stage));
    for version in function.versions.values_mut().map(Arc::make_mut) {
        version.stage_configs.retain(|stage, _| caller.sees_stage(stage));
        version.verdict = version.verdict.take().filter(|verdict| caller.sees_stage(&verdict.stage));
    }
    Cow::Owned(function)
}

/// Whether `caller` sees `entry`, which is about a function that they see.
fn is_seen(entry: &Entry, caller: &Caller) -> bool {
    entry.change.action().and_then(Action::stage).is_none_or(|stage| caller.sees_stage(stage))
}
