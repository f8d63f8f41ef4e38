//! Standard Webhooks 1.0.0, standardwebhooks.com: sections "Signature scheme", "Webhook headers" and
//! "Verifying signatures".
//!
//! `webhook-signature` is a list of signatures with spaces between them. Those that count are `v1,` and the
//! Base64 of the HMAC-SHA256 of `webhook-id`, `.`, `webhook-timestamp`, `.` and body. Asymmetric signatures
//! (`v1a`) are not looked at. Secrets are Base64, as a rule with `whsec_` before it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;

use super::{SIGNATURES_MAX, Verified, WebhookError, facts::Facts, headers, mac};
use crate::Timestamp;

/// What secrets begin with.
pub(super) const PREFIX: &[u8] = b"whsec_";

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
pub(super) const SIGNATURE: &str = "webhook-signature";

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let (id, time) = check(headers, body, secrets, now)?;
    Ok(Verified { delivery_id: Some(id), event_type: Facts::of(body).event_type.0, time })
}

/// Checks the signature, and gives the id and time that were signed.
pub(super) fn check(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<(String, Timestamp), WebhookError> {
    let keys: Vec<_> = secrets.iter().map(|secret| key(secret)).collect::<Result<_, _>>()?;
    let signatures = signatures(headers::required(headers, SIGNATURE)?)?;
    let digits = headers::required(headers, TIMESTAMP)?;
    let expected = "seconds since the Unix epoch";
    let time = mac::seconds(digits).ok_or(WebhookError::Malformed { header: TIMESTAMP, expected })?;
    // With a dot in it, part of a body could pass as time, or the other way round.
    let expected = "1 to 256 printable ASCII characters without a dot";
    let id = headers::fact(headers, ID)?.ok_or(WebhookError::Missing { header: ID })?;
    if id.contains('.') {
        return Err(WebhookError::Malformed { header: ID, expected });
    }
    mac::check(&keys, &[id.as_bytes(), b".", digits, b".", body], &signatures)?;
    mac::check_time(time, now)?;
    Ok((id, time))
}

/// The key that `secret` is the text of.
fn key(secret: &[u8]) -> Result<Vec<u8>, WebhookError> {
    let text = secret.strip_prefix(PREFIX).unwrap_or(secret);
    let key = STANDARD.decode(text).ok().filter(|key| !key.is_empty());
    key.ok_or(WebhookError::Secret { expected: "Base64, as a rule with whsec_ before it" })
}

/// The signatures by HMAC-SHA256 in a list.
fn signatures(list: &[u8]) -> Result<Vec<mac::Tag>, WebhookError> {
    let expected = "one to eight of v1, and Base64 of 32 bytes, with spaces between them";
    let malformed = WebhookError::Malformed { header: SIGNATURE, expected };
    let texts = list.split(|&byte| byte == b' ').filter_map(|signature| signature.strip_prefix(b"v1,"));
    let texts: Vec<_> = texts.take(SIGNATURES_MAX + 1).collect();
    if texts.is_empty() || texts.len() > SIGNATURES_MAX {
        return Err(malformed);
    }
    let decoded = |text: &&[u8]| STANDARD.decode(text).ok()?.try_into().ok();
    texts.iter().map(decoded).collect::<Option<_>>().ok_or(malformed)
}
