//! The bodies of code hosts' webhooks, as far as they are read.
//!
//! GitHub: "Webhook events and payloads" on docs.github.com. GitLab: "Webhook events" on docs.gitlab.com.
//! Gitea: "Webhooks" on docs.gitea.com, and `modules/structs/hook.go` of its source.

use serde::{Deserialize, de::DeserializeOwned};

use super::{PushEvent, PushKind};
use crate::Timestamp;

/// Longest value that is read from a body, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Why a body is not that of a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is not JSON, or not of the form that the provider documents.
    #[error("the body is not that of a push: {cause}")]
    Body {
        /// What the parser says.
        cause: String,
    },
    /// A value in it is not valid.
    #[error("the body has no valid {field}, expected {expected}")]
    Value {
        /// Where it should be.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    before: Option<String>,
    after: String,
    repository: Repository,
    pusher: Option<Person>,
    head_commit: Option<Page>,
}

#[derive(Deserialize)]
struct Release {
    action: String,
    release: ReleaseFacts,
    repository: Repository,
}

#[derive(Deserialize)]
struct ReleaseFacts {
    tag_name: String,
    /// A branch or a commit.
    target_commitish: Option<String>,
    #[serde(default)]
    draft: bool,
    html_url: Option<String>,
    author: Option<Person>,
    published_at: Option<Moment>,
}

#[derive(Deserialize)]
struct GithubPackage {
    action: String,
    #[serde(alias = "registry_package")]
    package: GithubPackageFacts,
    repository: Option<Repository>,
    sender: Option<Person>,
}

#[derive(Deserialize)]
struct GithubPackageFacts {
    name: String,
    namespace: Option<String>,
    html_url: Option<String>,
    package_version: GithubPackageVersion,
}

#[derive(Deserialize)]
struct GithubPackageVersion {
    version: String,
    target_oid: Option<String>,
    container_metadata: Option<ContainerMetadata>,
}

#[derive(Deserialize)]
struct ContainerMetadata {
    tag: Option<ContainerTag>,
}

