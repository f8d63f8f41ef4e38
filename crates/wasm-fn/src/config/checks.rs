//! Reads checks, from `wasm-fn.toml` or from a separate file, into their wire form.

use std::{collections::BTreeMap, path::Path};

use http::{HeaderName, HeaderValue, Method, StatusCode, uri::PathAndQuery};
use serde::Deserialize;
use wasm_fn_api as api;

use super::toml_file::{BadValue, FileError, found_expected, parse, text_of};

/// Maximum size of a file of checks, bytes: people write checks by hand.
const BYTES_MAX: u64 = 1 << 20;

/// A request and its expected answer, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    method: Option<String>,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    expect: RawExpectation,
}

/// The expected answer, as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawExpectation {
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: BTreeMap<String, serde_json::Value>,
}

/// A file of checks in TOML, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    check: Vec<Raw>,
}

/// Reads the checks in the file at `path`: `[[check]]` tables in TOML, or an array in JSON. Blocks.
///
/// # Errors
/// Names the file, the check and what is wrong with it, and the line if there is one.
pub(super) fn read(path: &Path) -> Result<Vec<api::CheckSpec>, FileError> {
    from_text(path, &text_of(path, BYTES_MAX)?)
}

fn from_text(path: &Path, text: &str) -> Result<Vec<api::CheckSpec>, FileError> {
    let found = if is_json(path, text) {
        let refused = |line, key, reason| FileError::Line { path: path.to_owned(), line, key, reason };
        let raw: Vec<Raw> = serde_json::from_str(text).map_err(|error| {
            // serde_json ends its message with the place; here the place comes first.
            let words = error.to_string();
            let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
            refused(error.line(), String::new(), found_expected(words))
        })?;
        resolve(raw, "check").map_err(|BadValue { key, reason }| refused(1, key, reason))?
    } else {
        parse(path, text, |raw: RawFile| resolve(raw.check, "check"))?
    };
    if found.is_empty() {
        let reason = "found no check, expected [[check]] tables or a JSON array of them".to_owned();
        return Err(FileError::Line { path: path.to_owned(), line: 1, key: String::new(), reason });
    }
    Ok(found)
}

/// Both formats begin with a bracket. If the name does not tell them apart, the character after it does.
fn is_json(path: &Path, text: &str) -> bool {
    let bracket = text.trim_start().strip_prefix('[').map(str::trim_start);
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        || bracket.is_some_and(|rest| rest.starts_with(['{', ']']))
}

/// Converts the checks; `key` is the path of the array in its file.
pub(super) fn resolve(raw: Vec<Raw>, key: &str) -> Result<Vec<api::CheckSpec>, BadValue> {
    raw.into_iter().enumerate().map(|(index, raw)| raw.resolve(&format!("{key}[{index}]"))).collect()
}

impl Raw {
    fn resolve(self, key: &str) -> Result<api::CheckSpec, BadValue> {
        let bad = |name: &str, reason: String| Err(BadValue::new(format!("{key}.{name}"), reason));
        if let Some(method) = &self.method
            && method.parse::<Method>().is_err()
        {
            return bad("method", format!("found {method:?}, expected a method such as GET"));
        }
        if !self.path.starts_with('/') || self.path.parse::<PathAndQuery>().is_err() {
            return bad(
                "path",
                format!("found {:?}, expected a path and query such as /hello?x=1", self.path),
            );
        }
        let expect = &self.expect;
        for (name, headers) in [("headers", &self.headers), ("expect.headers", &expect.headers)] {
            for (header, value) in headers {
                if header.parse::<HeaderName>().is_err() {
                    return bad(name, format!("found {header:?}, expected a header name"));
                }
                if value.parse::<HeaderValue>().is_err() {
                    return bad(
                        name,
                        format!("{header} is {value:?}, expected characters that are allowed in a header"),
                    );
                }
            }
        }
        if let Some(status) = expect.status
            && !StatusCode::from_u16(status).is_ok_and(|_| status < 600)
        {
            return bad("expect.status", format!("found {status}, expected 100 to 599"));
        }
        let no_pointer = |pointer: &&String| !pointer.is_empty() && !pointer.starts_with('/');
        if let Some(pointer) = expect.json.keys().find(no_pointer) {
            return bad("expect.json", format!("found {pointer:?}, expected a JSON pointer such as /status"));
        }
        let Self { method, path, headers, body, expect } = self;
        let RawExpectation { status, headers: expected, body: pattern, json } = expect;
        let expect = api::Expectation { status, headers: expected, body: pattern, json };
        Ok(api::CheckSpec { method, path, headers, body, expect })
    }
}

#[cfg(test)]
mod tests;
