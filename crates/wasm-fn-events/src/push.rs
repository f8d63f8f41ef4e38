//! Pushes: what the webhook of a code host says of new code, for deploying it.

mod payload;
mod template;

use crate::Provider;

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

/// A push, tag, release or package, as a code host reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEvent {
    /// What became available.
    pub kind: PushKind,
    /// The branch or the tag, without `refs/heads/` or `refs/tags/`; of a package its version or tag.
    pub reference: String,
    /// The commit, 40 or 64 lower-case hexadecimal digits; none where the host does not say it.
    pub sha: Option<String>,
    /// Who pushed or published, as the host names people.
    pub author: Option<String>,
    /// A page about it. It is from the host: show it, do not fetch it.
    pub url: Option<String>,
    /// The repository, such as `owner/name`.
    pub repository: String,
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

    /// The tag, unless a branch was pushed.
    pub fn tag(&self) -> Option<&str> {
        (self.kind != PushKind::Branch).then_some(&self.reference)
    }
}

#[cfg(test)]
mod tests;
