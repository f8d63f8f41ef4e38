//! Pushes: what the webhook of a code host says of new code, for deploying it.

mod order;
mod payload;
mod template;

use std::{fmt, str::FromStr};

use crate::{Provider, Timestamp};

pub use order::EventOrder;
pub use payload::PushError;
pub use template::{ExpandError, PLACEHOLDERS, TEMPLATE_BYTES_MAX, TemplateError, UrlTemplate};

/// What became available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// A branch has new commits.
    Branch,
    /// There is a new tag.
    Tag,
    /// A release was published.
    Release,
    /// A version of a package was published, such as an image of a container.
    Package,
}

/// The words of the providers for events that are read.
const EVENT_TYPES: [&str; 8] = [
    "push",
    "release",
    "package",
    "registry_package",
    "Push Hook",
    "Tag Push Hook",
    "System Hook",
    "Release Hook",
];

/// A push, tag, release or package, as a code host reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEvent {
    /// What became available.
    pub kind: PushKind,
    /// The branch or the tag, without `refs/heads/` or `refs/tags/`; of a package its version or tag.
    pub reference: String,
    /// The commit, 40 or 64 lower-case hexadecimal digits; none where the host does not say it.
    pub sha: Option<String>,
    /// The digest of a published package, `sha256:` and 64 lower-case hexadecimal digits, where the host says
    /// it.
    pub digest: Option<String>,
    /// Who pushed or published, as the host names people.
    pub author: Option<String>,
    /// A page about it. It is from the host: show it, do not fetch it.
    pub url: Option<String>,
    /// The repository, such as `owner/name`.
    pub repository: String,
    /// The branch that the repository is on unless one says otherwise, where the host says it.
    pub default_branch: Option<String>,
    /// The commit that the branch or tag was at before a push; none if it is new, or the host does not say
    /// it.
    pub before: Option<String>,
    /// When it was pushed or published, where the host says it. The time of a commit is none: whoever commits
    /// chooses it.
    pub happened: Option<Timestamp>,
}

/// A word is no kind of push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {found:?} is not known, expected push, tag, release or package")]
pub struct PushKindError {
    /// The word found.
    pub found: String,
}

impl PushKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Branch, Self::Tag, Self::Release, Self::Package];

    /// The word on the command line and in the API. A push is one to a branch, since a new tag has a word of
    /// its own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "push",
            Self::Tag => "tag",
            Self::Release => "release",
            Self::Package => "package",
        }
    }
}

impl fmt::Display for PushKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PushKind {
    type Err = PushKindError;

    fn from_str(word: &str) -> Result<Self, PushKindError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        kind.ok_or_else(|| PushKindError { found: word.chars().take(64).collect() })
    }
}

impl PushEvent {
    /// What the body of a verified webhook says; `None` if nothing new is there to deploy: a deletion, a
    /// draft, another kind of event, or another provider.
    ///
    /// `event_type` is [`Verified::event_type`](crate::Verified::event_type).
    ///
    /// # Errors
    ///
    /// [`PushError`] if the body is not what the provider documents for this kind of event.
    pub fn read(
        provider: Provider,
        event_type: Option<&str>,
        body: &[u8],
    ) -> Result<Option<Self>, PushError> {
        match (provider, event_type.unwrap_or_default()) {
            (Provider::GitHub | Provider::Gitea, "push") => payload::push(body),
            (Provider::GitHub | Provider::Gitea, "release") => payload::release(body),
            (Provider::GitHub, "registry_package" | "package") => payload::github_package(body),
            (Provider::Gitea, "package") => payload::gitea_package(body),
            (Provider::GitLab, "Push Hook" | "Tag Push Hook" | "System Hook") => payload::gitlab_push(body),
            (Provider::GitLab, "Release Hook") => payload::gitlab_release(body),
            _ => Ok(None),
        }
    }

    /// The same of an event as it is kept, of which `event_type` is its
    /// [`CloudEvent::event_type`](crate::CloudEvent::event_type).
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn of_event(provider: Provider, event_type: &str, body: &[u8]) -> Result<Option<Self>, PushError> {
        let is_this = |word: &&&str| provider.type_of(Some(word)) == event_type;
        let word = EVENT_TYPES.iter().find(is_this).copied();
        Self::read(provider, word, body)
    }

    /// Where it stands among the events of its trigger, if it came at `received`.
    pub fn order(&self, received: Timestamp) -> EventOrder {
        let (happened, commit, before) = (self.happened, self.sha.clone(), self.before.clone());
        EventOrder { received, happened, commit, before }
    }

    /// The tag, unless a branch was pushed.
    pub fn tag(&self) -> Option<&str> {
        (self.kind != PushKind::Branch).then_some(&self.reference)
    }
}

#[cfg(test)]
mod tests;
