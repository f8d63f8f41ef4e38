//! Which revision is published here, and everywhere.

use std::time::Duration;

use axum::{Json, extract::State};
use futures_util::future::join_all;
use tokio::time::Instant;
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::Revision;
use wasm_fn_store::Store;

use crate::{
    ApiError, OtherNode,
    catch_up::reach,
    extract::{Parameters, Plane},
    nodes::{Others, PATIENCE},
};

/// How long to wait if the client does not say.
const WAIT_DEFAULT_MS: u64 = 10_000;

/// How long a client may have the node wait.
const WAIT_MAX_MS: u64 = 60_000;

/// How long another node waits at a time: less than it is waited for.
const ASKED_WAIT: Duration = Duration::from_millis(1500);

/// How long to wait before a node that has not answered is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until a revision is published on this node or on all, and tells where it is.
pub(crate) async fn published<H: Host, S: Store>(
    State(control): Plane<H, S>,
    others: Others,
    Parameters(query): Parameters<api::RevisionQuery>,
) -> Result<Json<api::RevisionView>, ApiError> {
    let wait_ms = query.wait_ms.unwrap_or(WAIT_DEFAULT_MS);
    if wait_ms > WAIT_MAX_MS {
        let detail = format!("wait_ms is {wait_ms}, expected at most {WAIT_MAX_MS}");
        return Err(ApiError::invalid_request(detail));
    }
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let wanted = query.at_least.map_or_else(|| control.state().revision(), Revision);
    let revision = reach(&*control, wanted, Duration::from_millis(wait_ms)).await?;
    let mut nodes = Vec::new();
    if let Some(cluster) = others.cluster().filter(|_| query.everywhere) {
        nodes = join_all(cluster.others().into_iter().map(|other| on(&others, other, wanted, until))).await;
    }
    Ok(Json(api::RevisionView { revision: revision.0, nodes }))
}

/// Waits until another node has published `wanted`, but no longer than `until`. A node that is not there is
/// not waited for.
async fn on(others: &Others, other: OtherNode, wanted: Revision, until: Instant) -> api::NodeRevisionView {
    let OtherNode { name, silent } = other;
    let view =
        |published, live, missing| api::NodeRevisionView { node: name.to_string(), published, live, missing };
    if let Some(reason) = silent {
        return view(false, false, Some(reason));
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let wait_ms = ASKED_WAIT.min(left).as_millis();
        let target = format!("/v1/revision?at_least={wanted}&wait_ms={wait_ms}");
        let reason = match others.ask_one(name.clone(), target, PATIENCE).await {
            Ok(_) => return view(true, true, None),
            Err(reason) => reason,
        };
        let is_there =
            others.cluster().is_some_and(|cluster| cluster.others().iter().any(|other| other.name == name));
        if !is_there {
            return view(false, false, Some("it has left the cluster".to_owned()));
        }
        if Instant::now() >= until {
            return view(false, true, Some(reason));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
