//! Checks: requests that a version must answer as expected before it gets any traffic.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Method, StatusCode, uri::PathAndQuery};
use regex::Regex;
use serde_json::Value;

/// Largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Largest request body of a check, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A request, and the expected answer.
#[derive(Clone, Debug)]
pub struct Check {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: PathAndQuery,
    /// Request headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The request's body.
    pub body: String,
    /// The expected status.
    pub status: StatusCode,
    /// The expected headers.
    pub expected_headers: Vec<(HeaderName, HeaderValue)>,
    /// The pattern that must match in the body.
    pub pattern: Option<Regex>,
    /// The values in the JSON body, by JSON pointer.
    pub json: BTreeMap<String, Value>,
}

/// Why a check is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("check of {path}: {key}: {reason}")]
pub struct CheckError {
    /// The path of the check, as written.
    pub path: String,
    /// The key that is wrong.
    pub key: &'static str,
    /// What was found and what was expected.
    pub reason: String,
}

/// A difference between an answer and the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The status is wrong.
    #[error("status is {found}, expected {expected}")]
    Status {
        /// What was found.
        found: StatusCode,
        /// What was expected.
        expected: StatusCode,
    },
    /// A header is missing or has another value.
    #[error("header {name} is {found}, expected {expected:?}")]
    Header {
        /// The name of the header.
        name: HeaderName,
        /// What was found.
        found: String,
        /// What was expected.
        expected: HeaderValue,
    },
    /// The pattern does not match in the body.
    #[error("body begins with {found:?}, expected a match of {expected}")]
    Body {
        /// The beginning of the body.
        found: String,
        /// The pattern.
        expected: String,
    },
    /// The body is not JSON.
    #[error("body begins with {found:?}, expected JSON")]
    NoJson {
        /// The beginning of the body.
        found: String,
    },
    /// A value in the body is missing or different.
    #[error("{pointer} is {found}, expected {expected}")]
    Json {
        /// The JSON pointer of the value.
        pointer: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: Value,
    },
}

/// A check as users write it, for [`Check::parse`].
#[derive(Clone, Copy, Debug)]
pub struct CheckText<'a> {
    /// The method; `GET` if absent.
    pub method: Option<&'a str>,
    /// Path and query: `/hello?x=1`.
    pub path: &'a str,
    /// Request headers.
    pub headers: &'a BTreeMap<String, String>,
    /// The request's body.
    pub body: Option<&'a str>,
    /// The expected status; 200 if absent.
    pub status: Option<u16>,
    /// The expected headers.
    pub expected_headers: &'a BTreeMap<String, String>,
    /// A regular expression that the body matches.
    pub pattern: Option<&'a str>,
    /// The values in the JSON body, by JSON pointer.
    pub json: &'a BTreeMap<String, Value>,
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |check: &Self| check.pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
        (&self.method, &self.path, &self.headers, &self.body, self.status)
            == (&other.method, &other.path, &other.headers, &other.body, other.status)
            && (&self.expected_headers, &self.json) == (&other.expected_headers, &other.json)
            && pattern(self) == pattern(other)
    }
}

impl Check {
    /// Compares an answer with the expected one.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, answer: &http::Response<impl AsRef<[u8]>>) -> Result<(), Mismatch> {
        let (found, expected) = (answer.status(), self.status);
        if found != expected {
            return Err(Mismatch::Status { found, expected });
        }
        for (name, expected) in &self.expected_headers {
            if !answer.headers().get_all(name).iter().any(|found| found == expected) {
                let found = answer.headers().get(name);
                let found = found.map_or_else(|| "missing".to_owned(), |found| format!("{found:?}"));
                return Err(Mismatch::Header { name: name.clone(), found, expected: expected.clone() });
            }
        }
        let body = answer.body().as_ref();
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(&String::from_utf8_lossy(body))
        {
            return Err(Mismatch::Body { found: beginning(body), expected: pattern.to_string() });
        }
        if self.json.is_empty() {
            return Ok(());
        }
        let json: Value =
            serde_json::from_slice(body).map_err(|_| Mismatch::NoJson { found: beginning(body) })?;
        for (pointer, expected) in &self.json {
            let found = json.pointer(pointer);
            if found != Some(expected) {
                let found = found.map_or_else(|| "missing".to_owned(), ToString::to_string);
                return Err(Mismatch::Json { pointer: pointer.clone(), found, expected: expected.clone() });
            }
        }
        Ok(())
    }
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(80).collect()
}

impl Check {
    /// Parses a check as users write it.
    ///
    /// # Errors
    /// The first part that is malformed.
    pub fn parse(text: CheckText<'_>) -> Result<Self, CheckError> {
        let bad = |key: &'static str, reason: String| CheckError { path: text.path.to_owned(), key, reason };
        let method = text.method.unwrap_or("GET");
        let method = method
            .parse()
            .map_err(|_| bad("method", format!("found {method:?}, expected a method such as GET")))?;
        let path: PathAndQuery =
            text.path.parse().ok().filter(|_| text.path.starts_with('/')).ok_or_else(|| {
                bad("path", format!("found {:?}, expected a path such as /hello", text.path))
            })?;
        let body = text.body.unwrap_or_default().to_owned();
        if body.len() > BODY_BYTES_MAX {
            let found = body.len();
            return Err(bad("body", format!("found {found} bytes, expected at most {BODY_BYTES_MAX}")));
        }
        let status = text.status.unwrap_or(200);
        let status = StatusCode::from_u16(status)
            .map_err(|_| bad("status", format!("found {status}, expected a status such as 200")))?;
        let pattern = |text: &str| {
            let pattern = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
            pattern.map_err(|error| {
                // The parser draws the place over several lines and says in the last one what is wrong.
                let words = error.to_string();
                let last = words.lines().last().unwrap_or_default();
                let reason = last.strip_prefix("error: ").unwrap_or(last);
                bad("expect.body", format!("found {text:?}, expected a regular expression: {reason}"))
            })
        };
        for pointer in text.json.keys() {
            if !(pointer.is_empty() || pointer.starts_with('/')) {
                let reason = format!("found {pointer:?}, expected a JSON pointer such as /status");
                return Err(bad("expect.json", reason));
            }
        }
        Ok(Self {
            method,
            path,
            headers: headers(text.headers).map_err(|reason| bad("headers", reason))?,
            body,
            status,
            expected_headers: headers(text.expected_headers)
                .map_err(|reason| bad("expect.headers", reason))?,
            pattern: text.pattern.map(pattern).transpose()?,
            json: text.json.clone(),
        })
    }
}

fn headers(text: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(name, value): (&String, &String)| {
        let parsed = name.parse().map_err(|_| format!("found {name:?}, expected a header name"))?;
        let value = value.parse().map_err(|_| format!("found {value:?}, expected a header value"))?;
        Ok((parsed, value))
    };
    text.iter().map(header).collect()
}

#[cfg(test)]
mod tests;
