//! Tokens: who may do what.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use http::request::Parts;
use wasm_fn_access::{Rights, Target, Token};
use wasm_fn_api as api;
use wasm_fn_control::{Actor, Control, CreateToken, Proof, host::Host, state::ChangeError};
use wasm_fn_core::TokenName;
use wasm_fn_store::Store;

use crate::{
    ApiError,
    authorize::Caller,
    extract::{JsonBody, Parameters, Plane, segment},
};

/// The name of the token in the data directory.
const ADMIN: &str = "admin";

/// The token in the path.
pub(crate) struct Named(TokenName);

impl<T: Send + Sync> FromRequestParts<T> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        Ok(Self(segment(parts, state).await?.parse()?))
    }
}

/// Tells the client who it is, and what it may do.
pub(crate) async fn caller<H: Host, S: Store>(
    State(control): Plane<H, S>,
    caller: Caller,
) -> Json<api::CallerView> {
    let Actor { name, token: id, rights, proof } = caller.actor();
    let state = control.state();
    let known = name.parse().ok().and_then(|name: TokenName| state.tokens().get(&name));
    let token = match (proof, id, known) {
        (Proof::Token, Some(_), Some(token)) => view(&control, name, token),
        (Proof::Token | Proof::DataDir { .. }, ..) => of_data_dir(rights),
        (Proof::Party { until_ms }, ..) => {
            let (name, id) = (name.clone(), id.clone());
            api::TokenView { name, id, expires_ms: *until_ms, ..of_data_dir(rights) }
        }
    };
    let permissions = rights.permissions().map(|permission| permission.as_str().to_owned());
    Json(api::CallerView { token, permissions: permissions.collect() })
}

/// Lists tokens, sorted by name, without their secrets.
pub(crate) async fn list<H: Host, S: Store>(State(control): Plane<H, S>) -> Json<api::TokenList> {
    let state = control.state();
    let tokens = state.tokens().iter().map(|(name, token)| view(&control, name.as_str(), token));
    Json(api::TokenList { tokens: tokens.collect() })
}

/// Creates a token.
pub(crate) async fn create<H: Host, S: Store>(
    State(control): Plane<H, S>,
    caller: Caller,
    JsonBody(request): JsonBody<api::TokenRequest>,
) -> Result<Json<api::TokenCreated>, ApiError> {
    let name: TokenName = request.name.parse()?;
    let note = caller.on(Target::Node)?.note(request.message, None)?;
    let create = CreateToken {
        name: name.clone(),
        rights: Rights::try_from(&request.rights)?,
        ttl: request.ttl_ms.map(Duration::from_millis),
    };
    let (state, secret) = control.create_token(create, note).await?;
    let token = state.tokens().get(&name).map(|token| view(&control, name.as_str(), token));
    let token = token.ok_or(ChangeError::NoSuchToken(name))?;
    Ok(Json(api::TokenCreated { token, secret }))
}

/// Gives a token a new secret. The old one is refused at once.
pub(crate) async fn rotate<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Named(name): Named,
    caller: Caller,
    JsonBody(request): JsonBody<api::TokenChange>,
) -> Result<Json<api::TokenCreated>, ApiError> {
    let note = caller.on(Target::Node)?.note(request.message, None)?;
    if name.as_str() == ADMIN {
        let (_, secret) = control.rotate_admin_token(note).await?;
        return Ok(Json(api::TokenCreated { token: of_data_dir(&Rights::all()), secret }));
    }
    let (state, secret) = control.rotate_token(name.clone(), note).await?;
    let token = state.tokens().get(&name).map(|token| view(&control, name.as_str(), token));
    let token = token.ok_or(ChangeError::NoSuchToken(name))?;
    Ok(Json(api::TokenCreated { token, secret }))
}

/// Revokes a token. It is refused at once.
pub(crate) async fn revoke<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Named(name): Named,
    caller: Caller,
    Parameters(query): Parameters<api::TokenChange>,
) -> Result<Json<api::TokenRevoked>, ApiError> {
    let note = caller.on(Target::Node)?.note(query.message, None)?;
    let state = control.revoke_token(name.clone(), note).await?;
    Ok(Json(api::TokenRevoked { name: name.to_string(), revision: state.revision().0 }))
}

fn view<H: Host, S: Store>(control: &Control<H, S>, name: &str, token: &Token) -> api::TokenView {
    let id = token.hash.id();
    api::TokenView {
        name: name.to_owned(),
        rights: (&token.rights).into(),
        created_ms: Some(token.created_ms),
        created_by: Some(token.created_by.clone()),
        expires_ms: token.expires_ms,
        used_ms: control.last_use(&id).map(|minute| minute.saturating_mul(60_000)),
        id: Some(id),
    }
}

/// The token in the data directory.
fn of_data_dir(rights: &Rights) -> api::TokenView {
    api::TokenView {
        name: ADMIN.to_owned(),
        id: None,
        rights: rights.into(),
        created_ms: None,
        created_by: None,
        expires_ms: None,
        used_ms: None,
    }
}
