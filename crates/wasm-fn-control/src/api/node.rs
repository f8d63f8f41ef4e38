//! The node itself: alive, ready, what it is.

use axum::Json;

use super::{ApiError, extract::Plane};
use crate::{host::Host, store::Store, wire};

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "node", responses(
    (status = 200, description = "The process answers", body = String, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether a route table is published, every version with traffic can be called, and the node is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "node", responses(
    (status = 200, description = "Functions can be called", body = String, content_type = "text/plain"),
    (status = 503, description = "Not yet, or no longer", body = wire::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn readyz<H: Host, S: Store>(
    axum::extract::State(control): Plane<H, S>,
) -> Result<&'static str, ApiError> {
    // A control plane that exists has published its first table.
    if *control.stopping.borrow() {
        return Err(ApiError::not_ready("the node is stopping"));
    }
    if let Some(why) = &*control.unready.borrow() {
        return Err(ApiError::not_ready(why));
    }
    Ok("ready\n")
}

/// What this node is.
#[utoipa::path(get, path = "/v1/node", tag = "node", security(("token" = [])), responses(
    (status = 200, description = "The node", body = wire::Node),
    (status = "4XX", description = "Refused", body = wire::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn node<H: Host, S: Store>(axum::extract::State(control): Plane<H, S>) -> Json<wire::Node> {
    let state = control.state();
    Json(wire::Node {
        version: control.program_version.clone(),
        data_listen: control.data_listen.clone(),
        revision: state.revision().0,
        functions: state.functions().count() as u64,
        started_ms: control.started.0,
        component_bytes_max: control.blobs.bytes_max(),
    })
}
