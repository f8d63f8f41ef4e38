//! By what events are in order.

use std::{fmt, str::FromStr};

use super::cohort::is_token;

/// Longest name of a header to be in order by, in bytes.
pub const ORDER_HEADER_BYTES_MAX: usize = 128;

/// Headers that are credentials. What events are in order by is shown to people.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// The header by whose value events are in order. Its name is lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedBy(String);

/// Why a text is no header to be in order by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderedByError {
    /// It is no name of a header (RFC 9110, section 5.1), or a long one.
    #[error(
        "{found:?} is no name of a header of 1 to {ORDER_HEADER_BYTES_MAX} bytes, expected one such as ce-subject"
    )]
    Name {
        /// The text found, shortened.
        found: String,
    },
    /// It is the header of a credential.
    #[error("header {found} is a credential, expected another one: what events are in order by is shown")]
    Credential {
        /// The header.
        found: String,
    },
}

impl OrderedBy {
    /// The name of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrderedBy {
    type Err = OrderedByError;

    fn from_str(text: &str) -> Result<Self, OrderedByError> {
        if text.len() > ORDER_HEADER_BYTES_MAX || !is_token(text) {
            return Err(OrderedByError::Name { found: text.chars().take(64).collect() });
        }
        let name = text.to_ascii_lowercase();
        if CREDENTIALS.contains(&&*name) {
            return Err(OrderedByError::Credential { found: name });
        }
        Ok(Self(name))
    }
}

impl fmt::Display for OrderedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests;
