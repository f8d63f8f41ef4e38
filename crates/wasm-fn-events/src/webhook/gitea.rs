//! Gitea: "Webhooks" on docs.gitea.com.
//!
//! `X-Gitea-Signature` is the hexadecimal HMAC-SHA256 of the body. The signature has no time.

use http::HeaderMap;

use super::{Verified, WebhookError, headers, mac};
use crate::Timestamp;

const SIGNATURE: &str = "x-gitea-signature";

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let signature = mac::from_hex(headers::required(headers, SIGNATURE)?);
    let expected = "64 hexadecimal digits";
    let signature = signature.ok_or(WebhookError::Malformed { header: SIGNATURE, expected })?;
    mac::check(secrets, &[body], &[signature])?;
    Ok(Verified {
        delivery_id: headers::fact(headers, "x-gitea-delivery")?,
        event_type: headers::fact(headers, "x-gitea-event")?,
        time: now,
    })
}
