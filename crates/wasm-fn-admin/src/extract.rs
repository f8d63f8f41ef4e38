//! The parts that handlers extract from requests. Each has its own refusal.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, State},
};
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use wasm_fn_core::{FunctionName, StageName};

use wasm_fn_control::{Actor, Control};

use crate::{ApiError, NDJSON};

/// Largest JSON body, in bytes.
const JSON_BYTES_MAX: usize = 1 << 20;

/// How long a JSON body may take to arrive.
const JSON_WAIT: Duration = Duration::from_secs(30);

/// The client's address on this connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Says that the connection is encrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;

/// Marks a request that another node of the cluster has passed on, with whose it is. No client can send it.
#[derive(Clone, Debug)]
pub(crate) struct Passed(pub(crate) Actor);

/// The function in the path.
pub(crate) struct Function(pub(crate) FunctionName);

impl<T: Send + Sync> FromRequestParts<T> for Function {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, state).await?.parse()?))
    }
}

/// The function and the stage in the path.
pub(crate) struct FunctionStage(pub(crate) FunctionName, pub(crate) StageName);

impl<T: Send + Sync> FromRequestParts<T> for FunctionStage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Ok(Self(function.parse()?, stage.parse()?))
    }
}

/// The only parameter of the path, percent-decoded.
pub(crate) async fn segment<T: Send + Sync>(parts: &mut Parts, state: &T) -> Result<String, ApiError> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text).map_err(|rejection| ApiError::invalid_request(rejection.body_text()))
}

/// The query, parsed as `P`.
pub(crate) struct Parameters<P>(pub(crate) P);

impl<T: Send + Sync, P: DeserializeOwned> FromRequestParts<T> for Parameters<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let query = Query::<P>::from_request_parts(parts, state).await;
        query
            .map(|Query(parameters)| Self(parameters))
            .map_err(|rejection| ApiError::invalid_request(rejection.body_text()))
    }
}

/// The body, parsed from JSON as `B`. An empty body counts as `{}`.
pub(crate) struct JsonBody<B>(pub(crate) B);

impl<T: Send + Sync, B: DeserializeOwned> FromRequest<T> for JsonBody<B> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &T) -> Result<Self, ApiError> {
        let body = read(request.into_body()).await?;
        let json: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(json).map(Self).map_err(ApiError::invalid_request)
    }
}

/// The whole body, within the bounds of a JSON body.
pub(crate) async fn read(body: Body) -> Result<bytes::Bytes, ApiError> {
    read_up_to(body, JSON_BYTES_MAX).await
}

/// The whole body, of at most `bytes_max`.
pub(crate) async fn read_up_to(body: Body, bytes_max: usize) -> Result<bytes::Bytes, ApiError> {
    let read = tokio::time::timeout(JSON_WAIT, Limited::new(body, bytes_max).collect()).await;
    let read = read.map_err(|_| {
        ApiError::slow_body(format!("the body is incomplete, expected all of it within {JSON_WAIT:?}"))
    })?;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            ApiError::too_large(format!(
                "the body has more than {bytes_max} bytes, expected at most {bytes_max}"
            ))
        } else {
            ApiError::invalid_request(format!("the body ended early: {error}"))
        }
    })
}

/// Whether the client asks for a stream of JSON lines.
pub(crate) struct WantsLines(pub(crate) bool);

impl<T: Send + Sync> FromRequestParts<T> for WantsLines {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Self::Rejection> {
        let accepts = parts.headers.get_all(header::ACCEPT).iter();
        let mut ranges = accepts.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        Ok(Self(ranges.any(|range| {
            let media_type = range.split(';').next().unwrap_or_default();
            media_type.trim().eq_ignore_ascii_case(NDJSON)
        })))
    }
}

/// Whether the client asks for OpenMetrics, and not rather for plain text.
pub(crate) struct WantsOpenMetrics(pub(crate) bool);

impl<T: Send + Sync> FromRequestParts<T> for WantsOpenMetrics {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Self::Rejection> {
        let open_metrics = quality(&parts.headers, "application/openmetrics-text");
        Ok(Self(open_metrics > 0.0 && open_metrics >= quality(&parts.headers, "text/plain")))
    }
}

/// The weight that the client gives to `media_type` (RFC 9110, section 12.4.2); 0 if it does not name the
/// type.
fn quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = accepts.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(media_type))?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
    });
    ranges.fold(0.0, f32::max)
}

/// The control plane, whatever its host and store.
pub(crate) type Plane<H, S> = State<Arc<Control<H, S>>>;