#[derive(Deserialize)]
struct ContainerTag {
    name: Option<String>,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct GiteaPackage {
    action: String,
    package: GiteaPackageFacts,
    sender: Option<Person>,
}

#[derive(Deserialize)]
struct GiteaPackageFacts {
    name: String,
    version: String,
    owner: Person,
    html_url: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct GitlabPush {
    object_kind: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    before: Option<String>,
    checkout_sha: Option<String>,
    user_username: Option<String>,
    user_name: Option<String>,
    project: Option<Project>,
    #[serde(default)]
    commits: Vec<GitlabCommit>,
}

#[derive(Deserialize)]
struct GitlabRelease {
    action: String,
    tag: String,
    url: Option<String>,
    project: Project,
    commit: Option<GitlabCommit>,
}

#[derive(Deserialize)]
struct GitlabCommit {
    id: String,
    url: Option<String>,
    author: Option<Person>,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: Option<String>,
    /// Of the push, in GitHub's event for one.
    pushed_at: Option<Moment>,
}

/// A moment, in the forms that hosts write one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    /// Unix seconds.
    Seconds(u64),
    /// A text, which counts if it is of RFC 3339.
    Text(String),
    /// What else may be there.
    Other(serde::de::IgnoredAny),
}

impl Moment {
    fn time(self) -> Option<Timestamp> {
        match self {
            Self::Seconds(seconds) => {
                let time = Timestamp::from_unix_ms(seconds.checked_mul(1000)?);
                (time <= Timestamp::MAX).then_some(time)
            }
            Self::Text(text) => text.parse().ok(),
            Self::Other(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    url: Option<String>,
}

/// Somebody, by the names that hosts have for people.
#[derive(Deserialize)]
struct Person {
    login: Option<String>,
    username: Option<String>,
    name: Option<String>,
}

impl Person {
    fn name(self) -> Option<String> {
        let names = [self.login, self.username, self.name];
        names.into_iter().flatten().find(|name| !name.is_empty()).and_then(shown)
    }
}

/// GitHub's and Gitea's `push`, for branches and tags.
pub(super) fn push(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let push: Push = read(body)?;
    let Some((kind, reference)) = branch_or_tag(&push.reference) else { return Ok(None) };
    // What was deleted has zeros after it.
    if push.after.bytes().all(|byte| byte == b'0') {
        return Ok(None);
    }
    let sha = sha(&push.after).ok_or(invalid("after", "40 or 64 hexadecimal digits"))?;
    Ok(Some(PushEvent {
        kind,
        reference: text("ref", reference)?,
        sha: Some(sha),
        digest: None,
        author: push.pusher.and_then(Person::name),
        url: push.head_commit.and_then(|commit| commit.url).and_then(shown),
        repository: text("repository.full_name", push.repository.full_name)?,
        default_branch: push.repository.default_branch.and_then(shown),
        before: push.before.as_deref().and_then(earlier),
        happened: push.repository.pushed_at.and_then(Moment::time),
    }))
}

/// GitHub's and Gitea's `release`.
pub(super) fn release(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let Release { action, release, repository } = read(body)?;
    if action != "published" || release.draft {
        return Ok(None);
    }
    Ok(Some(PushEvent {
        kind: PushKind::Release,
        reference: text("release.tag_name", release.tag_name)?,
        sha: release.target_commitish.as_deref().and_then(sha),
        digest: None,
        author: release.author.and_then(Person::name),
        url: release.html_url.and_then(shown),
        repository: text("repository.full_name", repository.full_name)?,
        default_branch: repository.default_branch.and_then(shown),
        before: None,
        happened: release.published_at.and_then(Moment::time),
    }))
}

/// GitHub's `registry_package` and `package`. A container's version is a digest, so its tag counts.
pub(super) fn github_package(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let GithubPackage { action, package, repository, sender } = read(body)?;
    if action != "published" && action != "updated" {
        return Ok(None);
    }
    let version = package.package_version;
    let tag = version.container_metadata.map(|metadata| metadata.tag);
    let (reference, found) = match tag {
        // A layer or an image without a tag.
        Some(tag) => {
            match tag.and_then(|tag| Some((tag.name.filter(|name| !name.is_empty())?, tag.digest))) {
                Some(found) => found,
                None => return Ok(None),
            }
        }
        None => (version.version, None),
    };
    let name = match (repository, package.namespace) {
        (Some(repository), _) => repository.full_name,
        (None, Some(namespace)) => format!("{namespace}/{}", package.name),
        (None, None) => package.name,
    };
    Ok(Some(PushEvent {
        kind: PushKind::Package,
        reference: text("package_version", reference)?,
        sha: version.target_oid.as_deref().and_then(sha),
        digest: found.as_deref().and_then(digest),
        author: sender.and_then(Person::name),
        url: package.html_url.and_then(shown),
        repository: text("repository.full_name", name)?,
        default_branch: None,
        before: None,
        happened: None,
    }))
}

/// Gitea's `package`.
pub(super) fn gitea_package(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let GiteaPackage { action, package, sender } = read(body)?;
    if action != "created" {
        return Ok(None);
    }
    let owner = package.owner.name().ok_or(invalid("package.owner", "a user or organization"))?;
    let repository = package.repository.map(|repository| repository.full_name);
    Ok(Some(PushEvent {
        kind: PushKind::Package,
        reference: text("package.version", package.version)?,
        sha: None,
        digest: None,
        author: sender.and_then(Person::name),
        url: package.html_url.and_then(shown),
        repository: text("repository.full_name", repository.unwrap_or(format!("{owner}/{}", package.name)))?,
        default_branch: None,
        before: None,
        happened: None,
    }))
}

/// GitLab's `push` and `tag_push`.
pub(super) fn gitlab_push(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let push: GitlabPush = read(body)?;
    if !matches!(push.object_kind.as_deref(), Some("push" | "tag_push")) {
        return Ok(None);
    }
    let reference = push.reference.as_deref().ok_or(invalid("ref", "a branch or tag"))?;
    let Some((kind, reference)) = branch_or_tag(reference) else { return Ok(None) };
    // There is nothing to check out of what was deleted. Of an annotated tag this is the commit.
    let Some(checkout) = push.checkout_sha else { return Ok(None) };
    let sha = sha(&checkout).ok_or(invalid("checkout_sha", "40 or 64 hexadecimal digits"))?;
    let commit = push.commits.into_iter().find(|commit| commit.id == sha);
    let project = push.project.ok_or(invalid("project", "a project"))?;
    Ok(Some(PushEvent {
        kind,
        reference: text("ref", reference)?,
        author: push.user_username.filter(|name| !name.is_empty()).or(push.user_name).and_then(shown),
        url: commit.and_then(|commit| commit.url).and_then(shown),
        repository: text("project.path_with_namespace", project.path_with_namespace)?,
        sha: Some(sha),
        digest: None,
        default_branch: project.default_branch.and_then(shown),
        before: push.before.as_deref().and_then(earlier),
        happened: None,
    }))
}

/// GitLab's `release`.
pub(super) fn gitlab_release(body: &[u8]) -> Result<Option<PushEvent>, PushError> {
    let release: GitlabRelease = read(body)?;
    if release.action != "create" {
        return Ok(None);
    }
    Ok(Some(PushEvent {
        kind: PushKind::Release,
        reference: text("tag", release.tag)?,
        sha: release.commit.as_ref().and_then(|commit| sha(&commit.id)),
        digest: None,
        author: release.commit.and_then(|commit| commit.author).and_then(Person::name),
        url: release.url.and_then(shown),
        repository: text("project.path_with_namespace", release.project.path_with_namespace)?,
        default_branch: release.project.default_branch.and_then(shown),
        before: None,
        happened: None,
    }))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, PushError> {
    serde_json::from_slice(body).map_err(|error| PushError::Body { cause: error.to_string() })
}

fn invalid(field: &'static str, expected: &'static str) -> PushError {
    PushError::Value { field, expected }
}

/// The short name of a branch or a tag; none for other references, such as notes.
fn branch_or_tag(reference: &str) -> Option<(PushKind, &str)> {
    let branch = reference.strip_prefix("refs/heads/").map(|name| (PushKind::Branch, name));
    branch.or_else(|| reference.strip_prefix("refs/tags/").map(|name| (PushKind::Tag, name)))
}

/// A commit in lower case.
fn sha(text: &str) -> Option<String> {
    let is_sha = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sha.then(|| text.to_ascii_lowercase())
}

/// A digest in lower case.
fn digest(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| text.to_ascii_lowercase())
}

/// The commit before a push; what was made by it has zeros before it.
fn earlier(text: &str) -> Option<String> {
    sha(text).filter(|sha| sha.bytes().any(|byte| byte != b'0'))
}

/// A value that must be there.
fn text(field: &'static str, value: impl Into<String>) -> Result<String, PushError> {
    let expected = "1 to 1024 bytes without control characters";
    shown(value.into()).ok_or(invalid(field, expected))
}

/// A text that can be shown.
fn shown(value: String) -> Option<String> {
    let fits = (1..=VALUE_BYTES_MAX).contains(&value.len()) && !value.chars().any(char::is_control);
    fits.then_some(value)
}
