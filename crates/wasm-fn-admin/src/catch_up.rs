//! Waiting until the node has published a revision.

use std::time::Duration;

use http::HeaderMap;
use wasm_fn_api::AT_LEAST_REVISION;
use wasm_fn_control::{Control, host::Host};
use wasm_fn_core::Revision;
use wasm_fn_store::Store;

use crate::ApiError;

/// How long a request waits for the revision that it names.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the revision that a request with `headers` names, if it names one.
///
/// # Errors
/// It names none that is one; or the node has not published it in time.
pub(crate) async fn catch_up<H: Host, S: Store>(
    control: &Control<H, S>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let Some(value) = headers.get(AT_LEAST_REVISION) else { return Ok(()) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let revision = number.ok_or_else(|| {
        let detail = format!("{AT_LEAST_REVISION} is {value:?}, expected the number of a revision");
        ApiError::invalid_request(detail)
    })?;
    reach(control, Revision(revision), PATIENCE).await.map(|_| ())
}

/// Waits until the node has published `wanted`, or something later, which is returned.
///
/// # Errors
/// It has not after `patience`.
pub(crate) async fn reach<H: Host, S: Store>(
    control: &Control<H, S>,
    wanted: Revision,
    patience: Duration,
) -> Result<Revision, ApiError> {
    let mut states = control.follow();
    let reached = tokio::time::timeout(patience, states.wait_for(|state| state.revision() >= wanted)).await;
    let found = reached.ok().and_then(Result::ok).map(|state| state.revision());
    found.ok_or_else(|| ApiError::revision_not_reached(wanted, control.state().revision(), patience))
}
