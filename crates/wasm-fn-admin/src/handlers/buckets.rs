//! Values that functions keep. No log line, no journal and no error has one.

use axum::{
    Json,
    extract::{FromRequestParts, Path, Request, State},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::request::Parts;
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::{
    ChangedValue, Note,
    host::Host,
    state::{ChangeError, State as ControlState, ValueOperation},
};
use wasm_fn_core::{BucketConfig, BucketName, Consistency, Durability, FunctionName, StageName};
use wasm_fn_store::{BucketPlace, BucketUsage, Store};

use super::functions::limit;
use crate::{
    ApiError,
    admin::{Admin, Shared},
    authorize::Caller,
    extract::{Parameters, read_up_to},
};

/// Number of keys if the client sets no limit.
const LIMIT_DEFAULT: u32 = 100;

/// The bucket in the path.
pub(crate) struct Named {
    function: FunctionName,
    stage: StageName,
    bucket: BucketName,
}

impl<T: Send + Sync> FromRequestParts<T> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage, bucket)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Ok(Self { function: function.parse()?, stage: stage.parse()?, bucket: bucket.parse()? })
    }
}

impl Named {
    /// The configuration of the bucket: that of the stable version of the stage, or of the newest version
    /// that has the bucket.
    fn config(&self, state: &ControlState) -> Result<BucketConfig, ApiError> {
        let Self { function: name, stage, bucket } = self;
        let function = state.function(name)?;
        let stable = function.stages.get(stage).map(|stage| stage.stable);
        let stable = stable.ok_or_else(|| {
            ApiError::from(ChangeError::NoSuchStage { function: name.clone(), stage: stage.clone() })
        })?;
        let stable = function.versions.get(&stable).into_iter();
        let mut configs = stable.chain(function.versions.values().rev()).map(|version| &version.build.config);
        let config = configs.find_map(|config| config.buckets.get(bucket)).copied();
        config.ok_or_else(|| {
            let known = function.versions.values().flat_map(|version| version.build.config.buckets.keys());
            ApiError::no_such_bucket(name, bucket, known)
        })
    }

    /// The configuration for people: what they write is on disk when they are told so, and what they read is
    /// what is there.
    fn config_for_people<H: Host, S: Store>(&self, admin: &Admin<H, S>) -> Result<BucketConfig, ApiError> {
        let config = self.config(&admin.control.state())?;
        let (durability, consistency) = (Durability::Committed, Consistency::Strong);
        Ok(BucketConfig { durability, consistency, ..config })
    }

    fn place<'a>(&'a self, config: &'a BucketConfig) -> BucketPlace<'a> {
        BucketPlace { function: &self.function, stage: &self.stage, name: &self.bucket, config }
    }

    fn changed(&self, key: String, revision: Option<u64>) -> Json<api::BucketKeyChanged> {
        let Self { function, stage, bucket } = self;
        let (function, stage, bucket) = (function.to_string(), stage.to_string(), bucket.to_string());
        Json(api::BucketKeyChanged { function, stage, bucket, key, revision })
    }

    /// Who changes a value, for the journal.
    fn note(&self, caller: &Caller) -> Result<Note, ApiError> {
        caller.on(Target::Stage(&self.function, &self.stage))?.note(None, None)
    }

    /// Says in the log and in the journal who changed which value. Neither has the value.
    async fn record<H: Host, S: Store>(
        &self,
        admin: &Admin<H, S>,
        key: &str,
        operation: ValueOperation,
        note: Note,
    ) -> Result<(), ApiError> {
        let Self { function, stage, bucket } = self;
        let what = match operation {
            ValueOperation::Set => "a value was set by hand",
            ValueOperation::Delete => "a value was deleted by hand",
        };
        tracing::info!(%function, %stage, %bucket, ?key, by = %note.actor, "{what}");
        let (function, stage, bucket) = (function.clone(), stage.clone(), bucket.clone());
        let changed = ChangedValue { function, stage, bucket, key: key.to_owned(), operation };
        admin.control.record_value(changed, note).await?;
        Ok(())
    }

    fn no_such_key(&self, key: &str) -> ApiError {
        let Self { function, stage, bucket } = self;
        ApiError::no_such_key(format!(
            "bucket `{bucket}` of `{function}` in stage `{stage}` has no key {key:?}"
        ))
    }
}

/// Lists keys.
pub(crate) async fn list<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    named: Named,
    Parameters(query): Parameters<api::BucketKeysQuery>,
) -> Result<Json<api::BucketKeyList>, ApiError> {
    let limit = limit(query.limit, LIMIT_DEFAULT)?;
    let config = named.config_for_people(&admin)?;
    let (prefix, after) = (query.prefix.unwrap_or_default(), query.after);
    // Reading one more than asked for tells whether there are more.
    let found = admin.values.find_keys(named.place(&config), &prefix, after.as_deref(), limit + 1);
    let (mut keys, BucketUsage { bytes, keys: keys_used }) = found.await?;
    let more = keys.len() > limit;
    keys.truncate(limit);
    Ok(Json(api::BucketKeyList {
        function: named.function.to_string(),
        stage: named.stage.to_string(),
        bucket: named.bucket.to_string(),
        keys,
        more,
        keys_used,
        keys_max: config.keys_max,
        bytes_used: bytes,
        bytes_max: config.bytes_max,
    }))
}

/// Reads a value.
pub(crate) async fn get<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    named: Named,
    Parameters(api::BucketKeyQuery { key }): Parameters<api::BucketKeyQuery>,
) -> Result<Json<api::BucketValueView>, ApiError> {
    let config = named.config_for_people(&admin)?;
    let found = admin.values.get(named.place(&config), &key).await?;
    let found = found.ok_or_else(|| named.no_such_key(&key))?;
    let (value, value_base64) = match str::from_utf8(&found.value) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(&found.value))),
    };
    Ok(Json(api::BucketValueView {
        function: named.function.to_string(),
        stage: named.stage.to_string(),
        bucket: named.bucket.to_string(),
        key,
        revision: found.revision.0,
        bytes: found.value.len() as u64,
        value,
        value_base64,
    }))
}

/// Sets a value.
pub(crate) async fn put<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    named: Named,
    caller: Caller,
    Parameters(api::BucketKeyQuery { key }): Parameters<api::BucketKeyQuery>,
    request: Request,
) -> Result<Json<api::BucketKeyChanged>, ApiError> {
    let note = named.note(&caller)?;
    let config = named.config_for_people(&admin)?;
    let bytes_max = usize::try_from(config.value_bytes_max).unwrap_or(usize::MAX);
    let value = read_up_to(request.into_body(), bytes_max).await?;
    let revision = admin.values.set(named.place(&config), key.clone(), value).await?;
    named.record(&admin, &key, ValueOperation::Set, note).await?;
    Ok(named.changed(key, Some(revision.0)))
}

/// Deletes a value.
pub(crate) async fn delete<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    named: Named,
    caller: Caller,
    Parameters(api::BucketKeyQuery { key }): Parameters<api::BucketKeyQuery>,
) -> Result<Json<api::BucketKeyChanged>, ApiError> {
    let note = named.note(&caller)?;
    let config = named.config_for_people(&admin)?;
    if !admin.values.delete(named.place(&config), key.clone()).await? {
        return Err(named.no_such_key(&key));
    }
    named.record(&admin, &key, ValueOperation::Delete, note).await?;
    Ok(named.changed(key, None))
}
