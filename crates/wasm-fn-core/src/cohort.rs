//! Cohorts: who is placed on which version by rule or by key.

use std::{fmt, str::FromStr};

use crate::CohortName;

/// Longest header, cookie or query name, and longest value compared, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Most values in one condition's list.
const VALUES_MAX: usize = 1024;

/// A part of the request that names its user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A request header, lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
}

/// How repeated requests of one user stay on one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sticky {
    /// Every request draws anew.
    #[default]
    None,
    /// By the value of a header or cookie; requests without it draw.
    Key(Source),
    /// By the client's address.
    ClientAddress,
}

/// The two roles of a stage's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The version to fall back on.
    Stable,
    /// The version a rollout is moving to.
    Canary,
}

/// A value equals one of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Where the value is found.
    pub source: Source,
    /// The values that satisfy it; compared byte by byte.
    pub values: Vec<String>,
}

/// Requests that satisfy `condition` go to the version in `role`, whatever the weights say.
///
/// A rule for the canary has no effect while there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CohortRule {
    /// What the steps of a rollout call its users; without one, no step can.
    pub name: Option<CohortName>,
    /// When it applies.
    pub condition: Condition,
    /// Where it sends the request.
    pub role: Role,
}

/// Why a cohort rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CohortError {
    /// A name that no request can carry.
    #[error("{0:?} is no name of a header, cookie or query parameter, expected 1 to 256 token characters")]
    Name(String),
    /// No values, too many, or one too long.
    #[error("cohort on {name:?} has {found} values, expected 1 to 1024 of at most 256 bytes")]
    Values {
        /// The header, cookie or parameter.
        name: String,
        /// Values found.
        found: usize,
    },
}

/// A text is no stickiness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sticky = {0:?}, expected header:NAME, cookie:NAME, ip or none")]
pub struct StickyError(String);

/// Whether `name` is a token of RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= TEXT_BYTES_MAX && name.bytes().all(token)
}

impl Source {
    /// A header, in any case.
    ///
    /// # Errors
    /// When `name` is no token.
    pub fn header(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Header(name.to_ascii_lowercase()))
    }

    /// A cookie.
    ///
    /// # Errors
    /// When `name` is no token.
    pub fn cookie(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Cookie(name.to_owned()))
    }

    /// A query parameter.
    ///
    /// # Errors
    /// When `name` is no token.
    pub fn query(name: &str) -> Result<Self, CohortError> {
        Self::named(name, |name| Self::Query(name.to_owned()))
    }

    fn named(name: &str, make: impl FnOnce(&str) -> Self) -> Result<Self, CohortError> {
        if is_token(name) { Ok(make(name)) } else { Err(CohortError::Name(name.to_owned())) }
    }

    /// The name of the header, cookie or parameter.
    pub fn name(&self) -> &str {
        let (Self::Header(name) | Self::Cookie(name) | Self::Query(name)) = self;
        name
    }
}

impl Condition {
    /// `source` has one of `values`.
    ///
    /// # Errors
    /// When there is no value, more than 1,024, or one longer than 256 bytes.
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
