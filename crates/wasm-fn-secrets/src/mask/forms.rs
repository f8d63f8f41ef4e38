//! The forms in which a value appears in logs.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) bytes: Vec<u8>,
    /// Whether it is only the beginning of the value.
    pub(super) is_head: bool,
}

/// All forms of `value` that are looked for, some of them several times.
pub(super) fn forms(value: &str) -> Vec<Form> {
    let value = value.trim();
    if value.len() < BYTES_MIN {
        return Vec::new();
    }
    let (head, is_head) = head(value);
    let mut texts = vec![head.to_owned()];
    texts.extend(base64(head.as_bytes()));
    texts.extend(percent_encoded(head));
    let hex = hex::encode(head);
    texts.extend([hex.to_ascii_uppercase(), hex]);
    texts.extend(escaped(head));
    let form = |text: String, is_head| Form { bytes: text.as_bytes().to_vec(), is_head };
    let mut forms: Vec<_> = texts.into_iter().map(|text| form(text, is_head)).collect();
    if value.contains('\n') {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
        forms.extend(lines.map(|line| {
            let (head, is_head) = self::head(line);
            form(head.to_owned(), is_head)
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
fn base64(bytes: &[u8]) -> impl Iterator<Item = String> {
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().flat_map(move |engine| {
        let whole = engine.encode(bytes);
        let within = (0..3).map(move |before| {
            let mut padded = vec![0; before];
            padded.extend_from_slice(bytes);
            let text = engine.encode(&padded);
            // Six bits a digit.
            let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            text[first..end].to_owned()
        });
        let within: Vec<_> = within.collect();
        within.into_iter().chain([whole])
    })
}

/// `text` as programs write it in a URL.
fn percent_encoded(text: &str) -> impl Iterator<Item = String> {
    let encoded = |set| utf8_percent_encode(text, set).to_string();
    let form = encoded(FORM).replace(' ', "+");
    [encoded(UNRESERVED), encoded(COMPONENT), form]
        .into_iter()
        .flat_map(|upper| [lower_digits(&upper), upper])
}

/// `text` with the digits of its percent-encoded bytes in lower case.
fn lower_digits(text: &str) -> String {
    let mut digits_left = 0;
    let lower = text.chars().map(|c| {
        let is_digit = digits_left > 0;
        digits_left = if c == '%' { 2 } else { digits_left - u8::from(is_digit) };
        if is_digit { c.to_ascii_lowercase() } else { c }
    });
    lower.collect()
}

/// `text` inside quotes, as JSON and source text have it: with as few escapes as there can be, with `/`
/// escaped too, and with all that is not ASCII escaped.
fn escaped(text: &str) -> [String; 3] {
    let few = escape(text, |_| false);
    let slashes = few.replace('/', "\\/");
    [few, slashes, escape(text, |c| !c.is_ascii())]
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    // Long enough that it does not grow and leave copies behind.
    let mut escaped = String::with_capacity(text.len() * 6);
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
