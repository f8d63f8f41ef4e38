//! The web page at `/ui`, and its sessions.
//!
//! A session stands for the token with which it began: it may do what that may, and it ends with it. The
//! browser shows two halves of it: a cookie that no script can read, and a key that only pages of this very
//! origin, port included, can. Cookies go to all ports of a host, so also to functions that this node serves
//! on another port; with the cookie alone, nobody can do anything. And no other site can send the key.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

use crate::{
    ApiError,
    admin::Shared,
    authorize::Guard,
    extract::{JsonBody, OverTls, Peer},
    origin::{cookie_name, halves, same_origin},
    sessions,
};

/// What somebody logs in with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    token: String,
}

/// A session has begun. The other half of it is in a cookie.
#[derive(Serialize)]
struct LoggedIn {
    key: String,
}

/// The routes of the page. They are no operations of the API, and only the page uses them.
pub(crate) fn router<H: Host, S: Store>() -> Router<Shared<H, S>> {
    Router::new()
        .route("/ui", get(async || moved()))
        .route("/ui/", get(async |headers: HeaderMap| asset("", &headers)))
        .route(
            "/ui/{*path}",
            get(async |Path(path): Path<String>, headers: HeaderMap| asset(&path, &headers)),
        )
        .route("/ui/session", post(log_in::<H, S>).delete(log_out::<H, S>))
}

fn moved() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "/ui/")]).into_response()
}

fn asset(path: &str, headers: &HeaderMap) -> Response {
    match wasm_fn_page::respond(path, headers) {
        Some(response) => response.map(axum::body::Body::from),
        None => ApiError::no_such_path().into_response(),
    }
}

/// Begins a session for whoever shows a token.
async fn log_in<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    headers: HeaderMap,
    extensions: Extensions,
    JsonBody(LoginRequest { token }): JsonBody<LoginRequest>,
) -> Result<Response, ApiError> {
    same_origin(&Method::POST, &headers)?;
    let peer = extensions.get::<Peer>().map(|peer| peer.0);
    let actor = Guard::by_token(&admin, token.trim(), peer).await?;
    let encrypted = extensions.get::<OverTls>().is_some();
    let control = &admin.control;
    let begun = admin.sessions.begin(actor, control.now().0, |actor| control.still_knows(actor));
    let Some(begun) = begun else {
        return Err(ApiError::busy("every place for a session is taken, expected one to be free"));
    };
    let mut response = Json(LoggedIn { key: begun.key }).into_response();
    set_cookie(&mut response, &begun.cookie, sessions::LIFE.as_secs(), encrypted);
    Ok(response)
}

/// Ends the session of the request.
async fn log_out<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, ApiError> {
    same_origin(&Method::DELETE, &headers)?;
    let encrypted = extensions.get::<OverTls>().is_some();
    if let Some((cookie, key)) = halves(&headers, encrypted) {
        admin.sessions.end(cookie, key);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, "", 0, encrypted);
    Ok(response)
}

fn set_cookie(response: &mut Response, value: &str, seconds: u64, encrypted: bool) {
    let (name, secure) = (cookie_name(encrypted), if encrypted { "; Secure" } else { "" });
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // It has only letters, digits and what stands above.
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
