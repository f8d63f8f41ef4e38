//! Signatures by HMAC-SHA256 (RFC 2104), compared in constant time.

use std::time::Duration;

use ring::{digest, hmac};
use subtle::{Choice, ConstantTimeEq as _};

use super::{TOLERANCE, WebhookError};
use crate::Timestamp;

/// Bytes of a signature.
pub(super) const TAG_BYTES: usize = 32;

/// A signature.
pub(super) type Tag = [u8; TAG_BYTES];

/// Checks that one of `signatures` is that of the joined `parts` under one of `keys`. How long it takes does
/// not tell which, nor how much of one is right.
pub(super) fn check(
    keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    parts: &[&[u8]],
    signatures: &[Tag],
) -> Result<(), WebhookError> {
    let mut is_right = Choice::from(0);
    for key in keys {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()));
        parts.iter().for_each(|part| context.update(part));
        let tag = context.sign();
        for signature in signatures {
            is_right |= tag.as_ref().ct_eq(signature);
        }
    }
    if bool::from(is_right) { Ok(()) } else { Err(WebhookError::Signature) }
}

/// Checks that `token` is one of `secrets`. How long it takes does not tell how long they are.
pub(super) fn check_token(secrets: &[&[u8]], token: &[u8]) -> Result<(), WebhookError> {
    let hash = |bytes| digest::digest(&digest::SHA256, bytes);
    let token = hash(token);
    let mut is_right = Choice::from(0);
    for secret in secrets {
        is_right |= hash(secret).as_ref().ct_eq(token.as_ref());
    }
    if bool::from(is_right) { Ok(()) } else { Err(WebhookError::Signature) }
}

/// The signature that `digits` are in lower-case or upper-case hexadecimal.
pub(super) fn from_hex(digits: &[u8]) -> Option<Tag> {
    let mut tag = [0; TAG_BYTES];
    hex::decode_to_slice(digits, &mut tag).ok().map(|()| tag)
}

/// The moment that `digits` are in seconds since the Unix epoch.
pub(super) fn seconds(digits: &[u8]) -> Option<Timestamp> {
    let is_number = (1..=12).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok().map(Timestamp::from_unix_seconds)
}

/// Checks that what was signed at `signed` is of now.
pub(super) fn check_time(signed: Timestamp, now: Timestamp) -> Result<(), WebhookError> {
    let (age, ahead): (Duration, Duration) = (now.since(signed), signed.since(now));
    if age > TOLERANCE {
        return Err(WebhookError::TooOld { age });
    }
    if ahead > TOLERANCE {
        return Err(WebhookError::InFuture { ahead });
    }
    Ok(())
}
