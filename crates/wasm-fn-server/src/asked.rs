//! Which version a request asks for, and whether it may.

use http::HeaderMap;
use wasm_fn_core::{FunctionName, VersionRef};

use crate::{
    OverrideAccess, head,
    problem::{Code, Problem},
};

/// The version that `wasm-fn-version` names, if the request carries it.
///
/// # Errors
/// When the header names none, or this request may not choose.
pub(crate) fn asked(
    headers: &HeaderMap,
    function: &FunctionName,
    access: &dyn OverrideAccess,
) -> Result<Option<VersionRef>, Problem> {
    let mut values = headers.get_all(head::VERSION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let asked = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let (Some(asked), None) = (asked, values.next()) else {
        return Err(Problem {
            detail: "wasm-fn-version is not one of v1, v2, …, stable, canary, previous or latest".into(),
            ..Code::OverrideMalformed.into()
        });
    };
    let token = headers.get(head::TOKEN).and_then(|token| token.to_str().ok());
    if !access.may_override(function, token) {
        return Err(Code::OverrideDenied.into());
    }
    Ok(Some(asked))
}
