//! Where the artifact of a push is: a URL with placeholders.

use std::{fmt, str::FromStr};

use super::PushEvent;

/// Longest template in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1024;

/// Longest value of a placeholder in bytes: that of a tag in a registry (OCI Distribution 1.1, "Pulling
/// manifests").
const VALUE_BYTES_MAX: usize = 128;

/// The placeholders that templates may have.
pub const PLACEHOLDERS: [&str; 4] = ["sha", "ref", "tag", "repository"];

/// The URL of an artifact with placeholders in its path, such as `oci://registry.example.com/app:{sha}`.
///
/// `{sha}` is the commit, `{ref}` the branch or tag, `{tag}` the tag and `{repository}` the repository, such
/// as `owner/name`. A `/` in a branch or tag becomes `-`, and repositories are in lower case, as names in
/// registries are. Whoever may push cannot change which host is asked, nor leave the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Sha,
    Ref,
    Tag,
    Repository,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is too long.
    #[error("URL is {bytes} bytes long, expected at most {TEMPLATE_BYTES_MAX}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It has another scheme.
    #[error("URL {found:?} does not begin with oci:// or https://")]
    Scheme {
        /// The text found.
        found: String,
    },
    /// It has no host or no path, or its host is not plain.
    #[error(
        "URL {found:?} has no plain host with a path behind it, expected one like registry.example.com/app"
    )]
    Host {
        /// The text found.
        found: String,
    },
    /// It has a character that URLs have not.
    #[error("URL has {found:?} at byte {at}, expected letters, digits and -._~/:@?&=%+")]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// It has a placeholder that is not known.
    #[error("placeholder {{{found}}} is not known, expected {{sha}}, {{ref}}, {{tag}} or {{repository}}")]
    Placeholder {
        /// What is between the braces.
        found: String,
    },
    /// It has a brace without the other one.
    #[error("URL has an unmatched brace at byte {at}")]
    Brace {
        /// Its byte offset.
        at: usize,
    },
}

/// Why a template has no URL for a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The push does not say it.
    #[error("the push says no {placeholder}")]
    Missing {
        /// The placeholder's name.
        placeholder: &'static str,
    },
    /// The value could change more of the URL than its place.
    #[error(
        "the push has {found:?} as its {placeholder}, expected letters, digits and ._- with a letter, \
        digit or _ first, at most {VALUE_BYTES_MAX} bytes"
    )]
    Value {
        /// The placeholder's name.
        placeholder: &'static str,
        /// The value.
        found: String,
    },
}

impl UrlTemplate {
    /// The URL for `push`.
    ///
    /// # Errors
    ///
    /// [`ExpandError`] if the push does not say a value, or the value has other characters than it may have.
    pub fn expand(&self, push: &PushEvent) -> Result<String, ExpandError> {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Value(placeholder) => url.push_str(&placeholder.value(push)?),
            }
        }
        Ok(url)
    }

    /// Whether it has the placeholder of this name.
    pub fn has(&self, placeholder: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(found) if found.name() == placeholder))
    }

    /// The reference in a registry, without `oci://`, if the artifact is in one.
    pub fn in_registry(&self) -> Option<&str> {
        self.text.strip_prefix("oci://")
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Placeholder {
    fn name(self) -> &'static str {
        let [sha, reference, tag, repository] = PLACEHOLDERS;
        match self {
            Self::Sha => sha,
            Self::Ref => reference,
            Self::Tag => tag,
            Self::Repository => repository,
        }
    }

    fn value(self, push: &PushEvent) -> Result<String, ExpandError> {
        let placeholder = self.name();
        let value = match self {
            Self::Sha => push.sha.clone(),
            Self::Ref => Some(push.reference.replace('/', "-")),
            Self::Tag => push.tag().map(|tag| tag.replace('/', "-")),
            Self::Repository => Some(push.repository.to_ascii_lowercase()),
        };
        let value = value.ok_or(ExpandError::Missing { placeholder })?;
        let mut segments = value.split('/');
        if value.len() <= VALUE_BYTES_MAX && segments.all(is_plain) {
            return Ok(value);
        }
        Err(ExpandError::Value { placeholder, found: value.chars().take(VALUE_BYTES_MAX).collect() })
    }
}

/// Whether a segment of a path is a name: neither empty, nor a dot segment, nor with anything that a URL
/// reads.
fn is_plain(segment: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    segment.bytes().next().is_some_and(word)
        && segment.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl FromStr for UrlTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong { bytes: text.len() });
        }
        let found = || text.to_owned();
        let rest = text.strip_prefix("oci://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| TemplateError::Scheme { found: found() })?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~/:@?&=%+{}".contains(c);
        if let Some((at, found)) = text.char_indices().find(|&(_, c)| !fits(c)) {
            return Err(TemplateError::Character { found, at });
        }
        // Who is asked may not depend on the push.
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host_fits = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        if host.is_empty() || path.is_empty() || !host.chars().all(host_fits) {
            return Err(TemplateError::Host { found: found() });
        }
        Ok(Self { text: found(), parts: parts(text)? })
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = |rest: &str| text.len() - rest.len();
        let brace = rest.find(['{', '}']).unwrap_or(rest.len());
        let (plain, behind) = rest.split_at(brace);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.to_owned()));
        }
        if behind.is_empty() {
            break;
        }
        let inner = behind.strip_prefix('{').ok_or(TemplateError::Brace { at: at(behind) })?;
        let (name, after) = inner.split_once('}').ok_or(TemplateError::Brace { at: at(behind) })?;
        let known = [Placeholder::Sha, Placeholder::Ref, Placeholder::Tag, Placeholder::Repository];
        let placeholder = known.into_iter().find(|placeholder| placeholder.name() == name);
        parts.push(Part::Value(placeholder.ok_or(TemplateError::Placeholder { found: name.to_owned() })?));
        rest = after;
    }
    Ok(parts)
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
