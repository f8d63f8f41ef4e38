//! Secrets. No answer contains a value, and neither does an error.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Request, State},
};
use bytes::BytesMut;
use http::request::Parts;
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::{SecretId, host::Host};
use wasm_fn_core::{Revision, SecretName};
use wasm_fn_secrets::SecretValue;
use wasm_fn_store::Store;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    ApiError,
    authorize::Caller,
    extract::{FunctionStage, JsonBody, Parameters, Plane, read, read_up_to},
};

/// Most bytes of a body with several values: as much as the secrets of a function may have, in base64.
const VALUES_BYTES_MAX: usize = 6 << 20;

/// The secret in the path.
pub(crate) struct Named(SecretId);

impl<T: Send + Sync> FromRequestParts<T> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage, name)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Ok(Self(SecretId { function: function.parse()?, stage: stage.parse()?, name: name.parse()? }))
    }
}

/// The body, which is the value of a secret.
pub(crate) struct Value(SecretValue);

impl<T: Send + Sync> FromRequest<T> for Value {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &T) -> Result<Self, ApiError> {
        let body = read(request.into_body()).await?;
        let value = Zeroizing::new(body.to_vec());
        if let Ok(mut body) = body.try_into_mut() {
            overwrite(&mut body);
        }
        Ok(Self(SecretValue::new(value)?))
    }
}

/// The body, which has the values of several secrets.
pub(crate) struct Values {
    secrets: BTreeMap<SecretName, SecretValue>,
    message: Option<String>,
    expected_revision: Option<u64>,
}

impl<T: Send + Sync> FromRequest<T> for Values {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &T) -> Result<Self, ApiError> {
        let body = read_up_to(request.into_body(), VALUES_BYTES_MAX).await?;
        let parsed = serde_json::from_slice(&body);
        if let Ok(mut body) = body.try_into_mut() {
            overwrite(&mut body);
        }
        // The error tells a place in the body, and could quote what is there.
        let api::SecretsRequest { values, message, expected_revision } = parsed.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            ApiError::invalid_request(format!(
                "the body is no set of secrets at line {line}, column {column}, expected {{\"values\": {{\"NAME\": \
                 \"value in base64\"}}}}"
            ))
        })?;
        if values.is_empty() {
            return Err(ApiError::invalid_request("there are no values, expected at least one"));
        }
        let value = |(name, text): (String, api::SecretText)| -> Result<_, ApiError> {
            let name: SecretName = name.parse()?;
            let decoded = text.decode().ok_or_else(|| {
                ApiError::invalid_request(format!("the value of {name} is not base64, expected RFC 4648"))
            })?;
            Ok((name, SecretValue::new(decoded)?))
        };
        let secrets = values.into_iter().map(value).collect::<Result<_, _>>()?;
        Ok(Self { secrets, message, expected_revision })
    }
}

fn overwrite(bytes: &mut BytesMut) {
    bytes.as_mut().zeroize();
}

/// Lists the secrets of a stage, without their values.
pub(crate) async fn list<H: Host, S: Store>(
    State(control): Plane<H, S>,
    FunctionStage(name, stage): FunctionStage,
    caller: Caller,
) -> Result<Json<api::SecretList>, ApiError> {
    let _ = caller.on(Target::Stage(&name, &stage))?;
    let state = control.state();
    let function = state.stored_function(&name);
    let secrets = function.into_iter().flat_map(|function| {
        let secrets = function.secrets.stages.get(&stage).into_iter().flatten();
        secrets.filter_map(|(name, secret)| {
            let (revision, entry) = secret.values.last_key_value()?;
            let mut used_by: Vec<_> = function.secret_users(&stage, name).collect();
            used_by.reverse();
            Some(view(name, revision.number(), (entry.set_ms, &entry.set_by), &used_by))
        })
    });
    let secrets = secrets.collect();
    Ok(Json(api::SecretList { function: name.to_string(), stage: stage.to_string(), secrets }))
}

fn view(
    name: &SecretName,
    revision: u32,
    (set_ms, set_by): (u64, &str),
    used_by: &[(wasm_fn_core::VersionNo, wasm_fn_secrets::SecretRevision)],
) -> api::SecretView {
    let used_by = used_by.iter().map(|(version, revision)| api::SecretUse {
        version: version.to_string(),
        revision: revision.number(),
    });
    api::SecretView {
        name: name.to_string(),
        revision,
        set_ms,
        set_by: set_by.to_owned(),
        used_by: used_by.collect(),
    }
}

/// Gives a secret a new value.
pub(crate) async fn set<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Named(secret): Named,
    caller: Caller,
    Parameters(query): Parameters<api::SecretQuery>,
    Value(value): Value,
) -> Result<Json<api::SecretChanged>, ApiError> {
    let granted = caller.on(Target::Stage(&secret.function, &secret.stage))?;
    let note = granted.note(query.message, query.expected_revision)?;
    let SecretId { function, stage, name } = secret.clone();
    let (state, revision) = control.set_secret(secret, value, note).await?;
    let changed = state.stored_function(&function).map_or(Revision::default(), |found| found.revision);
    Ok(Json(api::SecretChanged {
        function: function.to_string(),
        stage: stage.to_string(),
        name: name.to_string(),
        secret_revision: revision.number(),
        revision: changed.0,
    }))
}

/// Gives several secrets new values, or none of them.
pub(crate) async fn set_all<H: Host, S: Store>(
    State(control): Plane<H, S>,
    FunctionStage(function, stage): FunctionStage,
    caller: Caller,
    Values { secrets, message, expected_revision }: Values,
) -> Result<Json<api::SecretsChanged>, ApiError> {
    let note = caller.on(Target::Stage(&function, &stage))?.note(message, expected_revision)?;
    let (state, revisions) = control.set_secrets((function.clone(), stage.clone()), secrets, note).await?;
    let changed = state.stored_function(&function).map_or(Revision::default(), |found| found.revision);
    let secrets = revisions.into_iter().map(|(name, revision)| (name.to_string(), revision.number()));
    Ok(Json(api::SecretsChanged {
        function: function.to_string(),
        stage: stage.to_string(),
        secrets: secrets.collect(),
        revision: changed.0,
    }))
}

/// Deletes a secret.
pub(crate) async fn delete<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Named(secret): Named,
    caller: Caller,
    Parameters(query): Parameters<api::SecretQuery>,
) -> Result<Json<api::SecretDeleted>, ApiError> {
    let granted = caller.on(Target::Stage(&secret.function, &secret.stage))?;
    let note = granted.note(query.message, query.expected_revision)?;
    let SecretId { function, stage, name } = secret.clone();
    let state = control.delete_secret(secret, note).await?;
    let changed = state.stored_function(&function).map_or(Revision::default(), |found| found.revision);
    Ok(Json(api::SecretDeleted {
        function: function.to_string(),
        stage: stage.to_string(),
        name: name.to_string(),
        revision: changed.0,
    }))
}

/// Seals every secret under a new key.
pub(crate) async fn rotate_key<H: Host, S: Store>(
    State(control): Plane<H, S>,
    caller: Caller,
    JsonBody(request): JsonBody<api::SecretsKeyRequest>,
) -> Result<Json<api::SecretsKeyRotated>, ApiError> {
    let note = caller.on(Target::Node)?.note(request.message, None)?;
    let (state, functions) = control.rotate_data_key(note).await?;
    let functions = u64::try_from(functions).unwrap_or(u64::MAX);
    Ok(Json(api::SecretsKeyRotated { functions, revision: state.revision().0 }))
}
