//! The identity of a trace and of its spans, and the `traceparent` header (W3C Trace Context, section 3.2).

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

/// The length of a header of version 00, bytes.
const LENGTH: usize = 55;

/// The flag that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// Identifies a trace: 128 bits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Identifies a span in its trace: 64 bits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// Whose child a span is: what a `traceparent` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The parent.
    pub span: SpanId,
    /// Whether the caller may have recorded the parent.
    pub sampled: bool,
}

impl TraceId {
    /// The id of these bits; `None` if all are zero.
    pub fn new(bits: u128) -> Option<Self> {
        NonZeroU128::new(bits).map(Self)
    }

    /// The 128 bits.
    pub fn bits(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// The id of these bits; `None` if all are zero.
    pub fn new(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The 64 bits.
    pub fn bits(self) -> u64 {
        self.0.get()
    }

    /// The id with `number` among those that are made of `seed`: as good as random if the seed is
    /// (SplitMix64, Steele, Lea and Flood 2014).
    pub(super) fn numbered(seed: u64, number: u64) -> Self {
        let mut mixed = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(NonZeroU64::new(mixed ^ (mixed >> 31)).unwrap_or(NonZeroU64::MIN))
    }
}

impl TraceParent {
    /// What `header` says; `None` if it is malformed.
    ///
    /// Of a version after 00 only the parts are read that 00 has, which come first (section 4.3).
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (known, rest) = header.split_at_checked(LENGTH)?;
        let version = u8::try_from(digits(&known[..2])?).ok()?;
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        if !fits || [2, 35, 52].iter().any(|&at| known[at] != b'-') {
            return None;
        }
        let trace = TraceId::new(digits(&known[3..35])?)?;
        let span = SpanId::new(u64::try_from(digits(&known[36..52])?).ok()?)?;
        let flags = u8::try_from(digits(&known[53..])?).ok()?;
        Some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

/// The number that lower-case hexadecimal `text` of at most 32 digits is.
fn digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for TraceParent {
    /// The header, in version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, sampled } = self;
        write!(f, "00-{trace}-{span}-0{}", u8::from(*sampled))
    }
}
