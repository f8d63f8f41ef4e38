//! What a node answers to the other nodes of its cluster.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use wasm_fn_access::Rights;
use wasm_fn_api::Operation;
use wasm_fn_control::{Actor, Proof, host::Host};
use wasm_fn_store::Store;

use crate::{
    ApiError, NodeAnswer, NodeQuestion,
    admin::{Admin, Shared},
    authorize::{Guard, authorize},
    extract::Passed,
    handlers::handler,
};

/// Largest answer in bytes, before it is compressed.
const ANSWER_BYTES_MAX: usize = 32 << 20;

impl<H: Host, S: Store> Admin<H, S> {
    /// Answers a request that another node has passed on, for this node alone and within the caller's rights.
    /// Only operations that read what a node has by itself are answered.
    pub async fn answer(self: &Arc<Self>, question: NodeQuestion) -> NodeAnswer {
        let response = match request(question) {
            Ok(request) => self.route(request).await,
            Err(error) => error.into_response(),
        };
        let (head, body) = response.into_parts();
        let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(body) => NodeAnswer { status: head.status.as_u16(), media_type, body: body.to_bytes() },
            Err(_) => {
                let status = StatusCode::INSUFFICIENT_STORAGE.as_u16();
                NodeAnswer { status, media_type: String::new(), body: Bytes::new() }
            }
        }
    }

    async fn route(self: &Arc<Self>, request: Request) -> Response {
        let asked = |operation: &Operation| {
            operation.is_by_node() || matches!(operation, Operation::GetRevision | Operation::WatchFunctions)
        };
        let operations = Operation::ALL.into_iter().filter(asked);
        let routes = operations.fold(Router::new(), |router, operation| {
            let guard = Guard { admin: Arc::clone(self), operation };
            let authorize = middleware::from_fn_with_state(guard, authorize::<H, S>);
            router.route(operation.route().1, handler::<H, S>(operation).route_layer(authorize))
        });
        let router = routes
            .fallback(async || ApiError::no_such_path())
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .with_state(Shared(Arc::clone(self)));
        match TowerToHyperService::new(router).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn request(question: NodeQuestion) -> Result<Request, ApiError> {
    let NodeQuestion { target, actor, rights } = question;
    let rights = Rights::try_from(&rights)?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = target.parse::<Uri>().map_err(ApiError::invalid_request)?;
    // The node that passes it on no longer asks once the caller is not known any more.
    let proof = Proof::Party { until_ms: None };
    request.extensions_mut().insert(Passed(Actor { name: actor, token: None, rights, proof }));
    Ok(request)
}
