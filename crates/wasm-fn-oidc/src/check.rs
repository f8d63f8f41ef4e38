//! The claims of a token whose signature is right: for whom it is, and when (RFC 7519, section 4.1).

use std::time::Duration;

use serde_json::{Map, Value};
use wasm_fn_access::{ClaimValue, Claims};

/// Longest life of a token, seconds.
pub(crate) const LIFE_S_MAX: u64 = 24 * 3600;

/// Longest subject, bytes. OpenID Connect allows 255.
const SUBJECT_BYTES_MAX: usize = 1024;

/// Why the claims are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A claim that has to be there is not, or is of another type.
    #[error("the token's claim `{claim}` is {found}, expected {expected}")]
    Malformed {
        /// Its name.
        claim: &'static str,
        /// `absent`, `null`, `a number` and so on.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It is meant for others.
    #[error("the token is for the audience {found}, expected {expected:?}")]
    Audience {
        /// Whom it is for.
        found: String,
        /// Whom it should be for.
        expected: String,
    },
    /// It has expired.
    #[error("the token expired {ago_s} s ago, expected one that is still valid")]
    Expired {
        /// Seconds since then.
        ago_s: u64,
    },
    /// Its time has not come.
    #[error("the token is valid only in {in_s} s by its claim `{claim}`, expected one that is valid now")]
    TooEarly {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Seconds until then.
        in_s: u64,
    },
    /// It lives too long.
    #[error("the token is valid for {found_s} s, expected at most {LIFE_S_MAX}")]
    LongLived {
        /// Seconds from when it was issued until it expires.
        found_s: u64,
    },
}

/// What the claims say, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) subject: String,
    /// Until when the token is accepted, Unix milliseconds.
    pub(crate) until_ms: u64,
}

/// Checks that the token with `claims` is for `audience`, and valid at `now_s` by clocks that may differ by
/// `skew_s`.
pub(crate) fn check(
    claims: &Map<String, Value>,
    audience: &str,
    skew_s: u64,
    now_s: u64,
) -> Result<Checked, ClaimError> {
    let audiences = audiences(claims)?;
    if !audiences.contains(&audience) {
        let found = shown(&audiences.join(", "));
        return Err(ClaimError::Audience { found, expected: audience.to_owned() });
    }
    let expires_s = time(claims, "exp")?.ok_or_else(|| malformed(claims, "exp", SECONDS))?;
    if now_s >= expires_s.saturating_add(skew_s) {
        return Err(ClaimError::Expired { ago_s: now_s - expires_s });
    }
    let (not_before_s, issued_s) = (time(claims, "nbf")?, time(claims, "iat")?);
    for (claim, begins_s) in [("nbf", not_before_s), ("iat", issued_s)] {
        if let Some(begins_s) = begins_s.filter(|&begins_s| begins_s > now_s.saturating_add(skew_s)) {
            return Err(ClaimError::TooEarly { claim, in_s: begins_s - now_s });
        }
    }
    // A token that does not say when its life began has at least what is left of it.
    let began_s = issued_s.or(not_before_s).unwrap_or(now_s);
    let found_s = expires_s.saturating_sub(began_s);
    if found_s > LIFE_S_MAX {
        return Err(ClaimError::LongLived { found_s });
    }
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.filter(|subject| (1..=SUBJECT_BYTES_MAX).contains(&subject.len()));
    let subject = subject.ok_or_else(|| malformed(claims, "sub", "a text of 1 to 1024 bytes"))?;
    let until_ms = expires_s.saturating_add(skew_s).saturating_mul(1000);
    Ok(Checked { subject: subject.to_owned(), until_ms })
}

const SECONDS: &str = "a number of seconds since 1970";

fn malformed(claims: &Map<String, Value>, claim: &'static str, expected: &'static str) -> ClaimError {
    let found = match claims.get(claim) {
        None => "absent",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a truth value",
        Some(Value::Number(_)) => "another number",
        Some(Value::String(_)) => "another text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    };
    ClaimError::Malformed { claim, found, expected }
}

pub(crate) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, ClaimError> {
    let found = match claims.get("aud") {
        Some(Value::String(audience)) => Some(vec![audience.as_str()]),
        Some(Value::Array(audiences)) => audiences.iter().map(Value::as_str).collect(),
        _ => None,
    };
    found.ok_or_else(|| malformed(claims, "aud", "a text or a list of texts"))
}

/// A time in whole seconds; it may be written with a fraction.
pub(crate) fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, ClaimError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let fraction = || Duration::try_from_secs_f64(value.as_f64()?).ok().map(|time| time.as_secs());
    let seconds = value.as_u64().or_else(fraction);
    seconds.map(Some).ok_or_else(|| malformed(claims, claim, SECONDS))
}

/// What rules can look at.
pub(crate) fn for_rules(claims: &Map<String, Value>) -> Claims {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    let value = |value: &Value| match value {
        Value::Array(items) => Some(ClaimValue::List(items.iter().filter_map(text).collect())),
        _ => text(value).map(ClaimValue::Text),
    };
    claims.iter().filter_map(|(name, found)| Some((name.clone(), value(found)?))).collect()
}

/// `text`, which somebody unknown wrote, in quotes and short enough for a message.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests;
