//! The JSON on disk.
//!
//! These types are separate from the vocabulary, which has no wire format, and from the API's types, which
//! may change with the API. What was once written must stay readable for ever, so unknown fields are ignored.
//! Salts are hexadecimal text, because not every reader keeps JSON numbers above 2⁵³ exact.

mod access;
mod approval;
mod change;
mod check;
mod config;
mod function;
mod provenance;
mod rollout;
mod secrets;
mod split;
mod stage_config;
mod trigger;

use std::{fmt::Display, str::FromStr};

pub(crate) use access::StoredAccess;
pub(crate) use change::StoredChange;
pub(crate) use config::StoredConfig;
pub(crate) use function::StoredFunction;

/// Stored JSON with an impossible value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) String);

impl Malformed {
    fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

/// Parses a text that `Display` wrote.
fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|error: T::Err| Malformed::new(error))
}

fn parse_all<T: FromStr<Err: Display>>(texts: &[String]) -> Result<Vec<T>, Malformed> {
    texts.iter().map(|text| parse(text)).collect()
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
