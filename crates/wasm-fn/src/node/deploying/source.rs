//! Where artifacts may come from, as the node's configuration says.

use std::{fmt, str::FromStr};

use wasm_fn_core::normal_path;

/// A part of a registry, such as `ghcr.io/acme/*`, or the beginning of URLs, such as
/// `https://github.com/acme/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactSource {
    text: String,
    scheme: Scheme,
    /// Host and path. The host is in lower case.
    place: String,
    /// Whether everything that begins with the place is meant, wherever it goes on.
    is_prefix: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Oci,
    Https,
}

/// A text is no source of artifacts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {found:?}, expected a part of a registry such as ghcr.io/acme/*, or a URL such as https://github.com/acme/"
)]
pub(crate) struct ArtifactSourceError {
    found: String,
}

impl ArtifactSource {
    /// Whether the artifact at `url`, which begins with `oci://` or `https://`, is of this source.
    pub(crate) fn has(&self, url: &str) -> bool {
        let Some((scheme, place)) = split(url) else { return false };
        if scheme != self.scheme {
            return false;
        }
        let Some(rest) = place.strip_prefix(&self.place) else { return false };
        if self.is_prefix || rest.is_empty() {
            return true;
        }
        // Behind a host alone, a colon is before a port, which is another server.
        let ends: &[char] = if self.place.contains('/') { &['/', ':', '@', '?'] } else { &['/'] };
        rest.starts_with(ends)
    }
}

/// The scheme of `url`, and its host in lower case with its normal path.
fn split(url: &str) -> Option<(Scheme, String)> {
    let (scheme, rest) = match (url.strip_prefix("oci://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Oci, rest),
        (None, Some(rest)) => (Scheme::Https, rest),
        (None, None) => return None,
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = match path.split_once('?') {
        Some((path, query)) => format!("{}?{query}", normal_path(path)),
        None if path.is_empty() => String::new(),
        None => normal_path(path).into_owned(),
    };
    Some((scheme, format!("{}{path}", host.to_ascii_lowercase())))
}

impl FromStr for ArtifactSource {
    type Err = ArtifactSourceError;

    fn from_str(text: &str) -> Result<Self, ArtifactSourceError> {
        let error = || ArtifactSourceError { found: text.chars().take(200).collect() };
        let whole = text.strip_suffix('*').unwrap_or(text);
        let url = if whole.contains("://") { whole.to_owned() } else { format!("oci://{whole}") };
        let (scheme, place) = split(&url).ok_or_else(error)?;
        let host = place.split('/').next().unwrap_or_default();
        let host_fits = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        let fits =
            !host.is_empty() && host.chars().all(host_fits) && !place.contains(['*', '?', '@', '#', ' ']);
        // A star behind the host would be for other hosts, too.
        let is_prefix = text.ends_with('*') || place.ends_with('/');
        if !fits || is_prefix && !place.contains('/') {
            return Err(error());
        }
        Ok(Self { text: text.to_owned(), scheme, place, is_prefix })
    }
}

impl fmt::Display for ArtifactSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests;
