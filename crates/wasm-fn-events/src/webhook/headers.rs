//! Headers that count only if they are there once.

use http::HeaderMap;

use super::{FACT_BYTES_MAX, WebhookError};

/// The value of a header that must be there.
pub(super) fn required<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a [u8], WebhookError> {
    optional(headers, header)?.ok_or(WebhookError::Missing { header })
}

/// The value of a header, if it is there.
pub(super) fn optional<'a>(
    headers: &'a HeaderMap,
    header: &'static str,
) -> Result<Option<&'a [u8]>, WebhookError> {
    let mut values = headers.get_all(header).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(WebhookError::Doubled { header }),
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
    }
}

/// The value of a header with an id or a type, if it is there.
pub(super) fn fact(headers: &HeaderMap, header: &'static str) -> Result<Option<String>, WebhookError> {
    let Some(value) = optional(headers, header)? else { return Ok(None) };
    let is_text = (1..=FACT_BYTES_MAX).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let text = std::str::from_utf8(value).ok().filter(|_| is_text);
    let expected = "1 to 256 printable ASCII characters";
    text.map(|text| Some(text.to_owned())).ok_or(WebhookError::Malformed { header, expected })
}
