//! What the bytes of an HTTP/1 head tell before it is complete. hyper does not say why it refuses a head.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Digits of the shortest `content-length` that hyper takes for none.
const HUGE_DIGITS: usize = 20;

/// The largest length that hyper accepts; it gives those above a meaning of its own.
const LENGTH_MAX: u64 = u64::MAX - 2;

/// A head that is being received.
#[derive(Default)]
pub(crate) struct PartialHead {
    /// Whether its request line is complete.
    has_line: AtomicBool,
    /// Whether the bytes that arrived last did not end with a head, so that another may have begun.
    overlaps: AtomicBool,
    /// Whether it has a `content-length` that no number holds.
    has_huge_length: AtomicBool,
}

impl PartialHead {
    /// Whether the request line is complete.
    pub(crate) fn has_line(&self) -> bool {
        self.has_line.load(Relaxed)
    }

    /// Whether there is a `content-length` that no number holds.
    pub(crate) fn has_huge_length(&self) -> bool {
        self.has_huge_length.load(Relaxed)
    }

    /// Notes that `bytes` of the head arrived. They are its first if it `begins`.
    pub(super) fn see(&self, bytes: &[u8], begins: bool) {
        // Where the head may have begun behind another, the line of that one counts for it.
        let had_line = (!begins || self.overlaps.load(Relaxed)) && self.has_line();
        // Most heads arrive whole.
        let is_whole = bytes.ends_with(b"\r\n\r\n");
        // Empty lines before the request line do not count.
        let has_line = had_line || is_whole || bytes.trim_ascii_start().contains(&b'\n');
        self.has_line.store(has_line, Relaxed);
        self.overlaps.store(!is_whole, Relaxed);
        let had_length = !begins && self.has_huge_length();
        self.has_huge_length.store(had_length || has_huge_length(bytes), Relaxed);
    }
}

/// Whether `bytes` have a `content-length` that no number holds.
///
/// It looks at every twentieth byte, since so many digits must include one of these.
fn has_huge_length(bytes: &[u8]) -> bool {
    let mut samples = bytes.iter().enumerate().skip(HUGE_DIGITS - 1).step_by(HUGE_DIGITS);
    samples.any(|(at, byte)| byte.is_ascii_digit() && is_huge_length(bytes, at))
}

/// Whether the digits around `at` are a `content-length` that no number holds.
fn is_huge_length(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let after = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = &bytes[at - before..at + after];
    let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    if digits.len() < HUGE_DIGITS || number.is_some_and(|number| number <= LENGTH_MAX) {
        return false;
    }
    const NAME: &[u8] = b"content-length:";
    let name = bytes[..at - before].trim_ascii_end();
    name.len() >= NAME.len() && name[name.len() - NAME.len()..].eq_ignore_ascii_case(NAME)
}

#[cfg(test)]
mod tests;
