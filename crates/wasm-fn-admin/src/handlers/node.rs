//! The state of the node: alive, ready, its description; and how people log in.

use axum::{Json, extract::State};

use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

use crate::{ApiError, admin::Shared, authorize::Caller};

/// Checks whether the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Checks that a route table is published, that every version with traffic can be called, and that the node
/// is not stopping.
pub(crate) async fn readyz<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
) -> Result<&'static str, ApiError> {
    // An open control plane has already published its first table.
    if *admin.stopping.borrow() {
        return Err(ApiError::not_ready("the node is stopping"));
    }
    if let Some(why) = &*admin.control.unready().borrow() {
        return Err(ApiError::not_ready(why));
    }
    Ok("ready\n")
}

/// Tells how people log in.
pub(crate) async fn login<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
) -> Json<api::LoginView> {
    Json(admin.options.login.clone())
}

/// Describes this node.
pub(crate) async fn node<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    caller: Caller,
) -> Json<api::NodeView> {
    let (state, options) = (admin.control.state(), &admin.options);
    Json(api::NodeView {
        version: options.program_version.clone(),
        data_listen: options.data_listen.clone(),
        data_scheme: options.data_scheme.as_str().to_owned(),
        revision: state.revision().0,
        functions: state.functions().filter(|(name, _)| caller.sees(name)).count() as u64,
        started_ms: admin.control.started().0,
        component_bytes_max: admin.control.blobs().bytes_max(),
    })
}
