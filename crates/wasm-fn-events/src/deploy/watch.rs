//! A tag in a registry that is watched.

use std::time::Duration;

use wasm_fn_core::SecretName;

use crate::{PLACEHOLDERS, UrlTemplate};

/// How often a tag is looked at, unless the trigger says otherwise.
pub const WATCH_EVERY_DEFAULT: Duration = Duration::from_secs(60);

/// Shortest time between two looks at a tag.
pub const WATCH_EVERY_MIN: Duration = Duration::from_secs(5);

/// Longest time between two looks at a tag.
pub const WATCH_EVERY_MAX: Duration = Duration::from_secs(24 * 3600);

/// A tag in a registry whose digest is watched. Holding one proves that its parts are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSource {
    artifact: UrlTemplate,
    every: Duration,
    credentials: Option<SecretName>,
}

/// Why a tag cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It is no tag in a registry.
    #[error(
        "artifact {found:?} cannot be watched, expected a tag such as oci://registry.example.com/app:prod"
    )]
    NotTag {
        /// The text found.
        found: String,
    },
    /// The time between two looks is out of bounds.
    #[error("a tag would be looked at every {} ms, expected {} s to {} s", found.as_millis(),
        WATCH_EVERY_MIN.as_secs(), WATCH_EVERY_MAX.as_secs())]
    Every {
        /// The time found.
        found: Duration,
    },
}

impl WatchSource {
    /// The tag `artifact`, looked at each time that `every` has gone by, with `credentials` if it needs some.
    ///
    /// # Errors
    ///
    /// [`WatchError`] if the artifact is no tag, or the time is out of bounds.
    pub fn new(
        artifact: UrlTemplate,
        every: Duration,
        credentials: Option<SecretName>,
    ) -> Result<Self, WatchError> {
        // A digest never changes, and without a tag nobody sees which one is meant.
        let has_tag = artifact.in_registry().is_some_and(|reference| {
            let name = reference.rsplit('/').next().unwrap_or_default();
            !reference.contains('@') && name.split_once(':').is_some_and(|(_, tag)| !tag.is_empty())
        });
        if !has_tag || PLACEHOLDERS.iter().any(|placeholder| artifact.has(placeholder)) {
            return Err(WatchError::NotTag { found: artifact.to_string() });
        }
        if !(WATCH_EVERY_MIN..=WATCH_EVERY_MAX).contains(&every) {
            return Err(WatchError::Every { found: every });
        }
        Ok(Self { artifact, every, credentials })
    }

    /// The tag, such as `oci://registry.example.com/app:prod`.
    pub fn artifact(&self) -> &str {
        self.artifact.as_str()
    }

    /// The time between two looks.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The secret of the stage by which the artifact can be had.
    pub fn credentials(&self) -> Option<&SecretName> {
        self.credentials.as_ref()
    }
}
