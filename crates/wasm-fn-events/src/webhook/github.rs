//! GitHub: "Validating webhook deliveries" and "Webhook events and payloads" on docs.github.com.
//!
//! `X-Hub-Signature-256` is `sha256=` and the hexadecimal HMAC-SHA256 of the body. The signature has no time,
//! and the older `X-Hub-Signature` with SHA-1 is not looked at.

use http::HeaderMap;

use super::{Verified, WebhookError, headers, mac};
use crate::Timestamp;

const SIGNATURE: &str = "x-hub-signature-256";

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let value = headers::required(headers, SIGNATURE)?;
    let signature = value.strip_prefix(b"sha256=").and_then(mac::from_hex);
    let expected = "sha256= and 64 hexadecimal digits";
    let signature = signature.ok_or(WebhookError::Malformed { header: SIGNATURE, expected })?;
    mac::check(secrets, &[body], &[signature])?;
    Ok(Verified {
        delivery_id: headers::fact(headers, "x-github-delivery")?,
        event_type: headers::fact(headers, "x-github-event")?,
        time: now,
    })
}
