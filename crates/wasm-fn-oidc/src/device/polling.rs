//! When to ask an issuer whether a code is confirmed (RFC 8628, sections 3.3 to 3.5). Time is an argument.

use std::time::Duration;

use super::{DeviceCode, GrantError};
use crate::{IssuerUrl, TokenSet};

/// By how much the interval grows when the issuer is asked too often (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// The longest interval after failures, unless the issuer asked for a longer one.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What became of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollAnswer {
    /// The user has not confirmed the code yet.
    Pending,
    /// The same, and the issuer is asked too often.
    SlowDown,
    /// The issuer could not be asked.
    Failed(String),
    /// The login has ended, well or not.
    Ended(Result<TokenSet, GrantError>),
}

/// The wait for a user: from the code to the tokens, or to the end of the code's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polling {
    issuer: IssuerUrl,
    /// The interval that the issuer asked for.
    interval: Duration,
    /// The interval while it cannot be asked.
    backoff: Option<Duration>,
    /// From when on it may be asked again.
    next: Duration,
    /// When the code expires.
    until: Duration,
    /// Why it could not be asked the last time.
    failure: Option<String>,
}

impl Polling {
    /// Begins to wait at `now`, the time since any moment that does not change.
    pub fn new(code: &DeviceCode, issuer: IssuerUrl, now: Duration) -> Self {
        let (interval, next, until) = (code.interval, now + code.interval, now + code.expires_in);
        Self { issuer, interval, backoff: None, next, until, failure: None }
    }

    /// How long to wait at `now` before the issuer is asked again.
    ///
    /// # Errors
    /// The code has expired.
    pub fn wait(&self, now: Duration) -> Result<Duration, GrantError> {
        if now < self.until {
            return Ok(self.next.min(self.until).saturating_sub(now));
        }
        let failure = self.failure.as_ref().map(|failure| format!("; {failure}")).unwrap_or_default();
        Err(GrantError::Expired { issuer: self.issuer.to_string(), failure })
    }

    /// Takes an answer that came at `now`. Returns how the login ended, if it did.
    pub fn heard(&mut self, answer: PollAnswer, now: Duration) -> Option<Result<TokenSet, GrantError>> {
        (self.backoff, self.failure) = match answer {
            PollAnswer::Ended(result) => return Some(result),
            PollAnswer::Pending => (None, None),
            PollAnswer::SlowDown => {
                self.interval += SLOW_DOWN;
                (None, None)
            }
            // "Clients MUST unilaterally reduce their polling frequency", such as by doubling the interval.
            PollAnswer::Failed(reason) => {
                let longer = self.backoff.unwrap_or(self.interval) * 2;
                (Some(longer.min(BACKOFF_MAX).max(self.interval)), Some(reason))
            }
        };
        self.next = now + self.backoff.unwrap_or(self.interval);
        None
    }
}

#[cfg(test)]
mod tests;
