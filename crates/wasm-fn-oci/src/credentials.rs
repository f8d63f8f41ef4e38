//! What is shown to registries, and where it comes from.

mod docker_config;
mod helper;

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

pub use docker_config::DockerConfig;

/// What is shown to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user name and a password, or a token in its place.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A refresh token (OAuth 2), which the registry's token service takes.
    IdentityToken(Zeroizing<String>),
    /// A token for the registry itself.
    RegistryToken(Zeroizing<String>),
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file that cannot be read.
    #[error("{file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
    /// A configuration that is not one of docker.
    #[error("docker's configuration is not as expected: {0}")]
    Malformed(String),
    /// A program that keeps credentials, and does not give them.
    #[error("docker-credential-{helper} gives no credentials for {registry}: {cause}")]
    Helper {
        /// The last part of the program's name.
        helper: String,
        /// The registry.
        registry: String,
        /// Why.
        cause: String,
    },
    /// A text that is no pair.
    #[error("credentials are not as expected: USER:PASSWORD, or docker's configuration in JSON")]
    NotAPair,
}

impl Credentials {
    /// A user name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic { username: username.into(), password: Zeroizing::new(password.into()) }
    }
}

/// Reads `USER:PASSWORD`. The error does not show the text.
impl FromStr for Credentials {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let text = text.trim_end_matches(['\r', '\n']);
        match text.split_once(':') {
            Some((username, password)) if !username.is_empty() && !password.is_empty() => {
                Ok(Self::basic(username, password))
            }
            _ => Err(CredentialsError::NotAPair),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

#[cfg(test)]
mod tests;
