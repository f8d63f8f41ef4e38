//! Triggers that deploy: which of their events are about new code, and where the artifact is.
//!
//! What an artifact is, how a release goes and who may begin one is not known here.

mod pattern;
mod watch;

use wasm_fn_core::SecretName;

use crate::{PushEvent, PushKind, UrlTemplate};

pub use pattern::{PATTERN_BYTES_MAX, RefPattern, RefPatternError};
pub use watch::{WATCH_EVERY_DEFAULT, WATCH_EVERY_MAX, WATCH_EVERY_MIN, WatchError, WatchSource};

/// Most patterns of branches, and of tags.
pub const PATTERNS_MAX: usize = 16;

/// Which events of a code host deploy, and what. Holding one proves that its parts fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushDeploy(PushDeployOptions);

/// The parts of a [`PushDeploy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushDeployOptions {
    /// Where the artifact is.
    pub artifact: UrlTemplate,
    /// The events that deploy.
    pub on: Vec<PushKind>,
    /// The branches whose pushes deploy; none for the repository's default branch.
    pub branches: Vec<RefPattern>,
    /// The tags that deploy: new ones, those of releases, and the versions of packages; none for all.
    pub tags: Vec<RefPattern>,
    /// The secret of the stage by which the artifact can be had, as `user:password` or as a token.
    pub credentials: Option<SecretName>,
}

/// Why parts are no [`PushDeploy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushDeployError {
    /// No event deploys.
    #[error("no event deploys, expected at least one of push, tag, release and package")]
    NoEvents,
    /// An event has no value for a placeholder.
    #[error(
        "a {kind} says no {{{placeholder}}}, which is in {artifact:?}, expected another placeholder or event"
    )]
    Unsaid {
        /// The event.
        kind: PushKind,
        /// The placeholder.
        placeholder: &'static str,
        /// The template.
        artifact: String,
    },
    /// There are patterns of what does not deploy.
    #[error("there are patterns of {what}, and no {what} deploy, expected none")]
    Unused {
        /// Branches or tags.
        what: &'static str,
    },
    /// There are too many patterns.
    #[error("there are {found} patterns of {what}, expected at most {PATTERNS_MAX}")]
    TooMany {
        /// Branches or tags.
        what: &'static str,
        /// Number found.
        found: usize,
    },
}

/// Why a push does not deploy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// Its kind does not.
    #[error("a {0} does not deploy here")]
    Kind(PushKind),
    /// Its branch does not.
    #[error("branch {found:?} does not deploy here, expected {expected}")]
    Branch {
        /// The branch.
        found: String,
        /// Those that do.
        expected: String,
    },
    /// Its tag does not.
    #[error("tag {found:?} does not deploy here, expected {expected}")]
    Tag {
        /// The tag.
        found: String,
        /// Those that do.
        expected: String,
    },
}

impl PushDeploy {
    /// Checks that `options` fit together.
    ///
    /// # Errors
    ///
    /// [`PushDeployError`], the first of its kinds that applies.
    pub fn new(mut options: PushDeployOptions) -> Result<Self, PushDeployError> {
        let PushDeployOptions { artifact, on, branches, tags, .. } = &mut options;
        *on = PushKind::ALL.into_iter().filter(|kind| on.contains(kind)).collect();
        if on.is_empty() {
            return Err(PushDeployError::NoEvents);
        }
        if artifact.has("tag") && on.contains(&PushKind::Branch) {
            let artifact = artifact.to_string();
            return Err(PushDeployError::Unsaid { kind: PushKind::Branch, placeholder: "tag", artifact });
        }
        for (what, patterns, is_used) in [
            ("branches", &*branches, on.contains(&PushKind::Branch)),
            ("tags", &*tags, on.iter().any(|kind| *kind != PushKind::Branch)),
        ] {
            let found = patterns.len();
            if found > PATTERNS_MAX {
                return Err(PushDeployError::TooMany { what, found });
            }
            if found > 0 && !is_used {
                return Err(PushDeployError::Unused { what });
            }
        }
        Ok(Self(options))
    }

    /// Its parts; the events in the order of the documentation, each once.
    pub fn options(&self) -> &PushDeployOptions {
        &self.0
    }

    /// Checks that `push` deploys.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn check(&self, push: &PushEvent) -> Result<(), Unwanted> {
        let PushDeployOptions { on, branches, tags, .. } = &self.0;
        if !on.contains(&push.kind) {
            return Err(Unwanted::Kind(push.kind));
        }
        let found = || push.reference.clone();
        if push.kind == PushKind::Branch {
            if branches.is_empty() {
                if push.default_branch.as_ref() == Some(&push.reference) {
                    return Ok(());
                }
                let default = push.default_branch.as_ref();
                let expected = default.map(|branch| format!("the default branch, {branch:?}"));
                let expected =
                    expected.unwrap_or_else(|| "one that is named: the event says no default".to_owned());
                return Err(Unwanted::Branch { found: found(), expected });
            }
            let expected = || RefPattern::list(branches);
            return matching(branches, &push.reference)
                .then_some(())
                .ok_or_else(|| Unwanted::Branch { found: found(), expected: expected() });
        }
        if tags.is_empty() || matching(tags, &push.reference) {
            return Ok(());
        }
        Err(Unwanted::Tag { found: found(), expected: RefPattern::list(tags) })
    }
}

fn matching(patterns: &[RefPattern], reference: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(reference))
}

#[cfg(test)]
mod tests;
