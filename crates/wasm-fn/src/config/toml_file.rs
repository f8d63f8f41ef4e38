//! Reads TOML files. An error names the line.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Why a configuration file is invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is far too large for a configuration file.
    #[error("{}: found {bytes} bytes, expected at most {bytes_max}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    /// A line is wrong; `reason` says what was found and what was expected.
    #[error("{}:{line}: {}{reason}", path.display(), key_prefix(key))]
    Line { path: PathBuf, line: usize, key: String, reason: String },
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// An invalid value, with its path in the file.
pub(super) struct BadValue {
    pub(super) key: String,
    pub(super) reason: String,
}

impl BadValue {
    pub(super) fn new(key: impl Into<String>, reason: impl ToString) -> Self {
        Self { key: key.into(), reason: reason.to_string() }
    }
}

/// Reads the text of the file at `path`. Blocks.
///
/// # Errors
/// It cannot be read, or has more than `bytes_max` bytes.
pub(super) fn text_of(path: &Path, bytes_max: u64) -> Result<String, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut text = String::new();
    // A pipe has no length, so the bytes that were read count.
    let read = file.take(bytes_max + 1).read_to_string(&mut text).map_err(unreadable)?;
    let bytes = bytes.max(u64::try_from(read).unwrap_or(u64::MAX));
    if bytes > bytes_max {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes, bytes_max });
    }
    Ok(text)
}

/// Parses `text`, the TOML in the file at `path`, and converts it with `resolve`.
///
/// # Errors
/// Names the file, the line and the key.
pub(super) fn parse<R: DeserializeOwned, M>(
    path: &Path,
    text: &str,
    resolve: impl FnOnce(R) -> Result<M, BadValue>,
) -> Result<M, FileError> {
    let refused = |span: Option<Range<usize>>, key: String, reason: String| FileError::Line {
        path: path.to_owned(),
        line: line(text, span.map_or(0, |span| span.start)),
        key,
        reason,
    };
    let document = DeTable::parse(text).map_err(|error| {
        let key = error.span().map(|span| key_before(text, &span, error.message())).unwrap_or_default();
        refused(error.span(), key, error.message().to_owned())
    })?;
    let raw: R = toml::from_str(text).map_err(|error| {
        let key = error.span().and_then(|span| key_at(document.get_ref(), &span)).unwrap_or_default();
        refused(error.span(), key, found_expected(error.message()))
    })?;
    resolve(raw).map_err(|BadValue { key, reason }| refused(span_of(document.get_ref(), &key), key, reason))
}

/// Reads `64MiB`.
pub(super) fn size(key: &str, text: Option<String>) -> Result<Option<u64>, BadValue> {
    let parse = |text: String| {
        let reason = format!("found {text:?}, expected a size such as 64MiB");
        text.parse::<bytesize::ByteSize>().map(|size| size.0).map_err(|_| BadValue::new(key, reason))
    };
    text.map(parse).transpose()
}

/// Reads `10s`.
pub(super) fn duration(key: &str, text: Option<String>) -> Result<Option<Duration>, BadValue> {
    let parse = |text: String| {
        let reason = format!("found {text:?}, expected a time such as 10s or 500ms");
        humantime::parse_duration(&text).map_err(|_| BadValue::new(key, reason))
    };
    text.map(parse).transpose()
}

/// Reads `10s` as whole milliseconds, which is the resolution of a node.
pub(super) fn millis(key: &str, text: Option<String>) -> Result<Option<u64>, BadValue> {
    let Some(duration) = duration(key, text)? else { return Ok(None) };
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if duration != Duration::from_millis(whole) {
        let found = humantime::format_duration(duration);
        return Err(BadValue::new(key, format!("found {found}, expected whole milliseconds")));
    }
    Ok(Some(whole))
}

/// Rewrites serde's messages as `found …, expected …`, with the expected type in TOML's terms.
pub(super) fn found_expected(message: &str) -> String {
    let message = message.trim_end();
    // What the parser says of a value that has to be one of several words.
    if message == "wanted string or table" {
        return "found another type, expected a string".to_owned();
    }
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number of at least 0",
        "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "a table",
        "path string" => "a string",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("found {found}, expected {expected}")
}

/// The number of the line that contains byte `at`.
fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.split(|&byte| byte == b'\n').count()
}

/// The dotted path of the key that a syntax error is about, as far as the text before it tells: there is no
/// document to look it up in. The error's `message` tells whether `span` is a key.
fn key_before(text: &str, span: &Range<usize>, message: &str) -> String {
    let start = span.start.min(text.len());
    let (above, line) = text.split_at(text[..start].rfind('\n').map_or(0, |end| end + 1));
    let before = line.get(..start - above.len()).unwrap_or_default();
    // The parser points at the second of two equal keys, and in all other cases at a value or a sign.
    let found = text.get(span.clone()).filter(|_| message == "duplicate key").unwrap_or_default();
    let own = match before.split_once('=') {
        Some((key, _)) => key,
        None if found.is_empty() => return String::new(),
        None => before,
    };
    let parts = match own.trim_start().strip_prefix('[') {
        Some(header) => vec![header.trim_start_matches('['), found],
        None => vec![above.lines().rev().find_map(header).unwrap_or_default(), own, found],
    };
    let parts = parts.into_iter().map(|part| part.trim().trim_matches('.').trim());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// The path in a line that begins a table: `function.hello` in `[function.hello]`.
fn header(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let path = line.strip_prefix('[')?.strip_suffix(']')?;
    let path = path.strip_prefix('[').and_then(|path| path.strip_suffix(']')).unwrap_or(path).trim();
    // A line of an array has other signs.
    (!path.is_empty() && !path.contains(['[', ']', ',', '{', '='])).then_some(path)
}

/// The place of the key with the dotted path `key`; `checks[1].path` is in the second of several tables.
fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    // A valid function name has no dots. An invalid one may have some, so the whole key is also compared.
    let (first, rest) = key.split_once('.').map_or((key, ""), |(first, rest)| (first, rest));
    let (name, index) = match first.strip_suffix(']').and_then(|first| first.split_once('[')) {
        Some((name, index)) => (name, index.parse().ok()),
        None => (first, None),
    };
    let (found, value) = table.iter().find(|(found, _)| [name, first, key].contains(&&**found.get_ref()))?;
    let value = match value.get_ref() {
        DeValue::Array(items) => index.and_then(|index: usize| items.get(index)).unwrap_or(value),
        _ => value,
    };
    let below = value.get_ref().as_table().filter(|_| !rest.is_empty());
    let own = if index.is_some() { value.span() } else { found.span() };
    below.and_then(|below| span_of(below, rest)).or(Some(own))
}

/// The dotted path of the innermost key whose name or value covers `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    visit(table, "", &mut |path, covers| {
        let inside = covers.start <= span.start && span.end <= covers.end;
        if inside && best.as_ref().is_none_or(|(length, _)| covers.len() <= *length) {
            best = Some((covers.len(), path.to_owned()));
        }
    });
    best.map(|(_, path)| path)
}

fn visit(table: &DeTable<'_>, above: &str, each: &mut dyn FnMut(&str, Range<usize>)) {
    for (key, value) in table {
        let path =
            if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
        each(&path, key.span());
        each(&path, value.span());
        match value.get_ref() {
            DeValue::Table(below) => visit(below, &path, each),
            DeValue::Array(items) => {
                for item in items.iter() {
                    each(&path, item.span());
                    if let Some(below) = item.get_ref().as_table() {
                        visit(below, &path, each);
                    }
                }
            }
            _ => {}
        }
    }
}
