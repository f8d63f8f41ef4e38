//! The audit log: the journal of the whole node.

use axum::{Json, extract::State};
use wasm_fn_api as api;
use wasm_fn_control::{
    NotedHead,
    host::Host,
    journal::Entry,
    state::{AccessChange, Change, Refusals},
};
use wasm_fn_core::{FunctionName, Revision};
use wasm_fn_store::{JournalRange, Store};

use super::functions::limit;
use crate::{
    ApiError,
    extract::{Parameters, Plane},
    view,
};

/// How many revisions to look at if the client sets no limit.
const LIMIT_DEFAULT: u32 = 1000;

/// Reads who changed what, when, from where and why, and who was refused; newest first.
pub(crate) async fn audit<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Parameters(query): Parameters<api::AuditQuery>,
) -> Result<Json<api::AuditPage>, ApiError> {
    let limit = limit(query.limit, LIMIT_DEFAULT)?;
    let function: Option<FunctionName> = query.function.as_deref().map(str::parse).transpose()?;
    let range = JournalRange { function, before: query.before.map(Revision), limit };
    let entries = control.journal(range).await?;
    let since_ms = query.since_ms.unwrap_or(0);
    // A clock may go back, so an old entry does not prove that those before it are older. A page is as long
    // as a clock may be wrong.
    let more = entries.len() == limit && entries.iter().any(|entry| entry.at_ms >= since_ms);
    let before = entries.last().filter(|_| more).map(|entry| entry.revision.0);
    let wanted = entries.iter().filter(|entry| {
        entry.at_ms >= since_ms && query.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
    });
    Ok(Json(api::AuditPage { entries: wanted.map(shown).collect(), before }))
}

/// Reads the hash of the last entry, and verifies the chain on request.
pub(crate) async fn head<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Parameters(query): Parameters<api::AuditHeadQuery>,
) -> Result<Json<api::AuditHead>, ApiError> {
    let noted = match (query.revision, query.hash) {
        (None, None) => None,
        (Some(revision), Some(digits)) => {
            let mut hash = [0; 32];
            hex::decode_to_slice(&digits, &mut hash).map_err(|_| {
                ApiError::invalid_request(format!("hash is {digits:?}, expected 64 hexadecimal digits"))
            })?;
            Some(NotedHead { revision: Revision(revision), hash })
        }
        _ => return Err(ApiError::invalid_request("found one of revision and hash, expected both or none")),
    };
    let verified = query.verify || noted.is_some();
    let head = if verified { control.verify_journal(noted).await? } else { control.journal_head() };
    Ok(Json(api::AuditHead { revision: head.revision.0, hash: hex::encode(head.hash), verified }))
}

fn shown(entry: &Entry) -> api::AuditEntry {
    let access = match &entry.change {
        Change::Access(change) => Some(change),
        Change::Function(_) => None,
    };
    let (refusals, other_refusals) = match access {
        Some(AccessChange::Refuse { refusals, others }) => (refusals.as_slice(), *others),
        _ => (&[][..], 0),
    };
    let rights = match access {
        Some(AccessChange::CreateToken { token, .. }) => Some((&token.rights).into()),
        _ => None,
    };
    api::AuditEntry {
        revision: entry.revision.0,
        at_ms: entry.at_ms,
        actor: entry.actor.clone(),
        token: entry.token.clone(),
        origin: entry.origin.clone(),
        node: entry.node.clone(),
        message: entry.message.clone(),
        action: entry.change.as_str().to_owned(),
        function: entry.change.function().map(ToString::to_string),
        history: view::entries(entry).collect(),
        subject: access.and_then(AccessChange::token).map(ToString::to_string),
        rights,
        refusals: refusals.iter().map(refusals_view).collect(),
        other_refusals,
        hash: hex::encode(entry.hash),
    }
}

fn refusals_view(refusals: &Refusals) -> api::RefusalsView {
    let Refusals { actor, address, reason, times } = refusals.clone();
    api::RefusalsView { actor, address, reason, times }
}
