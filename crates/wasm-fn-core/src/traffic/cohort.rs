//! Cohorts: which users a rule or a key places on which version.

use std::{fmt, str::FromStr};

use crate::CohortName;

/// Longest name of a header, cookie or query parameter, and longest value compared, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Most values in the list of one condition.
const VALUES_MAX: usize = 1024;

/// The part of a request that identifies its user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A request header; the name is lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
}

/// What keeps the requests of one user on one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sticky {
    /// Nothing: every request draws a new point.
    #[default]
    None,
    /// The value of a header or cookie. Requests without it draw.
    Key(Source),
    /// The client's address.
    ClientAddress,
}

/// The two roles of a stage's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The version that the stage falls back on.
    Stable,
    /// The version that a rollout moves to.
    Canary,
}

/// A condition that holds if a value is in a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Where to find the value.
    pub source: Source,
    /// The values that match. They are compared byte by byte.
    pub values: Vec<String>,
}

/// Sends requests that match `condition` to the version in `role`, whatever the weights are.
///
/// A rule for the canary has no effect while there is no canary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CohortRule {
    /// The name by which rollout steps refer to these users. Steps cannot refer to a rule without a name.
    pub name: Option<CohortName>,
    /// Which requests match.
    pub condition: Condition,
    /// The role of the version that gets the request.
    pub role: Role,
}

/// Why a cohort rule is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CohortError {
    /// No request can carry this name.
    #[error("{0:?} is not a name of a header, cookie or query parameter, expected 1 to 256 token characters")]
    Name(String),
    /// There are no values, too many values, or a value is too long.
    #[error("cohort on {name:?} has {found} values, expected 1 to 1024 of at most 256 bytes")]
    Values {
        /// The name of the header, cookie or query parameter.
        name: String,
        /// Number of values found.
        found: usize,
    },
}

/// A text that does not name a stickiness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected header:NAME, cookie:NAME, ip or none")]
pub struct StickyError(String);

/// Whether `name` is a token of RFC 9110, section 5.6.2.
pub(super) fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= TEXT_BYTES_MAX && name.bytes().all(token)
}

impl Source {
    /// A header. Its name may be in any case.
    ///
    /// # Errors
    /// If `name` is not a token.
    pub fn header(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Header(name.to_ascii_lowercase()))
    }

    /// A cookie.
    ///
    /// # Errors
    /// If `name` is not a token.
    pub fn cookie(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Cookie(name.to_owned()))
    }

    /// A query parameter.
    ///
    /// # Errors
    /// If `name` is not a token.
    pub fn query(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Query(name.to_owned()))
    }

    fn named(name: &str, make: impl FnOnce(&str) -> Self) -> Result<Self, CohortError> {
        if is_token(name) { Ok(make(name)) } else { Err(CohortError::Name(name.to_owned())) }
    }

    /// The name of the header, cookie or query parameter.
    pub fn name(&self) -> &str {
        let (Self::Header(name) | Self::Cookie(name) | Self::Query(name)) = self;
        name
    }
}

impl Condition {
    /// Holds if `source` has one of `values`.
    ///
    /// # Errors
    /// If there is no value, if there are more than 1,024, or if one is longer than 256 bytes.
    pub fn new(source: Source, values: Vec<String>) -> Result<Self, CohortError> {
        let fits = (1..=VALUES_MAX).contains(&values.len());
        if !fits || values.iter().any(|value| value.len() > TEXT_BYTES_MAX) {
            return Err(CohortError::Values { name: source.name().to_owned(), found: values.len() });
        }
        Ok(Self { source, values })
    }
}

impl FromStr for Sticky {
    type Err = StickyError;

    fn from_str(text: &str) -> Result<Self, StickyError> {
        let error = || StickyError(text.to_owned());
        match text.split_once(':') {
            Some(("header", name)) => Source::header(name).map(Self::Key).map_err(|_| error()),
            Some(("cookie", name)) => Source::cookie(name).map(Self::Key).map_err(|_| error()),
            None if text == "ip" => Ok(Self::ClientAddress),
            None if text == "none" => Ok(Self::None),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::ClientAddress => f.write_str("ip"),
            Self::Key(Source::Header(name)) => write!(f, "header:{name}"),
            Self::Key(Source::Cookie(name)) => write!(f, "cookie:{name}"),
            Self::Key(Source::Query(name)) => write!(f, "query:{name}"),
        }
    }
}

impl Role {
    /// `stable` or `canary`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

#[cfg(test)]
mod tests;
