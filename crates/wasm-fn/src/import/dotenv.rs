//! Reads dotenv files: lines of `NAME=value`.
//!
//! There is no standard. This is what most programs agree on: `#` begins a comment at the beginning of a
//! line or behind white space, `export` may precede a name, `'…'` is literal, and `"…"` has the escapes
//! `\n`, `\r`, `\t`, `\"`, `\\` and `\$`. Quoted values may have several lines. Nothing is substituted.

use wasm_fn_core::SecretName;
use zeroize::Zeroizing;

/// The values of a file in its order.
pub(crate) type Values = Vec<(SecretName, Zeroizing<Vec<u8>>)>;

/// Why a text is not a dotenv file. It shows no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {found}, expected {expected}")]
pub(crate) struct DotenvError {
    /// The number of the line, from 1 on.
    line: usize,
    found: &'static str,
    expected: &'static str,
}

/// Reads `text`. If a name occurs twice, that is an error: one of the values would be lost.
pub(super) fn parse(text: &str) -> Result<Values, DotenvError> {
    let mut values = Values::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let fault = |found, expected| DotenvError { line, found, expected };
        let end = rest.find('\n').unwrap_or(rest.len());
        let first = rest[..end].trim();
        if first.is_empty() || first.starts_with('#') {
            rest = rest.get(end + 1..).unwrap_or_default();
            line += 1;
            continue;
        }
        let at = rest[..end].find('=').ok_or_else(|| fault("no `=`", "NAME=value"))?;
        let name = rest[..at].trim();
        let name = name.strip_prefix("export").filter(|name| name.starts_with([' ', '\t'])).unwrap_or(name);
        let name: SecretName = name
            .trim()
            .parse()
            .map_err(|_| fault("a name that is none", "A-Z, a-z, 0-9 and _, and no digit first"))?;
        if values.iter().any(|(known, _)| *known == name) {
            return Err(fault("a name for the second time", "each name once"));
        }
        let (value, after) = value(&rest[at + 1..]).map_err(|(found, expected)| fault(found, expected))?;
        let taken = rest.len() - after.len();
        line += rest[..taken].matches('\n').count();
        values.push((name, value));
        rest = after;
    }
    Ok(values)
}

/// The value that `text` means behind the `=`, where all of it belongs to the value: without its quotes, or
/// else without a comment. What has several lines and no quotes is taken as it is.
///
/// # Errors
/// What was found, and what was expected.
pub(super) fn unquoted(text: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let is_quoted = text.trim_start_matches([' ', '\t']).starts_with(['\'', '"']);
    if !is_quoted && text.contains('\n') {
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    match value(text)? {
        (value, "") => Ok(value),
        _ => Err(("text behind the closing quote", "the end of the value")),
    }
}

/// What was found, and what was expected.
pub(super) type Fault = (&'static str, &'static str);

/// The value at the beginning of `text`, and what follows its line.
fn value(text: &str) -> Result<(Zeroizing<Vec<u8>>, &str), Fault> {
    let begin = text.trim_start_matches([' ', '\t']);
    let Some(quote) = begin.chars().next().filter(|quote| ['\'', '"'].contains(quote)) else {
        let end = begin.find('\n').unwrap_or(begin.len());
        let (line, after) = (&begin[..end], begin.get(end + 1..).unwrap_or_default());
        let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
        let line = if line.starts_with('#') { "" } else { &line[..comment.unwrap_or(line.len())] };
        return Ok((Zeroizing::new(line.trim().as_bytes().to_vec()), after));
    };
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut letters = begin[1..].char_indices();
    while let Some((at, letter)) = letters.next() {
        let letter = match letter {
            _ if letter == quote => {
                let after = &begin[at + 2..];
                let end = after.find('\n').unwrap_or(after.len());
                let line = after[..end].trim();
                if !line.is_empty() && !line.starts_with('#') {
                    return Err(("text behind the closing quote", "the end of the line"));
                }
                return Ok((value, after.get(end + 1..).unwrap_or_default()));
            }
            '\\' if quote == '"' => match letters.next().map(|(_, letter)| letter) {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(letter @ ('"' | '\\' | '$')) => letter,
                _ => return Err(("an unknown escape", "\\n, \\r, \\t, \\\", \\\\ or \\$")),
            },
            letter => letter,
        };
        value.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Err(("no closing quote", "one"))
}

#[cfg(test)]
mod tests;
