//! Which requests are sampled, decided when they arrive.

use super::{TraceId, TraceParent};

/// How many values the random part of a trace id has: its last 56 bits (W3C Trace Context level 2, section
/// 3.2.2.3.2).
const VALUES: u64 = 1 << 56;

/// Decides which requests are sampled. Each decision is one comparison of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Ids below this are sampled.
    below: u64,
    /// Whether a parent decides about its children.
    follows_parent: bool,
}

/// A text that names no sampler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// No sampler has this name.
    #[error(
        "found the sampler {0:?}, expected always_on, always_off, traceidratio, parentbased_always_on, \
         parentbased_always_off or parentbased_traceidratio"
    )]
    Unknown(String),
    /// The share is none.
    #[error("found the share {0:?}, expected a number from 0 to 1")]
    Ratio(String),
}

impl Sampler {
    /// Samples every request.
    pub const ALWAYS: Self = Self { below: VALUES, follows_parent: false };

    /// Samples this share of requests, 0 to 1. Values outside are taken as the nearest inside.
    pub fn share(share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the product is between 0 and 2⁵⁶, and a share needs no more precision than it has"
        )]
        let below = (share.clamp(0.0, 1.0) * VALUES as f64) as u64;
        Self { below, follows_parent: false }
    }

    /// The sampler that OpenTelemetry's `OTEL_TRACES_SAMPLER` names, with `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// # Errors
    /// There is no such sampler, or its argument is no share.
    pub fn named(name: &str, argument: Option<&str>) -> Result<Self, SamplerError> {
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let sampler = match root {
            "always_on" => Self::ALWAYS,
            "always_off" => Self::share(0.0),
            "traceidratio" => {
                let argument = argument.unwrap_or("1");
                let share = argument.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
                Self::share(share.ok_or_else(|| SamplerError::Ratio(argument.to_owned()))?)
            }
            _ => return Err(SamplerError::Unknown(name.to_owned())),
        };
        Ok(Self { follows_parent, ..sampler })
    }

    /// Whether a request of `trace` is sampled, whose caller said `parent`.
    pub fn samples(self, parent: Option<TraceParent>, trace: TraceId) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.sampled,
            _ => self.samples_bits(trace.bits()),
        }
    }

    /// Whether random `bits` are among those that are sampled.
    pub fn samples_bits(self, bits: u128) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "only the last 56 bits count")]
        let low = bits as u64 & (VALUES - 1);
        low < self.below
    }
}
