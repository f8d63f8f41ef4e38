//! Routes: the host and paths at which a stage is reachable.

use std::{fmt, str::FromStr};

use crate::{FunctionName, StageName, normal_path};

/// Longest route in bytes. It is longer than any path people type, and shorter than a header.
const ROUTE_BYTES_MAX: usize = 1024;

/// Most segments in the path of a route. Matching probes at most this many prefixes.
const SEGMENTS_MAX: usize = 16;

/// A route: `[host]/path` or `[host]/path/*`.
///
/// `/path/*` covers `/path` and everything below it; `/path` covers only that path. A route without a host
/// applies to every host. Paths are compared in their normal form (see [`normal_path`]), with their case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    // Invariant: lower case, no port.
    host: Option<Box<str>>,
    // Invariant: starts with `/`, or is empty for the root prefix `/*`; no `*`; no trailing `/` if `below`;
    // in its normal form.
    path: Box<str>,
    below: bool,
}

/// Why a text is not a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The route has no path.
    #[error("route {0:?} has no path, expected [host]/path or [host]/path/*")]
    NoPath(String),
    /// The route has a star in the wrong place.
    #[error("route {0:?} has `*` in the wrong place, expected it only as the last segment")]
    Star(String),
    /// The route has a character that no request path or host can have.
    #[error("route {route:?} has {found:?}, expected the visible ASCII characters of a URL path")]
    Character {
        /// The rejected text.
        route: String,
        /// The rejected character.
        found: char,
    },
    /// The route is too long or too deep.
    #[error("route has {bytes} bytes and {segments} segments, expected at most 1024 and 16")]
    TooLong {
        /// Length found.
        bytes: usize,
        /// Segments found.
        segments: usize,
    },
}

impl Route {
    /// The route of a stage without configured routes: `/hello/*` for the live stage, `/hello@staging/*` for
    /// another.
    pub fn default_for(function: &FunctionName, stage: &StageName) -> Self {
        let path = if stage.is_live() { format!("/{function}") } else { format!("/{function}@{stage}") };
        Self { host: None, path: path.into(), below: true }
    }

    /// Whether this is the route [`default_for`](Self::default_for) the stage.
    pub fn is_default_for(&self, function: &FunctionName, stage: &StageName) -> bool {
        let rest = self.path.strip_prefix('/').and_then(|path| path.strip_prefix(function.as_str()));
        let named = match rest {
            Some("") => stage.is_live(),
            Some(rest) => !stage.is_live() && rest.strip_prefix('@') == Some(stage.as_str()),
            None => false,
        };
        named && self.below && self.host.is_none()
    }

    /// The host that the route is limited to, in lower case.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The path, without `/*`; empty if the route covers everything.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the route also covers everything below the path.
    pub fn below(&self) -> bool {
        self.below
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let segments = text.bytes().filter(|&b| b == b'/').count();
        if text.len() > ROUTE_BYTES_MAX || segments > SEGMENTS_MAX {
            return Err(RouteError::TooLong { bytes: text.len(), segments });
        }
        let visible = |c: char| {
            c.is_ascii_graphic()
                && !matches!(c, '?' | '#' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
        };
        if let Some(found) = text.chars().find(|&c| !visible(c)) {
            return Err(RouteError::Character { route: text.to_owned(), found });
        }
        let slash = text.find('/').ok_or_else(|| RouteError::NoPath(text.to_owned()))?;
        let (host, path) = text.split_at(slash);
        let host_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(found) = host.chars().find(|&c| !host_character(c)) {
            return Err(RouteError::Character { route: text.to_owned(), found });
        }
        let (path, below) = path.strip_suffix("/*").map_or((path, false), |prefix| (prefix, true));
        if path.contains('*') || (below && path.ends_with('/')) {
            return Err(RouteError::Star(text.to_owned()));
        }
        let host = (!host.is_empty()).then(|| host.to_ascii_lowercase().into());
        let path = normal_path(path);
        // What dot segments leave may end in `/`, and `/*` covers what lies below that anyway.
        let path = if below { path.trim_end_matches('/') } else { &path };
        Ok(Self { host, path: path.into(), below })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "/*" } else { "" };
        write!(f, "{}{}{star}", self.host().unwrap_or(""), self.path)
    }
}

#[cfg(test)]
mod tests;
