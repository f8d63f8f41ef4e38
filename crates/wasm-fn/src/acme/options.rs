//! What to get a certificate for, and from whom. Pure.

use std::path::PathBuf;

use http::Uri;

/// Where certificates come from if nothing else is said: Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Most names of one certificate, as Let's Encrypt has it.
const DOMAINS_MAX: usize = 100;

/// What to get a certificate for, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcmeOptions {
    // Invariant: domains in lower case, at least one, each once.
    pub(super) domains: Vec<String>,
    // Invariant: URLs of people to write to.
    pub(super) contact: Vec<String>,
    // Invariant: the https URL of the server's directory.
    pub(super) directory: String,
    /// File with the authorities that may vouch for the server, instead of the public ones.
    pub(super) ca: Option<PathBuf>,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct AcmeOptionsError {
    /// Which one: `domains[0]`.
    pub(crate) key: String,
    /// What was found and what was expected.
    pub(crate) reason: String,
}

impl AcmeOptions {
    /// A certificate for `domains` from the server with this `directory`, or from Let's Encrypt.
    ///
    /// # Errors
    /// What cannot be a certificate's name, somebody to write to, or the URL of a server.
    pub(crate) fn new(
        domains: &[String],
        contact: Vec<String>,
        directory: Option<String>,
        ca: Option<PathBuf>,
    ) -> Result<Self, AcmeOptionsError> {
        let bad = |key: String, found: &str, expected: &str| {
            Err(AcmeOptionsError { key, reason: format!("found {found:?}, expected {expected}") })
        };
        if !(1..=DOMAINS_MAX).contains(&domains.len()) {
            let found = domains.len();
            let reason = format!("found {found} names, expected 1 to {DOMAINS_MAX}");
            return Err(AcmeOptionsError { key: "domains".to_owned(), reason });
        }
        let mut names = Vec::new();
        for (index, domain) in domains.iter().enumerate() {
            let (name, key) = (domain.to_ascii_lowercase(), format!("domains[{index}]"));
            if !is_domain(&name) {
                return bad(key, domain, "a domain such as example.com, without a wildcard");
            }
            if names.contains(&name) {
                return bad(key, domain, "each name once");
            }
            names.push(name);
        }
        for (index, url) in contact.iter().enumerate() {
            if !url.strip_prefix("mailto:").is_some_and(|address| address.contains('@')) {
                return bad(format!("contact[{index}]"), url, "mailto:ann@example.com");
            }
        }
        let directory = directory.unwrap_or_else(|| DIRECTORY.to_owned());
        if directory.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(|scheme| scheme == "https"))
            != Some(true)
        {
            return bad("directory".to_owned(), &directory, "an https URL");
        }
        Ok(Self { domains: names, contact, directory, ca })
    }
}

/// Whether `name` has two labels or more that a certificate may name (RFC 1123, section 2.1).
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of an address has digits only.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
