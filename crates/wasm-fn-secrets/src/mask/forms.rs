//! The forms in which a value appears in logs.

use std::{cmp::Ordering, fmt::Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// A text that is overwritten when it is dropped. It never grows beyond its capacity, which would leave a
/// copy.
type Text = Zeroizing<String>;

/// Shortest value that is looked for, and shortest form, bytes.
const BYTES_MIN: usize = 4;

/// Shortest line of a value of several lines that is looked for, bytes. Shorter ones are braces and such.
const LINE_BYTES_MIN: usize = 8;

/// Longest part of a value that is looked for, bytes. It is enough to recognise it, and keeps what is held
/// for a version small.
const HEAD_BYTES_MAX: usize = 256;

/// What RFC 3986 leaves as it is (section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What `encodeURIComponent` of JavaScript leaves as it is.
const COMPONENT: &AsciiSet = &UNRESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');

/// What forms leave as it is; they write a space as `+` (WHATWG URL, section 5.2).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b' ');

/// A form of a value.
#[derive(PartialEq, Eq)]
pub(super) struct Form {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Whether it is only the beginning of the value.
    pub(super) is_head: bool,
}

impl Ord for Form {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes[..].cmp(&other.bytes[..]).then(self.is_head.cmp(&other.is_head))
    }
}

impl PartialOrd for Form {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All forms of `value` that are looked for, some of them several times.
pub(super) fn forms(value: &str) -> Vec<Form> {
    let value = value.trim();
    if value.len() < BYTES_MIN {
        return Vec::new();
    }
    let (head, is_head) = head(value);
    let mut texts = vec![Text::new(head.to_owned())];
    texts.extend(base64(head.as_bytes()));
    texts.extend(percent_encoded(head));
    let hex = Text::new(hex::encode(head));
    texts.extend([Text::new(hex.to_ascii_uppercase()), hex]);
    texts.extend(escaped(head));
    let form = |text: &str, is_head| Form { bytes: Zeroizing::new(text.as_bytes().to_vec()), is_head };
    let mut forms: Vec<_> = texts.iter().map(|text| form(text, is_head)).collect();
    if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
        forms.extend(lines.map(|line| {
            let (head, is_head) = self::head(line);
            form(head, is_head)
        }));
    }
    forms.retain(|form| form.bytes.len() >= BYTES_MIN);
    forms
}

/// The part of `text` that is looked for, and whether there is more.
fn head(text: &str) -> (&str, bool) {
    let head = &text[..text.floor_char_boundary(HEAD_BYTES_MAX)];
    (head, head.len() < text.len())
}

/// `bytes` in base64 at each of the three places that they can have in what is encoded, as in
/// `user:password`. Digits that depend on what is before or behind are left out. The text of the whole value
/// has its last digit.
fn base64(bytes: &[u8]) -> impl Iterator<Item = Text> {
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().flat_map(move |engine| {
        let whole = Text::new(engine.encode(bytes));
        let within = (0..3).map(move |before| {
            let padded = Zeroizing::new([&[0; 2][..before], bytes].concat());
            let text = Text::new(engine.encode(&*padded));
            // Six bits a digit.
            let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            Text::new(text[first..end].to_owned())
        });
        let within: Vec<_> = within.collect();
        within.into_iter().chain([whole])
    })
}

/// `text` as programs write it in a URL.
fn percent_encoded(text: &str) -> impl Iterator<Item = Text> {
    let encoded = |set| {
        let mut encoded = Text::new(String::with_capacity(text.len() * 3));
        encoded.extend(utf8_percent_encode(text, set));
        encoded
    };
    let form = replaced(&encoded(FORM), ' ', "+");
    [encoded(UNRESERVED), encoded(COMPONENT), form]
        .into_iter()
        .flat_map(|upper| [lower_digits(&upper), upper])
}

/// `text` with `to`, of at most two bytes, in place of each `from`.
fn replaced(text: &str, from: char, to: &str) -> Text {
    let mut replaced = Text::new(String::with_capacity(text.len() * 2));
    for c in text.chars() {
        if c == from { replaced.push_str(to) } else { replaced.push(c) }
    }
    replaced
}

/// `text` with the digits of its percent-encoded bytes in lower case.
fn lower_digits(text: &str) -> Text {
    let mut digits_left = 0;
    let mut lower = Text::new(String::with_capacity(text.len()));
    for c in text.chars() {
        let is_digit = digits_left > 0;
        digits_left = if c == '%' { 2 } else { digits_left - u8::from(is_digit) };
        lower.push(if is_digit { c.to_ascii_lowercase() } else { c });
    }
    lower
}

/// `text` inside quotes, as JSON and source text have it: with as few escapes as there can be, with `/`
/// escaped too, and with all that is not ASCII escaped.
fn escaped(text: &str) -> [Text; 3] {
    let few = escape(text, |_| false);
    let slashes = replaced(&few, '/', "\\/");
    [few, slashes, escape(text, |c| !c.is_ascii())]
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Text {
    let mut escaped = Text::new(String::with_capacity(text.len() * 6));
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_ascii_control() || is_escaped(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}
