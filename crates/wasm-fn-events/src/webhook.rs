//! Webhooks: whether a request is from the service that it claims to be from.
//!
//! Each provider has a file with its published rules. All of them are checked in the same order: the headers
//! are there once; the signature is right, compared in constant time over the bytes as they came; the time
//! that was signed is near. Only then is anything in the body read.

mod facts;
mod gitea;
mod github;
mod gitlab;
mod headers;
mod mac;
mod slack;
mod standard;
mod stripe;

use std::{fmt, str::FromStr, time::Duration};

use http::HeaderMap;

use crate::Timestamp;

/// How far the time that a provider signed may be from now, either way.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Signatures in one request that are compared; a request with more is refused.
pub const SIGNATURES_MAX: usize = 8;

/// Longest id or type of an event in bytes, where a provider gives one.
pub const FACT_BYTES_MAX: usize = 256;

/// A service whose rules for signing webhooks are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// GitHub, and GitHub Enterprise Server.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea, and Forgejo, which signs in the same way.
    Gitea,
    /// Stripe.
    Stripe,
    /// Slack.
    Slack,
    /// Any service that follows Standard Webhooks 1.0.
    Standard,
}

/// Every provider, in the order of the documentation.
pub const PROVIDERS: [Provider; 6] = [
    Provider::GitHub,
    Provider::GitLab,
    Provider::Gitea,
    Provider::Stripe,
    Provider::Slack,
    Provider::Standard,
];

/// A word is no provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook provider {found:?} is not known, expected one of {}", PROVIDERS.map(Provider::as_str).join(", "))]
pub struct ProviderError {
    /// The word found.
    pub found: String,
}

/// What is known of a request whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The provider's id of the event, the same when it sends the event again. GitHub, Gitea and GitLab's
    /// secret tokens do not sign it: who has seen one request can send it again under another id.
    pub delivery_id: Option<String>,
    /// The provider's word for what happened, such as `push`.
    pub event_type: Option<String>,
    /// When the provider signed it; now, if it does not say when.
    pub time: Timestamp,
}

/// Why a request is not taken as the provider's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// A header is missing.
    #[error("header {header} is missing")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header is there more than once, so that another reader could take the other one.
    #[error("header {header} is there more than once")]
    Doubled {
        /// Its name.
        header: &'static str,
    },
    /// A header does not have the form that the provider's headers have.
    #[error("header {header} is malformed, expected {expected}")]
    Malformed {
        /// Its name.
        header: &'static str,
        /// The form.
        expected: &'static str,
    },
    /// No secret gives the signature: the body was changed, or signed with another secret.
    #[error("the signature is wrong: the body was changed, or signed with another secret")]
    Signature,
    /// The signature is right, and too old.
    #[error("the request was signed {} s ago, expected at most {} s", age.as_secs(), TOLERANCE.as_secs())]
    TooOld {
        /// Time since it was signed.
        age: Duration,
    },
    /// The signature is right, and of a time to come.
    #[error("the request was signed for a time in {} s, expected at most {} s: check the clocks",
        ahead.as_secs(), TOLERANCE.as_secs())]
    InFuture {
        /// Time until then.
        ahead: Duration,
    },
    /// There is no secret to verify with. The fault is in the trigger, not in the request.
    #[error("there is no secret to verify with, or it is empty")]
    NoSecret,
    /// A secret does not have the form that the provider's secrets have. The fault is in the trigger.
    #[error("a secret is malformed, expected {expected}")]
    Secret {
        /// The form.
        expected: &'static str,
    },
}

impl WebhookError {
    /// Whether the trigger's secrets are at fault, rather than the request.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NoSecret | Self::Secret { .. })
    }
}

impl Provider {
    /// Checks that the provider signed this request with one of `secrets`, and not long before `now`.
    ///
    /// `body` is the body byte by byte as it came. Every secret is tried, so that one can be rotated.
    ///
    /// # Errors
    ///
    /// [`WebhookError`], the first of its kinds that applies.
    pub fn verify(
        self,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &[&[u8]],
        now: Timestamp,
    ) -> Result<Verified, WebhookError> {
        if secrets.is_empty() || secrets.iter().any(|secret| secret.is_empty()) {
            return Err(WebhookError::NoSecret);
        }
        match self {
            Self::GitHub => github::verify(headers, body, secrets, now),
            Self::GitLab => gitlab::verify(headers, body, secrets, now),
            Self::Gitea => gitea::verify(headers, body, secrets, now),
            Self::Stripe => stripe::verify(headers, body, secrets, now),
            Self::Slack => slack::verify(headers, body, secrets, now),
            Self::Standard => standard::verify(headers, body, secrets, now),
        }
    }

    /// What to answer a verified request with that only tests the address, instead of giving it to the
    /// function; `None` for events. Slack asks for its `challenge` as plain text.
    pub fn handshake(self, verified: &Verified, body: &[u8]) -> Option<String> {
        match self {
            Self::Slack => slack::challenge(verified, body),
            _ => None,
        }
    }

    /// The type of an event, by the provider's word for it: GitLab's `Push Hook` is `com.gitlab.push_hook`.
    pub(crate) fn type_of(self, event_type: Option<&str>) -> String {
        let word =
            event_type.map_or_else(|| "event".to_owned(), |text| text.to_lowercase().replace(' ', "_"));
        format!("{}.{word}", self.prefix())
    }

    /// What the types of its events begin with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::GitHub => "com.github",
            Self::GitLab => "com.gitlab",
            Self::Gitea => "io.gitea",
            Self::Stripe => "com.stripe",
            Self::Slack => "com.slack",
            Self::Standard => "webhook",
        }
    }

    /// The word on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(word: &str) -> Result<Self, ProviderError> {
        let provider = PROVIDERS.into_iter().find(|provider| provider.as_str() == word);
        provider.ok_or_else(|| ProviderError { found: word.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests;
