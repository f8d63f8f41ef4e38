//! Requests to a version's own address: who may make them, and what the guest sees of them.
//!
//! A token comes in the header `wasm-fn-token`. A browser sends it once in the query, and gets a cookie in
//! exchange that is valid for this address alone. No guest sees either.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{self, COOKIE},
    uri::PathAndQuery,
};
use wasm_fn_core::{PreviewAccess, VersionRef};
use wasm_fn_router::{PreviewMatch, Stage};

use super::{access::OverrideAccess, id::RequestId};
use crate::{
    invoke::Invoke,
    response::{
        body::{ResponseBody, empty},
        headers,
        problem::{Code, Problem},
    },
};

/// The name of the cookie and of the query parameter that carry a token.
const NAME: &str = "wasm-fn-preview";

/// Longest token that is checked, bytes.
const TOKEN_BYTES_MAX: usize = 256;

/// A response without an invocation.
#[derive(Debug)]
pub(crate) enum EarlyResponse {
    /// The request is refused.
    Refused(Problem),
    /// The client must come again, with a cookie.
    Exchanged(Box<Exchange>),
}

/// A redirect that moves a token from the query to a cookie.
#[derive(Debug)]
pub(crate) struct Exchange {
    location: HeaderValue,
    cookie: HeaderValue,
}

