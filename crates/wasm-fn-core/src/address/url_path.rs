//! Paths of URLs in their normal form, so that one path has one spelling.

use std::borrow::Cow;

/// The normal form of `path` (RFC 3986, section 6.2.2): percent-encodings of characters that a segment may
/// have are decoded, all others are in upper case, every other character is encoded, and dot segments are
/// removed.
///
/// Two paths have the same normal form if they have the same segments, decoded. An encoded `/` is part of a
/// segment. So is `%` without two hexadecimal digits behind it, as if it were `%25`. A star is encoded, since
/// a route has its own. Only paths that begin with `/` have another form.
///
/// The normal form of a normal form is itself.
pub fn normal_path(path: &str) -> Cow<'_, str> {
    if !path.starts_with('/') || is_normal(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(normalize(path))
}

/// Whether `path` is in its normal form, or might be but for encodings.
fn is_normal(path: &[u8]) -> bool {
    let mut last = 0;
    path.iter().all(|&byte| {
        // Few segments begin with a dot, so each counts as a dot segment here.
        let fits = PLAIN[usize::from(byte)] && !(byte == b'.' && last == b'/');
        last = byte;
        fits
    })
}

#[cold]
fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let begin = normal.len();
        normal.push('/');
        push_segment(&mut normal, segment.as_bytes());
        let is_last = segments.peek().is_none();
        match &normal[begin..] {
            "/." => normal.truncate(begin + usize::from(is_last)),
            "/.." => {
                normal.truncate(begin);
                normal.truncate(normal.rfind('/').unwrap_or(0));
                if is_last {
                    normal.push('/');
                }
            }
            _ => {}
        }
    }
    normal
}

/// Appends the normal form of `segment`.
fn push_segment(normal: &mut String, mut segment: &[u8]) {
    while let Some((&first, after)) = segment.split_first() {
        let (byte, rest) = match (first, after) {
            (b'%', [high, low, rest @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (first, after),
            },
            _ => (first, after),
        };
        if PLAIN[usize::from(byte)] && byte != b'/' {
            normal.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            normal.push('%');
            normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
            normal.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        segment = rest;
    }
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The bytes that stand for themselves in a normal path: `/`, and what a segment may have without encoding,
/// except the star (RFC 3986, section 3.3).
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b','
            )
            || matches!(byte, b';' | b'=' | b':' | b'@');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests;
