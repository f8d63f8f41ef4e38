//! What an issuer answers to a program by which somebody logs in, and what it means.

use std::{fmt, time::Duration};

use http::StatusCode;
use serde::Deserialize;

use super::{GrantError, PollAnswer};
use crate::{IssuerUrl, check::shown};

/// The interval if the issuer names none (RFC 8628, section 3.2).
const INTERVAL_S: u64 = 5;

/// The shortest interval, seconds, whatever the issuer says.
const INTERVAL_S_MIN: u64 = 1;

/// Longest life of a code, whatever the issuer says, seconds.
const LIFE_S_MAX: u64 = 3600;

/// Longest code that a user is asked to type, characters.
const USER_CODE_CHARS_MAX: usize = 64;

/// Longest address that a user is asked to open, bytes.
const URI_BYTES_MAX: usize = 2048;

/// The answer with a code (RFC 8628, section 3.2), as it came.
#[derive(Deserialize)]
pub(super) struct CodeAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

/// A code that a user is to confirm.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCode {
    device_code: String,
    /// What the user enters: 1 to 64 visible characters.
    pub user_code: String,
    /// Where the user enters it, as secure as the issuer.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code can be confirmed.
    pub expires_in: Duration,
    /// How often the issuer may be asked.
    pub interval: Duration,
}

/// What is wrong with an answer with a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodeError {
    #[error("its user_code is {found}, expected 1 to {USER_CODE_CHARS_MAX} visible characters")]
    UserCode { found: String },
    #[error("its {name} is {found}, expected an https URL of at most {URI_BYTES_MAX} bytes")]
    Address { name: &'static str, found: String },
}

impl DeviceCode {
    /// Reads `answer`, of `issuer`.
    pub(super) fn new(answer: CodeAnswer, issuer: &IssuerUrl) -> Result<Self, CodeError> {
        let CodeAnswer { device_code, user_code, verification_uri, .. } = answer;
        let length = user_code.chars().count();
        if !(1..=USER_CODE_CHARS_MAX).contains(&length) || user_code.chars().any(char::is_control) {
            return Err(CodeError::UserCode { found: shown(&user_code) });
        }
        let usable = |uri: &str| uri.len() <= URI_BYTES_MAX && issuer.endpoint(uri).is_ok();
        let named = [
            ("verification_uri", Some(&verification_uri)),
            ("verification_uri_complete", answer.verification_uri_complete.as_ref()),
        ];
        for (name, uri) in named {
            if let Some(uri) = uri.filter(|uri| !usable(uri)) {
                return Err(CodeError::Address { name, found: shown(uri) });
            }
        }
        Ok(Self {
            device_code,
            user_code,
            verification_uri,
            verification_uri_complete: answer.verification_uri_complete,
            expires_in: Duration::from_secs(answer.expires_in.min(LIFE_S_MAX)),
            interval: Duration::from_secs(answer.interval.unwrap_or(INTERVAL_S).max(INTERVAL_S_MIN)),
        })
    }

    /// What the program proves with that it asked for this code.
    pub(super) fn device_code(&self) -> &str {
        &self.device_code
    }
}

/// Hides the device code.
impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DeviceCode");
        shown.field("user_code", &self.user_code).field("verification_uri", &self.verification_uri);
        shown.field("expires_in", &self.expires_in).field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// A refusal (RFC 6749, section 5.2; RFC 8628, section 3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: String,
    description: Option<String>,
}

impl Refusal {
    /// What an answer with this `status` says. One that gives no reason has its status as its code.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Answer {
            error: String,
            #[serde(default)]
            error_description: Option<String>,
        }
        match serde_json::from_slice(body) {
            Ok(Answer { error, error_description }) => Self { code: error, description: error_description },
            Err(_) if status == StatusCode::TOO_MANY_REQUESTS => {
                Self { code: "slow_down".to_owned(), description: None }
            }
            Err(_) => {
                let description = Some("it gives no reason as JSON".to_owned());
                Self { code: format!("status {}", status.as_u16()), description }
            }
        }
    }

    pub(super) fn into_error(self, issuer: &IssuerUrl) -> GrantError {
        let description = self.description.map(|text| format!(": {}", shown(&text))).unwrap_or_default();
        GrantError::Refused { issuer: issuer.to_string(), code: shown(&self.code), description }
    }

    pub(super) fn into_poll_answer(self, issuer: &IssuerUrl) -> PollAnswer {
        match self.code.as_str() {
            "authorization_pending" => PollAnswer::Pending,
            "slow_down" => PollAnswer::SlowDown,
            "access_denied" => PollAnswer::Ended(Err(GrantError::Denied { issuer: issuer.to_string() })),
            "expired_token" => {
                let (issuer, failure) = (issuer.to_string(), String::new());
                PollAnswer::Ended(Err(GrantError::Expired { issuer, failure }))
            }
            _ => PollAnswer::Ended(Err(self.into_error(issuer))),
        }
    }
}

#[cfg(test)]
mod tests;
