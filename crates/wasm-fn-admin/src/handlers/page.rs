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
    ApiError, BrowserLogin, TokenIssuers, Untrusted,
    admin::{Admin, Shared},
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

/// At which issuer somebody wants to log in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerChoice {
    issuer: String,
}

/// A login at an issuer has begun. The page keeps `state` and `verifier` until the issuer has sent the
/// browser back.
#[derive(Serialize)]
struct LoginBegun {
    url: String,
    state: String,
    verifier: String,
}

/// What the issuer has sent the browser back with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeRequest {
    issuer: String,
    verifier: String,
    code: String,
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
        .route("/ui/login", post(begin_login::<H, S>))
        .route("/ui/login/code", post(finish_login::<H, S>))
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
    begin_session(&admin, token.trim(), &extensions).await
}

/// Begins a login at an issuer: tells where the browser has to go.
async fn begin_login<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    headers: HeaderMap,
    JsonBody(IssuerChoice { issuer }): JsonBody<IssuerChoice>,
) -> Result<Response, ApiError> {
    let redirect_uri = redirect_uri(&headers)?;
    let secret = || hex::encode(rand::random::<[u8; 32]>());
    let login = BrowserLogin { issuer, redirect_uri, state: secret(), verifier: secret() };
    let _asking = admin.logins.try_acquire().map_err(|_| too_many_logins())?;
    let url = issuers(&admin, &login)?.begin_login(&login).await.map_err(ApiError::not_logged_in)?;
    let BrowserLogin { state, verifier, .. } = login;
    let mut response = Json(LoginBegun { url, state, verifier }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Begins a session for whoever comes back from an issuer with a code.
async fn finish_login<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    headers: HeaderMap,
    extensions: Extensions,
    JsonBody(CodeRequest { issuer, verifier, code }): JsonBody<CodeRequest>,
) -> Result<Response, ApiError> {
    let redirect_uri = redirect_uri(&headers)?;
    let login = BrowserLogin { issuer, redirect_uri, state: String::new(), verifier };
    let token = {
        let _asking = admin.logins.try_acquire().map_err(|_| too_many_logins())?;
        issuers(&admin, &login)?.finish_login(&login, &code).await
    };
    let token = token.map_err(|why| match why {
        Untrusted::Refused(_) => {
            let peer = extensions.get::<Peer>().map(|peer| peer.0);
            Guard::wrong(&admin, peer, ApiError::not_logged_in(why))
        }
        Untrusted::Unavailable(_) => ApiError::not_logged_in(why),
    })?;
    begin_session(&admin, &token, &extensions).await
}

/// Where issuers send the browser back to: the page, at the address by which the browser knows the node.
fn redirect_uri(headers: &HeaderMap) -> Result<String, ApiError> {
    same_origin(&Method::POST, headers)?;
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.ok_or_else(|| {
        ApiError::cross_origin("the request has no origin, expected a browser that says where it comes from")
    })?;
    Ok(format!("{origin}/ui/"))
}

fn too_many_logins() -> ApiError {
    ApiError::busy("as many logins as possible are under way, expected one to end")
}

/// The issuers, if people can log in at that of `login`.
fn issuers<'a, H: Host, S: Store>(
    admin: &'a Admin<H, S>,
    login: &BrowserLogin,
) -> Result<&'a dyn TokenIssuers, ApiError> {
    let offered = &admin.options.login.issuers;
    let issuers = admin.options.issuers.as_deref();
    issuers.filter(|_| offered.iter().any(|offer| offer.issuer == login.issuer)).ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|offer| offer.issuer.as_str()).collect();
        let expected =
            if names.is_empty() { "a token: this node offers none".to_owned() } else { names.join(" or ") };
        ApiError::invalid_request(format!("found the issuer {:?}, expected {expected}", login.issuer))
    })
}

/// Begins a session of whoever has `token`.
async fn begin_session<H: Host, S: Store>(
    admin: &Admin<H, S>,
    token: &str,
    extensions: &Extensions,
) -> Result<Response, ApiError> {
    let peer = extensions.get::<Peer>().map(|peer| peer.0);
    let actor = Guard::by_token(admin, token, peer).await?;
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
