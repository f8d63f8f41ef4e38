//! Previews: the address of each single version, and who may use it.

use std::{fmt, str::FromStr};

use crate::{FunctionName, VersionRef};

/// Longest DNS label, in bytes (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Longest preview domain, in bytes. With a label and a dot in front it stays within the 253 bytes of a host
/// name.
const DOMAIN_BYTES_MAX: usize = 189;

/// Separates version and function in a host name.
const BETWEEN: &str = "--";

/// Who may use the addresses of a function's versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreviewAccess {
    /// Everybody.
    Open,
    /// Clients with a token.
    #[default]
    Token,
    /// Nobody: the versions have no addresses.
    Off,
}

/// A text that is not a [`PreviewAccess`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected open, token or off")]
pub struct PreviewAccessError(String);

/// The domain under which each version has a host name, `v2--hello.example.com`.
// Invariant: lower case, at most `DOMAIN_BYTES_MAX` bytes, valid labels of a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewDomain(Box<str>);

/// A text that is not a [`PreviewDomain`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected a domain of at most 189 characters such as preview.example.com")]
pub struct PreviewDomainError(String);

/// Why a version of a function has no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostLabelError {
    /// The label is too long for DNS.
    #[error("`{label}` is {bytes} bytes long, expected at most 63, the limit of a DNS label")]
    TooLong {
        /// The label.
        label: String,
        /// Its length.
        bytes: usize,
    },
    /// The label has characters that host names cannot have.
    #[error("`{label}` {problem}, expected letters, digits and inner hyphens, as in a host name")]
    Characters {
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl PreviewDomain {
    /// The domain, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host name of `version` of `function`.
    ///
    /// # Errors
    /// If the function's name cannot be part of a host name.
    pub fn host(&self, version: VersionRef, function: &FunctionName) -> Result<String, HostLabelError> {
        let label = format!("{version}{BETWEEN}{function}");
        if label.len() > LABEL_BYTES_MAX {
            return Err(HostLabelError::TooLong { bytes: label.len(), label });
        }
        let problem = match () {
            () if label.contains('_') => Some("has an underscore"),
            () if label.ends_with('-') => Some("ends with a hyphen"),
            () => None,
        };
        match problem {
            Some(problem) => Err(HostLabelError::Characters { label, problem }),
            None => Ok(format!("{label}.{}", self.0)),
        }
    }

    /// The version and function with the host name `host`, which has no port and may be in any case.
    pub fn named(&self, host: &str) -> Option<(VersionRef, FunctionName)> {
        let label_bytes = host.len().checked_sub(self.0.len() + 1)?;
        if label_bytes > LABEL_BYTES_MAX || !host.is_char_boundary(label_bytes) {
            return None;
        }
        let (label, rest) = host.split_at(label_bytes);
        if !rest.strip_prefix('.')?.eq_ignore_ascii_case(&self.0) {
            return None;
        }
        let label = label.to_ascii_lowercase();
        let (version, function) = label.split_once(BETWEEN)?;
        Some((version.parse().ok()?, function.parse().ok()?))
    }
}

impl FromStr for PreviewAccess {
    type Err = PreviewAccessError;

    fn from_str(text: &str) -> Result<Self, PreviewAccessError> {
        match text {
            "open" => Ok(Self::Open),
            "token" => Ok(Self::Token),
            "off" => Ok(Self::Off),
            _ => Err(PreviewAccessError(text.to_owned())),
        }
    }
}

impl fmt::Display for PreviewAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Token => "token",
            Self::Off => "off",
        })
    }
}

impl FromStr for PreviewDomain {
    type Err = PreviewDomainError;

    fn from_str(text: &str) -> Result<Self, PreviewDomainError> {
        let label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(PreviewDomainError(text.to_owned()))
        }
    }
}

impl fmt::Display for PreviewDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests;
