//! What starts invocations besides requests, and what becomes of the events.
//!
//! Invariants: no clock and no randomness (times and draws are arguments), no environment, no input or output.

mod delivery;
mod time;
mod webhook;

pub use delivery::{
    AGE_MAX_MAX, ATTEMPTS_MAX_MAX, Answer, AnswerPattern, BACKOFF_MAX_MAX, BACKOFF_MIN_MIN, DISPOSITIONS,
    DeadLetterReason, Disposition, DispositionKind, DispositionRule, Next, RETRY_AFTER_MAX, RetryOptions,
    RetryPolicy, RetryPolicyError,
};
pub use time::{Timestamp, TimestampError};
pub use wasm_fn_core::TriggerName;
pub use webhook::{
    FACT_BYTES_MAX, PROVIDERS, Provider, ProviderError, SIGNATURES_MAX, TOLERANCE, Verified, WebhookError,
};
