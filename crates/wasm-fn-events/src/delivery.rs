//! What the answer to a delivery means: the event is done, is tried again, or goes to the dead letters.

mod retry;

use std::{fmt, ops::RangeInclusive, time::Duration};

use http::StatusCode;
use wasm_fn_core::Outcome;

use crate::Timestamp;

pub use retry::{
    AGE_MAX_MAX, ATTEMPTS_MAX_MAX, BACKOFF_MAX_MAX, BACKOFF_MIN_MIN, Next, RetryOptions, RetryPolicy,
    RetryPolicyError,
};

/// Longest wait that a function can ask for by `retry-after`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(6 * 3600);

/// How a function answered a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It responded.
    Response {
        /// The status of the response.
        status: StatusCode,
        /// The value of its `retry-after`, if it has one (RFC 9110, section 10.2.3).
        retry_after: Option<&'a str>,
    },
    /// It did not respond, and this is how the invocation ended.
    NoResponse(Outcome),
}

/// What is done with an event after a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is handled, and leaves the inbox.
    Acknowledge,
    /// It is delivered again; [`RetryPolicy::next`] says when, and whether at all.
    Retry {
        /// The least wait that the function asked for, at most [`RETRY_AFTER_MAX`].
        after: Option<Duration>,
    },
    /// It is kept for people, and not delivered again unless one asks for that.
    DeadLetter {
        /// Why.
        reason: DeadLetterReason,
    },
}

/// Why an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// The function answered with a status that asks for no retry.
    Refused {
        /// The status.
        status: StatusCode,
    },
    /// It was delivered as often as the policy allows.
    Attempts {
        /// How often.
        attempts: u32,
    },
    /// The next delivery would have come too long after the event.
    Age {
        /// The age that the policy allows.
        age_max: Duration,
    },
}

/// What a row of [`DISPOSITIONS`] says of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispositionKind {
    /// [`Disposition::Acknowledge`].
    Acknowledge,
    /// [`Disposition::Retry`].
    Retry,
    /// [`Disposition::DeadLetter`].
    DeadLetter,
}

/// The answers that a row of [`DISPOSITIONS`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPattern {
    /// Responses with these statuses.
    Status(RangeInclusive<u16>),
    /// No response, and the invocation ended so.
    NoResponse(Outcome),
}

/// A row of [`DISPOSITIONS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispositionRule {
    /// The answers.
    pub answers: AnswerPattern,
    /// What is done.
    pub kind: DispositionKind,
    /// Why, for people.
    pub because: &'static str,
}

const fn status(first: u16, last: u16, kind: DispositionKind, because: &'static str) -> DispositionRule {
    DispositionRule { answers: AnswerPattern::Status(first..=last), kind, because }
}

const fn no_response(outcome: Outcome, because: &'static str) -> DispositionRule {
    DispositionRule { answers: AnswerPattern::NoResponse(outcome), kind: DispositionKind::Retry, because }
}

/// What is done after each answer. The first row that has the answer counts, and every answer has a row.
pub static DISPOSITIONS: [DispositionRule; 18] = {
    use DispositionKind::{Acknowledge, DeadLetter, Retry};
    [
        status(200, 299, Acknowledge, "the function has handled the event"),
        status(408, 408, Retry, "the function did not get the event in time"),
        status(425, 425, Retry, "the function does not want the event yet"),
        status(429, 429, Retry, "the function asks for fewer events"),
        status(400, 499, DeadLetter, "the function refuses the event, and would refuse it again"),
        status(500, 599, Retry, "the function failed"),
        status(100, 199, DeadLetter, "the status is not a final one"),
        status(300, 399, DeadLetter, "redirects are not followed"),
        status(600, 999, DeadLetter, "the status has no meaning"),
        no_response(Outcome::Trap, "the function trapped"),
        no_response(Outcome::Timeout, "the function took too long"),
        no_response(Outcome::OutOfMemory, "the function needed more memory than it may have"),
        no_response(Outcome::InvalidResponse, "the function's answer is not valid HTTP"),
        no_response(Outcome::Shed, "the node was at a limit, or stopped"),
        no_response(Outcome::Cancelled, "the delivery was broken off"),
        no_response(Outcome::Internal, "the node failed"),
        // These two come with a response, so they are rows for completeness.
        no_response(Outcome::ServerError, "the function failed"),
        no_response(Outcome::Success, "the function's answer is not known"),
    ]
};

impl Answer<'_> {
    /// What is done with the event, by [`DISPOSITIONS`]. A `retry-after` that is a date counts from `now`;
    /// one that is neither a number of seconds nor a date is ignored.
    pub fn disposition(&self, now: Timestamp) -> Disposition {
        let rule = DISPOSITIONS.iter().find(|rule| rule.answers.has(self));
        let rule = rule.expect("every answer has a row");
        match (rule.kind, *self) {
            (DispositionKind::Acknowledge, _) => Disposition::Acknowledge,
            (DispositionKind::DeadLetter, Answer::Response { status, .. }) => {
                Disposition::DeadLetter { reason: DeadLetterReason::Refused { status } }
            }
            (DispositionKind::Retry, Answer::Response { retry_after, .. }) => {
                Disposition::Retry { after: retry_after.and_then(|text| parse_retry_after(text, now)) }
            }
            (_, Answer::NoResponse(_)) => Disposition::Retry { after: None },
        }
    }
}

impl AnswerPattern {
    fn has(&self, answer: &Answer<'_>) -> bool {
        match (self, answer) {
            (Self::Status(statuses), Answer::Response { status, .. }) => statuses.contains(&status.as_u16()),
            (Self::NoResponse(outcome), Answer::NoResponse(found)) => outcome == found,
            _ => false,
        }
    }
}

impl fmt::Display for AnswerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(statuses) if statuses.start() == statuses.end() => write!(f, "{}", statuses.start()),
            Self::Status(statuses) => write!(f, "{} to {}", statuses.start(), statuses.end()),
            Self::NoResponse(outcome) => write!(f, "{outcome}"),
        }
    }
}

impl DispositionKind {
    /// The word in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
        }
    }
}

impl DeadLetterReason {
    /// The word in logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Attempts { .. } => "attempts",
            Self::Age { .. } => "age",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status } => write!(f, "the function refused it with status {}", status.as_u16()),
            Self::Attempts { attempts: 1 } => write!(f, "it was delivered once, as often as allowed"),
            Self::Attempts { attempts } => {
                write!(f, "it was delivered {attempts} times, as often as allowed")
            }
            Self::Age { age_max } => {
                write!(f, "the next delivery would have come more than {} s after it", age_max.as_secs())
            }
        }
    }
}

/// The wait of a `retry-after` (RFC 9110, section 10.2.3), at most [`RETRY_AFTER_MAX`]; none if it is neither
/// a number of seconds nor a date.
fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // A number that is too large for the type is far beyond the bound, too.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        Timestamp::from_http_date(text)?.since(now)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests;
