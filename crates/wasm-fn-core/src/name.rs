//! Names of functions, stages, cohorts, tokens, triggers and buckets. They are safe in a URL path, a log line
//! and a file name as they are.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest name in bytes. It is the length of the longest DNS label, so that a name can become a label.
const NAME_BYTES_MAX: usize = 63;

/// The name that users deploy to and call, such as `hello`.
///
/// 1 to 63 of `a-z`, `0-9`, `-` and `_`; starts with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName(Arc<str>);

/// The name of a place where a function is reachable, such as `live`. It has the same alphabet as
/// [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageName(Arc<str>);

/// The name of the users that a cohort rule matches, such as `beta`. It has the same alphabet as
/// [`FunctionName`], but starts with a letter, so that a share cannot be mistaken for a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CohortName(Arc<str>);

/// The name of an access token, such as `ci`. It has the same alphabet as [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Arc<str>);

/// The name of what starts invocations besides requests, such as `nightly`. It is unique in a stage of a
/// function, and has the same alphabet as [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerName(Arc<str>);

/// The name of a bucket of keys and values, such as `carts`. It is unique in a stage of a function, and has
/// the same alphabet as [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Arc<str>);

/// The name of a cluster of nodes, such as `prod`. It has the same alphabet as [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

/// The name of a node, such as `web-1`. It is unique in a cluster, and has the same alphabet as
/// [`FunctionName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// Why a text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{what} name is empty, expected 1 to 63 characters")]
    Empty {
        /// `function`, `stage`, `cohort`, `token`, `trigger`, `bucket`, `cluster` or `node`.
        what: &'static str,
    },
    /// The text has more than 63 bytes.
    #[error("{what} name is {bytes} bytes long, expected at most 63")]
    TooLong {
        /// `function`, `stage`, `cohort`, `token`, `trigger`, `bucket`, `cluster` or `node`.
        what: &'static str,
        /// Length found.
        bytes: usize,
    },
    /// The text has a character outside the alphabet.
    #[error("{what} name {name:?} has {found:?} at byte {at}, expected a-z, 0-9, - or _")]
    Character {
        /// `function`, `stage`, `cohort`, `token`, `trigger`, `bucket`, `cluster` or `node`.
        what: &'static str,
        /// The rejected text.
        name: String,
        /// The rejected character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// The text starts with `-` or `_`.
    #[error("{what} name {name:?} starts with {found:?}, expected a letter or digit")]
    Start {
        /// `function`, `stage`, `cohort`, `token`, `trigger`, `bucket`, `cluster` or `node`.
        what: &'static str,
        /// The rejected text.
        name: String,
        /// The rejected character.
        found: char,
    },
    /// The name of a cohort starts with a digit.
    #[error("cohort name {name:?} starts with {found:?}, expected a letter")]
    Digit {
        /// The rejected text.
        name: String,
        /// The digit.
        found: char,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty { what });
    };
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: text.len() });
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    if let Some((at, found)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(NameError::Character { what, name: text.to_owned(), found, at });
    }
    if matches!(first, '-' | '_') {
        return Err(NameError::Start { what, name: text.to_owned(), found: first });
    }
    Ok(())
}

fn check_cohort(what: &'static str, text: &str) -> Result<(), NameError> {
    check(what, text)?;
    match text.chars().next().filter(char::is_ascii_digit) {
        Some(found) => Err(NameError::Digit { name: text.to_owned(), found }),
        None => Ok(()),
    }
}

impl StageName {
    /// The default stage.
    pub fn live() -> Self {
        Self(Arc::from("live"))
    }

    /// Whether this is the stage [`live`](Self::live).
    pub fn is_live(&self) -> bool {
        &*self.0 == "live"
    }
}

macro_rules! name {
    ($type:ty, $what:literal, $check:path) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check($what, text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(FunctionName, "function", check);
name!(StageName, "stage", check);
name!(TokenName, "token", check);
name!(CohortName, "cohort", check_cohort);
name!(TriggerName, "trigger", check);
name!(BucketName, "bucket", check);
name!(ClusterName, "cluster", check);
name!(NodeName, "node", check);

#[cfg(test)]
mod tests;
