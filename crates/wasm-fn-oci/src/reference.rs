//! The name of an artifact in a registry.

use std::{fmt, str::FromStr};

use wasm_fn_core::Digest;

/// What every reference begins with.
const SCHEME: &str = "oci://";

/// The tag of a reference that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// `oci://REGISTRY[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.
// Invariant: it has a registry, a repository, and a tag or a digest. Its digest is of SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    // Boxed, since errors carry references.
    name: Box<oci_client::Reference>,
    digest: Option<Digest>,
}

/// A text that is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} {reason}, expected oci://REGISTRY[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]")]
pub struct ReferenceError {
    found: String,
    reason: String,
}

impl Reference {
    /// Whether `text` is meant as a reference, be it valid or not.
    pub fn is_meant(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// The registry as written, such as `ghcr.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.name.registry()
    }

    /// The repository within the registry, such as `acme/hello`.
    pub fn repository(&self) -> &str {
        self.name.repository()
    }

    /// The tag. Without one, there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.name.tag()
    }

    /// The digest of the manifest. It decides, even if there is a tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same artifact, bound to the manifest with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        let (registry, repository) = (self.registry().to_owned(), self.repository().to_owned());
        let text = format!("sha256:{digest}");
        let name = match self.tag() {
            Some(tag) => {
                oci_client::Reference::with_tag_and_digest(registry, repository, tag.to_owned(), text)
            }
            None => oci_client::Reference::with_digest(registry, repository, text),
        };
        Self { name: Box::new(name), digest: Some(digest) }
    }

    /// Another tag of the same repository.
    pub(crate) fn with_tag(&self, tag: String) -> Self {
        let (registry, repository) = (self.registry().to_owned(), self.repository().to_owned());
        Self { name: Box::new(oci_client::Reference::with_tag(registry, repository, tag)), digest: None }
    }

    /// The host and port that answer for the registry. Docker Hub's are not those of its name.
    pub(crate) fn host(&self) -> &str {
        self.name.resolve_registry()
    }

    /// Whether the registry is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host().rsplit_once(':').map_or(self.host(), |(host, _)| host);
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
    }

    /// What a manifest is asked for by: the digest, or else the tag.
    pub(crate) fn manifest(&self) -> String {
        match (self.digest, self.tag()) {
            (Some(digest), _) => format!("sha256:{digest}"),
            (None, tag) => tag.unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }

    /// As oci-client has it.
    pub(crate) fn name(&self) -> &oci_client::Reference {
        &self.name
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |reason: &str| {
            let found = text.chars().take(200).collect();
            Err(ReferenceError { found, reason: reason.to_owned() })
        };
        if !Self::is_meant(text) {
            return error("does not begin with oci://");
        }
        let rest = &text[SCHEME.len()..];
        let Some((registry, path)) = rest.split_once('/') else {
            return error("names no repository");
        };
        if registry.is_empty() {
            return error("names no registry");
        }
        if registry.contains('@') {
            return error("has credentials, which belong into docker's config.json");
        }
        let digest = match path.split_once('@') {
            None => None,
            Some((_, digest)) => match digest.strip_prefix("sha256:").map(str::parse) {
                Some(Ok(digest)) => Some(digest),
                _ => return error("has a digest other than `sha256:` and 64 lower-case hexadecimal digits"),
            },
        };
        let name: oci_client::Reference = match rest.parse() {
            Ok(name) => name,
            Err(parse) => return error(&reason(&parse)),
        };
        // A name without a dot is a part of Docker Hub's paths elsewhere. Here it would be a surprise.
        if name.registry() != registry && !registry.eq_ignore_ascii_case("index.docker.io") {
            let reason = format!("has the registry {registry:?} without domain or port");
            return error(&reason);
        }
        Ok(Self { name: Box::new(name), digest })
    }
}

/// What is wrong with a name that oci-client refuses.
fn reason(error: &oci_client::ParseError) -> String {
    match error {
        oci_client::ParseError::NameContainsUppercase => "has capital letters in its repository".to_owned(),
        oci_client::ParseError::NameEmpty => "names no repository".to_owned(),
        oci_client::ParseError::NameTooLong => "has a repository of more than 255 characters".to_owned(),
        oci_client::ParseError::TagInvalidFormat => "has an invalid tag".to_owned(),
        _ => "is not a valid reference".to_owned(),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.name)
    }
}

#[cfg(test)]
mod tests;
