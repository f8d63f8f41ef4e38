//! Slack: "Verifying requests from Slack" and "Using the Slack Events API" on docs.slack.dev.
//!
//! `X-Slack-Signature` is `v0=` and the hexadecimal HMAC-SHA256 of `v0:`, the `X-Slack-Request-Timestamp`,
//! `:` and the body.

use http::HeaderMap;

use super::{Verified, WebhookError, facts::Facts, headers, mac};
use crate::Timestamp;

const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let signature = headers::required(headers, SIGNATURE)?.strip_prefix(b"v0=").and_then(mac::from_hex);
    let expected = "v0= and 64 hexadecimal digits";
    let signature = signature.ok_or(WebhookError::Malformed { header: SIGNATURE, expected })?;
    let digits = headers::required(headers, TIMESTAMP)?;
    let expected = "seconds since the Unix epoch";
    let time = mac::seconds(digits).ok_or(WebhookError::Malformed { header: TIMESTAMP, expected })?;
    mac::check(secrets, &[b"v0:", digits, b":", body], &[signature])?;
    mac::check_time(time, now)?;
    let facts = Facts::of(body);
    let is_envelope = facts.event_type.0.as_deref() == Some("event_callback");
    let inner = facts.event.event_type.0.filter(|_| is_envelope);
    Ok(Verified { delivery_id: facts.event_id.0, event_type: inner.or(facts.event_type.0), time })
}

/// What Slack wants to read when it is told of an address.
pub(super) fn challenge(verified: &Verified, body: &[u8]) -> Option<String> {
    let is_test = verified.event_type.as_deref() == Some("url_verification");
    Facts::of(body).challenge.0.filter(|_| is_test)
}
