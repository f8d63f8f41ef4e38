//! Stripe: "Receive Stripe events in your webhook endpoint", section "Verify webhook signatures manually", on
//! docs.stripe.com.
//!
//! `Stripe-Signature` is `t=` and the time, and one or more `v1=` and the hexadecimal HMAC-SHA256 of time,
//! `.` and body. Other schemes are not looked at, as the page asks for, to prevent downgrades.

use http::HeaderMap;

use super::{SIGNATURES_MAX, Verified, WebhookError, facts::Facts, headers, mac};
use crate::Timestamp;

const SIGNATURE: &str = "stripe-signature";

const MALFORMED: WebhookError = WebhookError::Malformed {
    header: SIGNATURE,
    expected: "t= and seconds, and one to eight v1= and 64 hexadecimal digits, with commas between them",
};

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let value = headers::required(headers, SIGNATURE)?;
    let (mut time, mut signatures) = (None, Vec::new());
    for part in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if let Some(digits) = part.strip_prefix(b"t=") {
            if time.replace(digits).is_some() {
                return Err(MALFORMED);
            }
        } else if let Some(digits) = part.strip_prefix(b"v1=") {
            signatures.push(mac::from_hex(digits).ok_or(MALFORMED)?);
        }
        if signatures.len() > SIGNATURES_MAX {
            return Err(MALFORMED);
        }
    }
    let digits = time.filter(|_| !signatures.is_empty()).ok_or(MALFORMED)?;
    let time = mac::seconds(digits).ok_or(MALFORMED)?;
    mac::check(secrets, &[digits, b".", body], &signatures)?;
    mac::check_time(time, now)?;
    let facts = Facts::of(body);
    Ok(Verified { delivery_id: facts.id.0, event_type: facts.event_type.0, time })
}
