//! The description of the API, generated from its handlers and types.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{components, deployments, functions, logs, metrics, node, preview, traffic};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wasm-fn admin API",
        description = "Deploys functions and moves traffic between their versions. Everything under /v1 needs a bearer token."
    ),
    paths(
        node::healthz,
        node::readyz,
        node::node,
        metrics::metrics,
        document,
        components::put,
        components::head,
        functions::list,
        functions::status,
        functions::versions,
        functions::history,
        preview::preview,
        preview::rotate_key,
        logs::logs,
        deployments::deploy,
        traffic::set,
        traffic::promote,
        traffic::pause,
        traffic::resume,
        traffic::abort,
        traffic::rollback,
        traffic::delete,
    ),
    modifiers(&Tokens)
)]
struct Description;

/// Adds the scheme that operations refer to as `token`.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The OpenAPI description of the admin API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "node", responses(
    (status = 200, description = "The OpenAPI description of this API", body = serde_json::Value),
))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