impl From<Problem> for EarlyResponse {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Code> for EarlyResponse {
    fn from(code: Code) -> Self {
        Self::Refused(code.into())
    }
}

impl EarlyResponse {
    /// The response to the request with `id`.
    pub(crate) fn into_response<V: Invoke>(self, id: RequestId) -> Response<ResponseBody<V>> {
        let Exchange { location, cookie } = match self {
            Self::Refused(problem) => return problem.into_response(id),
            Self::Exchanged(exchange) => *exchange,
        };
        let mut response = Response::new(empty());
        // Unlike 302, this status keeps the method and the body.
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let fields = response.headers_mut();
        fields.insert(header::LOCATION, location);
        fields.insert(header::SET_COOKIE, cookie);
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        fields.insert(headers::REQUEST_ID, id.header_value());
        response
    }
}

/// How many leading bytes of the path of `request`, as it was sent, are the address that takes `path_bytes`
/// of its `normal` path. A path with dot segments is replaced by the normal one.
///
/// # Errors
/// The normal path is too long.
pub(crate) fn address_bytes<B>(
    request: &mut Request<B>,
    normal: &str,
    path_bytes: usize,
) -> Result<usize, Problem> {
    let uri = request.uri();
    let segments = |path: &str| path.split('/').count();
    if path_bytes == 0 {
        return Ok(0);
    }
    if segments(uri.path()) == segments(normal) {
        // Each segment is spelled in its own way, and the first is the address.
        return Ok(uri
            .path()
            .bytes()
            .skip(1)
            .position(|byte| byte == b'/')
            .map_or(uri.path().len(), |at| at + 1));
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    *request.uri_mut() = with_target(uri, format!("{normal}{query}"))?;
    Ok(path_bytes)
}

/// Admits `request` to the version at the address `preview`, and changes it to what the guest should see.
/// Returns the version.
///
/// # Errors
/// The request may not reach the version, whether or not that exists; or its token becomes a cookie first.
pub(crate) fn admit<B, V>(
    request: &mut Request<B>,
    preview: &PreviewMatch<'_, V>,
    access: &dyn OverrideAccess,
) -> Result<VersionRef, EarlyResponse> {
    let stage = preview.stage;
    if stage.preview() == PreviewAccess::Off {
        let detail = format!("versions of `{}` have no addresses of their own", stage.function());
        return Err(Problem { detail: detail.into(), ..Code::NoSuchFunction.into() }.into());
    }
    let (given, query) = take_parameter(request.uri().query());
    if !is_free(request.headers(), stage, access) {
        let may = |token: &str| is_token(token, stage, access);
        match given {
            Some(token) if may(token) => {
                return Err(exchange(request.uri(), preview.path_bytes, query.as_deref(), token));
            }
            Some(_) => return Err(Code::PreviewDenied.into()),
            None if cookie(request.headers()).is_some_and(may) => {}
            None => return Err(Code::PreviewDenied.into()),
        }
    }
    let seen = seen(request.uri(), stage, preview.path_bytes, given.is_some().then_some(query.as_deref()));
    if let Some(seen) = seen? {
        *request.uri_mut() = seen;
    }
    strip(request.headers_mut());
    Ok(preview.asked)
}

/// Whether the request needs no preview token in its query or cookie.
fn is_free<V>(fields: &HeaderMap, stage: &Stage<V>, access: &dyn OverrideAccess) -> bool {
    let token = fields.get(headers::TOKEN).and_then(|token| token.to_str().ok());
    stage.preview() == PreviewAccess::Open
        || access.may_override(stage.function(), stage.name(), token)
        || token.is_some_and(|token| is_token(token, stage, access))
}

/// Whether `token` is the preview token of the stage.
fn is_token<V>(token: &str, stage: &Stage<V>, access: &dyn OverrideAccess) -> bool {
    token.len() <= TOKEN_BYTES_MAX && access.may_preview(stage.function(), stage.name(), token)
}

/// The first token in `query`, and the query without tokens.
fn take_parameter(query: Option<&str>) -> (Option<&str>, Option<Cow<'_, str>>) {
    let Some(query) = query else { return (None, None) };
    let token = |pair: &'_ str| -> Option<usize> {
        let rest = pair.strip_prefix(NAME)?;
        (rest.is_empty() || rest.starts_with('='))
            .then(|| pair.len() - rest.len() + usize::from(!rest.is_empty()))
    };
    let Some(given) = query.split('&').find_map(|pair| token(pair).map(|at| &pair[at..])) else {
        return (None, Some(query.into()));
    };
    let kept: Vec<_> = query.split('&').filter(|pair| token(pair).is_none()).collect();
    (Some(given), (!kept.is_empty()).then(|| kept.join("&").into()))
}

/// The first token in the cookies.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// Removes the tokens from the cookies.
fn strip(headers: &mut HeaderMap) {
    let is_ours = |pair: &&[u8]| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(NAME.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|&byte| byte == b'='))
    };
    let pairs =
        |value: &'_ HeaderValue| value.as_bytes().split(|&byte| byte == b';').any(|pair| is_ours(&pair));
    if !headers.get_all(COOKIE).iter().any(pairs) {
        return;
    }
    let kept: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let pairs = value.as_bytes().split(|&byte| byte == b';').filter(|pair| !is_ours(pair));
            let kept = pairs.collect::<Vec<_>>().join(&b';');
            HeaderValue::from_bytes(kept.trim_ascii()).ok().filter(|kept| !kept.is_empty())
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Redirects a client with a `token` in `uri`. The address is the first `address_bytes` of the path.
fn exchange(uri: &Uri, address_bytes: usize, query: Option<&str>, token: &str) -> EarlyResponse {
    let path = uri.path();
    // A browser would take what follows `//` or `/\` for a host.
    let same_host =
        if path.as_bytes().get(1).is_some_and(|byte| matches!(byte, b'/' | b'\\')) { "/." } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let within = if address_bytes == 0 { "/" } else { &path[..address_bytes] };
    let location = HeaderValue::try_from(format!("{same_host}{path}{query}"));
    let cookie = format!("{NAME}={token}; Path={within}; HttpOnly; SameSite=Lax");
    match (location, HeaderValue::try_from(cookie)) {
        (Ok(location), Ok(mut cookie)) => {
            cookie.set_sensitive(true);
            EarlyResponse::Exchanged(Box::new(Exchange { location, cookie }))
        }
        _ => Code::BadRequest.into(),
    }
}

/// The URI that the guest should see, if it differs from `uri`. The address is the first `address_bytes` of
/// the path; `query` replaces the query.
fn seen<V>(
    uri: &Uri,
    stage: &Stage<V>,
    address_bytes: usize,
    query: Option<Option<&str>>,
) -> Result<Option<Uri>, Problem> {
    if address_bytes == 0 && query.is_none() {
        return Ok(None);
    }
    let own = if address_bytes == 0 { "" } else { stage.own_path() };
    let mut target = format!("{own}{}", &uri.path()[address_bytes..]);
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query.unwrap_or_else(|| uri.query()) {
        target.push('?');
        target.push_str(query);
    }
    with_target(uri, target).map(Some)
}

/// `uri` with the path and query `target`.
fn with_target(uri: &Uri, target: String) -> Result<Uri, Problem> {
    let mut parts = uri.clone().into_parts();
    let longer = |_| Problem {
        detail: "the path is too long for the route that the version's address stands for".into(),
        ..Code::BadRequest.into()
    };
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(longer)?);
    Uri::from_parts(parts).map_err(|_| Code::BadRequest.into())
}

#[cfg(test)]
mod tests;
