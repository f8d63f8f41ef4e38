//! The admin API: HTTP in front of [`Control`].
//!
//! Everything under `/v1` needs a bearer token. Every error is `application/problem+json`; one file,
//! `problem.rs`, says which. No client makes a 500: those are faults of the node.

mod components;
mod deployments;
mod extract;
mod functions;
mod listener;
mod logs;
mod metrics;
mod node;
mod openapi;
mod preview;
mod problem;
mod rollout;
mod stall;
mod traffic;
mod view;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{MethodRouter, get, post, put},
};

use crate::{control::Control, host::Host, store::Store};

pub use openapi::openapi;
use problem::ApiError;

/// What every handler works on.
type Shared<H, S> = Arc<Control<H, S>>;

/// The media type of a stream of JSON lines.
const NDJSON: &str = "application/x-ndjson";

/// Paths that need no token, as in the API's description.
fn open_routes<H: Host, S: Store>() -> Vec<(&'static str, MethodRouter<Shared<H, S>>)> {
    vec![
        ("/healthz", get(node::healthz)),
        ("/readyz", get(node::readyz::<H, S>)),
        ("/metrics", get(metrics::metrics::<H, S>)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// Paths that need a token, as in the API's description.
fn closed_routes<H: Host, S: Store>() -> Vec<(&'static str, MethodRouter<Shared<H, S>>)> {
    vec![
        ("/v1/node", get(node::node::<H, S>)),
        ("/v1/preview-key", post(preview::rotate_key::<H, S>)),
        ("/v1/components/{digest}", put(components::put::<H, S>).head(components::head::<H, S>)),
        ("/v1/functions", get(functions::list::<H, S>)),
        ("/v1/functions/{function}", get(functions::status::<H, S>).delete(traffic::delete::<H, S>)),
        ("/v1/functions/{function}/versions", get(functions::versions::<H, S>)),
        ("/v1/functions/{function}/history", get(functions::history::<H, S>)),
        ("/v1/functions/{function}/preview", get(preview::preview::<H, S>)),
        ("/v1/functions/{function}/logs", get(logs::logs::<H, S>)),
        ("/v1/functions/{function}/deployments", post(deployments::deploy::<H, S>)),
        ("/v1/functions/{function}/traffic", put(traffic::set::<H, S>)),
        ("/v1/functions/{function}/promote", post(traffic::promote::<H, S>)),
        ("/v1/functions/{function}/pause", post(traffic::pause::<H, S>)),
        ("/v1/functions/{function}/resume", post(traffic::resume::<H, S>)),
        ("/v1/functions/{function}/abort", post(traffic::abort::<H, S>)),
        ("/v1/functions/{function}/rollback", post(traffic::rollback::<H, S>)),
    ]
}

/// The whole API.
fn router<H: Host, S: Store>(control: Shared<H, S>) -> Router {
    let add = |router: Router<_>, (path, methods)| router.route(path, methods);
    let closed = closed_routes::<H, S>().into_iter().fold(Router::new(), add);
    let authenticate = middleware::from_fn_with_state(Arc::clone(&control), extract::authenticate::<H, S>);
    let open = open_routes::<H, S>().into_iter().fold(Router::new(), add);
    closed
        .route_layer(authenticate)
        .merge(open)
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .with_state(control)
}

#[cfg(test)]
mod tests;
