//! The handlers, one for each operation.

mod approvals;
mod audit;
mod backup;
mod buckets;
mod cluster;
mod components;
mod deployments;
mod events;
mod functions;
mod logs;
pub(crate) mod metrics;
mod node;
mod page;
mod preview;
mod published;
mod secrets;
mod series;
mod tokens;
mod traces;
mod traffic;
mod triggers;
mod watch;

use axum::{
    Json, Router,
    routing::{MethodRouter, delete, get, head, post, put},
};
use wasm_fn_api::Operation;
use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

use crate::admin::Shared;

/// The routes of the page, which are no operations.
pub(crate) fn page<H: Host, S: Store>() -> Router<Shared<H, S>> {
    page::router()
}

/// The route that handles `operation`.
pub(crate) fn handler<H: Host, S: Store>(operation: Operation) -> MethodRouter<Shared<H, S>> {
    match operation {
        Operation::Healthz => get(node::healthz),
        Operation::Readyz => get(node::readyz::<H, S>),
        Operation::Metrics => get(metrics::metrics::<H, S>),
        Operation::Describe => get(async || Json(wasm_fn_api::openapi())),
        Operation::GetLogin => get(node::login::<H, S>),
        Operation::GetNode => get(node::node::<H, S>),
        Operation::GetRevision => get(published::published::<H, S>),
        Operation::GetCluster => get(cluster::show::<H, S>),
        Operation::DrainNode => post(cluster::drain::<H, S>),
        Operation::GetBackup => get(backup::backup::<H, S>),
        Operation::RotatePreviewKey => post(preview::rotate_key::<H, S>),
        Operation::GetCaller => get(tokens::caller::<H, S>),
        Operation::ListTokens => get(tokens::list::<H, S>),
        Operation::CreateToken => post(tokens::create::<H, S>),
        Operation::RotateToken => post(tokens::rotate::<H, S>),
        Operation::RevokeToken => delete(tokens::revoke::<H, S>),
        Operation::GetAudit => get(audit::audit::<H, S>),
        Operation::GetAuditHead => get(audit::head::<H, S>),
        Operation::PutComponent => put(components::put::<H, S>),
        Operation::HeadComponent => head(components::head::<H, S>),
        Operation::ListFunctions => get(functions::list::<H, S>),
        Operation::ListSeries => get(series::list::<H, S>),
        Operation::GetSeries => get(series::show::<H, S>),
        Operation::WatchFunctions => get(watch::functions::<H, S>),
        Operation::WatchFunction => get(watch::function::<H, S>),
        Operation::GetFunction => get(functions::status::<H, S>),
        Operation::DeleteFunction => delete(traffic::delete::<H, S>),
        Operation::DeleteStage => delete(traffic::delete_stage::<H, S>),
        Operation::ListSecrets => get(secrets::list::<H, S>),
        Operation::SetSecret => put(secrets::set::<H, S>),
        Operation::SetSecrets => post(secrets::set_all::<H, S>),
        Operation::DeleteSecret => delete(secrets::delete::<H, S>),
        Operation::RotateSecretsKey => post(secrets::rotate_key::<H, S>),
        Operation::ListKeys => get(buckets::list::<H, S>),
        Operation::GetValue => get(buckets::get::<H, S>),
        Operation::PutValue => put(buckets::put::<H, S>),
        Operation::DeleteValue => delete(buckets::delete::<H, S>),
        Operation::ListTriggers => get(triggers::list::<H, S>),
        Operation::ListAllTriggers => get(triggers::list_all::<H, S>),
        Operation::GetTrigger => get(triggers::show::<H, S>),
        Operation::AddTrigger => put(triggers::add::<H, S>),
        Operation::RemoveTrigger => delete(triggers::remove::<H, S>),
        Operation::PauseTrigger => post(triggers::pause::<H, S>),
        Operation::ResumeTrigger => post(triggers::resume::<H, S>),
        Operation::RunTrigger => post(triggers::run::<H, S>),
        Operation::BackfillTrigger => post(triggers::backfill::<H, S>),
        Operation::ListEvents => get(events::list::<H, S>),
        Operation::GetEvent => get(events::show::<H, S>),
        Operation::RedriveEvents => post(events::redrive::<H, S>),
        Operation::DiscardEvents => post(events::discard::<H, S>),
        Operation::ListVersions => get(functions::versions::<H, S>),
        Operation::GetHistory => get(functions::history::<H, S>),
        Operation::GetPreview => get(preview::preview::<H, S>),
        Operation::GetLogs => get(logs::logs::<H, S>),
        Operation::GetTraces => get(traces::list::<H, S>),
        Operation::Deploy => post(deployments::deploy::<H, S>),
        Operation::PromoteStage => post(deployments::promote_stage::<H, S>),
        Operation::Approve => post(approvals::approve::<H, S>),
        Operation::Reject => post(approvals::reject::<H, S>),
        Operation::SetTraffic => put(traffic::set::<H, S>),
        Operation::Promote => post(traffic::promote::<H, S>),
        Operation::Pause => post(traffic::pause::<H, S>),
        Operation::Resume => post(traffic::resume::<H, S>),
        Operation::Abort => post(traffic::abort::<H, S>),
        Operation::RollBack => post(traffic::rollback::<H, S>),
    }
}
