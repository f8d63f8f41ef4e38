//! Uploads of components.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Request, State},
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use tokio_stream::StreamExt as _;
use wasm_fn_core::Digest;

use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_store::{PutError, Store};

use crate::{
    ApiError,
    admin::Shared,
    extract::{Plane, segment},
};

/// How long an upload may pause between bytes.
const CHUNK_WAIT: Duration = Duration::from_secs(30);

/// The digest in the path.
pub(crate) struct Component(Digest);

impl<T: Send + Sync> FromRequestParts<T> for Component {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, state).await?.parse()?))
    }
}

/// Stores a component. It is not an error if the component is already stored.
pub(crate) async fn put<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Component(digest): Component,
    request: Request,
) -> Result<Json<api::Uploaded>, ApiError> {
    let place = admin.uploads.try_acquire();
    let _place = place.map_err(|_| ApiError::busy("too many uploads are under way"))?;
    let blobs = admin.control.blobs();
    let bytes_max = blobs.bytes_max();
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        discard(request.into_body(), bytes_max).await;
        return Err(PutError::TooLarge { bytes_max }.into());
    }
    let chunks = request.into_body().into_data_stream().timeout(CHUNK_WAIT).map(|chunk| match chunk {
        Ok(chunk) => chunk.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no bytes arrived for {CHUNK_WAIT:?}")),
    });
    let bytes = blobs.put(digest, chunks).await?;
    admin.control.share(digest).await;
    Ok(Json(api::Uploaded { component: digest.to_string(), bytes }))
}

/// Reads what a refused client sends, as much as an accepted client may send. If the node closed the
/// connection instead, it would reset it before the client has read the refusal.
async fn discard(body: Body, bytes_max: u64) {
    let mut chunks = std::pin::pin!(body.into_data_stream().timeout(CHUNK_WAIT));
    let mut bytes = 0;
    while bytes <= bytes_max
        && let Some(Ok(Ok(chunk))) = chunks.next().await
    {
        bytes += chunk.len() as u64;
    }
}

/// Checks whether a component is stored, here or where this node can get it, so that a client need not send
/// it.
pub(crate) async fn head<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Component(digest): Component,
) -> Result<http::Response<Body>, ApiError> {
    control.component(digest).await.map_err(PutError::Disk)?;
    let size = control.blobs().size_bytes(digest).await.map_err(PutError::Disk)?;
    let size =
        size.ok_or_else(|| ApiError::no_component(format!("component {digest} is not on this node")))?;
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    Ok(response)
}
