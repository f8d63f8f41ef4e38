//! What a broker is shown: a user's JWT with its key, a key alone, a password, or a token.

use std::fmt;

use async_nats::ConnectOptions;

/// What files of credentials have in them.
const FILE: &str = "-----BEGIN NATS USER JWT-----";

/// What the seeds of users' keys begin with, and how long they are.
const SEED: (&str, usize) = ("SU", 58);

/// What a broker is shown. Its debug output shows nothing of it.
#[derive(Clone)]
pub enum BrokerCredentials {
    /// The text of a `.creds` file: a user's JWT, and the seed of its key.
    File(String),
    /// The seed of a user's key.
    Seed(String),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

/// Why a text has no credentials. It shows nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerCredentialsError {
    /// It is empty.
    #[error(
        "secret with the credentials is empty, expected the text of a .creds file, user:password, or a token"
    )]
    Empty,
    /// There is none.
    #[error("credentials are missing: {reason}")]
    Missing {
        /// Why.
        reason: String,
    },
    /// It is like a file of credentials, or a seed, and cannot be read as one.
    #[error("secret with the credentials cannot be read: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

impl BrokerCredentials {
    /// Reads the value of a secret: the text of a `.creds` file, the seed of a user's key (`SU...`),
    /// `user:password`, or else a token. White space around it does not count.
    ///
    /// # Errors
    /// It is empty.
    pub fn parse(text: &str) -> Result<Self, BrokerCredentialsError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BrokerCredentialsError::Empty);
        }
        if text.contains(FILE) {
            return Ok(Self::File(text.to_owned()));
        }
        let is_seed = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        if text.starts_with(SEED.0) && text.len() == SEED.1 && text.bytes().all(is_seed) {
            return Ok(Self::Seed(text.to_owned()));
        }
        Ok(match text.split_once(':') {
            Some((user, password)) => Self::Password { user: user.to_owned(), password: password.to_owned() },
            None => Self::Token(text.to_owned()),
        })
    }

    /// The word for what it is.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Seed(_) => "seed",
            Self::Password { .. } => "password",
            Self::Token(_) => "token",
        }
    }

    /// Shows it to the broker that `options` connect to.
    pub(super) fn apply(self, options: ConnectOptions) -> Result<ConnectOptions, BrokerCredentialsError> {
        match self {
            Self::File(text) => {
                let malformed =
                    |error: std::io::Error| BrokerCredentialsError::Malformed { reason: error.to_string() };
                options.credentials(&text).map_err(malformed)
            }
            Self::Seed(seed) => Ok(options.nkey(seed)),
            Self::Password { user, password } => Ok(options.user_and_password(user, password)),
            Self::Token(token) => Ok(options.token(token)),
        }
    }
}

impl fmt::Debug for BrokerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BrokerCredentials").field(&self.as_str()).finish()
    }
}
