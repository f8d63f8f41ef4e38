//! The `wasm-fn-version` header: a request asks for a version.

use http::HeaderMap;
use wasm_fn_core::{FunctionName, StageName, VersionRef};

use super::access::OverrideAccess;
use crate::response::{
    headers,
    problem::{Code, Problem},
};

/// The version that `wasm-fn-version` names, if the request has that header.
///
/// # Errors
/// The header does not name a version, or the request may not choose.
pub(super) fn requested_version(
    headers: &HeaderMap,
    (function, stage): (&FunctionName, &StageName),
    access: &dyn OverrideAccess,
) -> Result<Option<VersionRef>, Problem> {
    let mut values = headers.get_all(headers::VERSION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let asked = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let (Some(asked), None) = (asked, values.next()) else {
        return Err(Problem {
            detail: "wasm-fn-version is not one of v1, v2, …, stable, canary, previous or latest".into(),
            ..Code::OverrideMalformed.into()
        });
    };
    let token = headers.get(headers::TOKEN).and_then(|token| token.to_str().ok());
    if !access.may_override(function, stage, token) {
        return Err(Code::OverrideDenied.into());
    }
    Ok(Some(asked))
}
