//! Queues: where the messages of a trigger come from, and the events that they are.

mod message;

use std::{fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use http::Uri;
use wasm_fn_core::SecretName;

pub use message::{MESSAGE_HEADER_BYTES_MAX, MESSAGE_HEADERS_MAX, MESSAGE_TYPE, QueueMessage};

/// Most addresses of a broker, which is one server or a cluster of several.
pub const BROKERS_MAX: usize = 8;

/// Longest address of a broker in bytes.
pub const BROKER_URL_BYTES_MAX: usize = 300;

/// Longest name of a stream in bytes.
pub const STREAM_BYTES_MAX: usize = 255;

/// Longest filter of subjects in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// The port of brokers whose address names none.
const PORT_DEFAULT: u16 = 4222;

/// A stream of NATS JetStream, and which of its messages are events. Holding one proves that it has 1 to
/// [`BROKERS_MAX`] addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSource {
    brokers: Vec<BrokerUrl>,
    stream: StreamName,
    subject: SubjectFilter,
    credentials: Option<SecretName>,
    start: QueueStart,
}

/// The address of a broker: `nats://host:port`, or `tls://host:port` where TLS is required.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    text: Arc<str>,
    host: Arc<str>,
    port: u16,
    is_tls: bool,
}

/// The name of a stream: 1 to [`STREAM_BYTES_MAX`] visible ASCII characters, without `.`, `*`, `>`, `/` and
/// `\` (NATS, "Naming Streams, Consumers and Account").
#[derive(Clone, PartialEq, Eq)]
pub struct StreamName(Arc<str>);

/// Subjects: tokens with dots between them, of which `*` stands for any one, and a last `>` for all that
/// follow (NATS, "Subject-Based Messaging").
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectFilter(Arc<str>);

/// With which message of its stream a trigger begins that has not taken any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueStart {
    /// With the oldest that there is.
    #[default]
    All,
    /// With the next that comes.
    New,
}

/// A word does not say with which message to begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("start {found:?} is not known, expected all or new")]
pub struct QueueStartError {
    /// The word found.
    pub found: String,
}

/// A queue has no address, or too many.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue has {found} addresses of brokers, expected 1 to {BROKERS_MAX}")]
pub struct BrokersCountError {
    /// Number found.
    pub found: usize,
}

/// Why a text is not the address of a broker. None of them shows the text, since it may have a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// It is too long.
    #[error("address is {bytes} bytes long, expected at most {BROKER_URL_BYTES_MAX}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It is no address.
    #[error("it is not an address such as nats://broker.example.com:4222")]
    Form,
    /// It has another scheme.
    #[error("scheme is {found:?}, expected nats or tls")]
    Scheme {
        /// The scheme.
        found: String,
    },
    /// It has credentials in it.
    #[error(
        "address has credentials in it, expected none: put them in a secret of the stage, and name that as \
         the credentials"
    )]
    Credentials,
    /// It has something behind the port.
    #[error("address has {found:?} behind the port, expected nothing")]
    Rest {
        /// What is behind the port.
        found: String,
    },
}

/// Why a text is not the name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamNameError {
    /// It is empty or too long.
    #[error("name of the stream is {bytes} bytes long, expected 1 to {STREAM_BYTES_MAX}")]
    Length {
        /// Length found.
        bytes: usize,
    },
    /// It has a character that no stream's name has.
    #[error("name of the stream has {found:?}, expected visible ASCII characters without . * > / \\")]
    Character {
        /// The character.
        found: char,
    },
}

/// Why a text is not a filter of subjects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFilterError {
    /// It is empty or too long.
    #[error("subject is {bytes} bytes long, expected 1 to {SUBJECT_BYTES_MAX}")]
    Length {
        /// Length found.
        bytes: usize,
    },
    /// It has a character that no subject has.
    #[error("subject has {found:?}, expected no white space and no control characters")]
    Character {
        /// The character.
        found: char,
    },
    /// There is nothing before a dot, between two, or after one.
    #[error("subject {subject:?} has an empty token, expected text before, between and after its dots")]
    EmptyToken {
        /// The subject.
        subject: String,
    },
    /// A wildcard is where it stands for nothing.
    #[error("subject {subject:?} has {found:?}, expected * to be a token of its own, and > the last one")]
    Wildcard {
        /// The subject.
        subject: String,
        /// The token.
        found: String,
    },
}

impl QueueSource {
    /// The messages of `stream` with the subjects of `subject`, on the servers at `brokers`.
    ///
    /// # Errors
    ///
    /// [`BrokersCountError`] if there are no addresses, or too many.
    pub fn new(
        brokers: Vec<BrokerUrl>,
        stream: StreamName,
        subject: SubjectFilter,
    ) -> Result<Self, BrokersCountError> {
        match brokers.len() {
            1..=BROKERS_MAX => {
                Ok(Self { brokers, stream, subject, credentials: None, start: QueueStart::default() })
            }
            found => Err(BrokersCountError { found }),
        }
    }

    /// The same, where the broker asks for the credentials in the function's secret of this name.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<SecretName>) -> Self {
        Self { credentials, ..self }
    }

    /// The same, beginning where `start` says.
    #[must_use]
    pub fn from(self, start: QueueStart) -> Self {
        Self { start, ..self }
    }

    /// The addresses of the broker's servers.
    pub fn brokers(&self) -> &[BrokerUrl] {
        &self.brokers
    }

    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Which messages.
    pub fn subject(&self) -> &SubjectFilter {
        &self.subject
    }

    /// The secret that has the credentials.
    pub fn credentials(&self) -> Option<&SecretName> {
        self.credentials.as_ref()
    }

    /// With which message it begins.
    pub fn start(&self) -> QueueStart {
        self.start
    }
}

impl BrokerUrl {
    /// The address in its normal form, with its port.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection must be encrypted.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        if text.len() > BROKER_URL_BYTES_MAX {
            return Err(BrokerUrlError::TooLong { bytes: text.len() });
        }
        // Looked for first, so that no other error shows a part of a password.
        let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
        if behind.contains('@') {
            return Err(BrokerUrlError::Credentials);
        }
        let uri: Uri = text.parse().map_err(|_| BrokerUrlError::Form)?;
        let is_tls = match uri.scheme_str() {
            Some("nats") => false,
            Some("tls") => true,
            Some(found) => return Err(BrokerUrlError::Scheme { found: found.to_owned() }),
            None => return Err(BrokerUrlError::Form),
        };
        let rest = uri.path_and_query().map_or("", |rest| rest.as_str());
        if !matches!(rest, "" | "/") || text.contains('#') {
            return Err(BrokerUrlError::Rest { found: rest.to_owned() });
        }
        let authority = uri.authority().ok_or(BrokerUrlError::Form)?;
        let host = authority.host().to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                !host.is_empty() && host.chars().all(fits)
            }
        };
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => Some(PORT_DEFAULT),
            Some(port) => port.parse().ok().filter(|&port| port > 0),
        };
        let Some(port) = port.filter(|_| is_host) else { return Err(BrokerUrlError::Form) };
        let scheme = if is_tls { "tls" } else { "nats" };
        let text = Arc::from(format!("{scheme}://{host}:{port}"));
        Ok(Self { text, host: Arc::from(bare.unwrap_or(&host)), port, is_tls })
    }
}

impl FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(text: &str) -> Result<Self, StreamNameError> {
        if !(1..=STREAM_BYTES_MAX).contains(&text.len()) {
            return Err(StreamNameError::Length { bytes: text.len() });
        }
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
        match text.chars().find(|&c| !fits(c)) {
            Some(found) => Err(StreamNameError::Character { found }),
            None => Ok(Self(Arc::from(text))),
        }
    }
}

impl FromStr for SubjectFilter {
    type Err = SubjectFilterError;

    fn from_str(text: &str) -> Result<Self, SubjectFilterError> {
        if !(1..=SUBJECT_BYTES_MAX).contains(&text.len()) {
            return Err(SubjectFilterError::Length { bytes: text.len() });
        }
        if let Some(found) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(SubjectFilterError::Character { found });
        }
        let subject = || text.to_owned();
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            let is_last = tokens.peek().is_none();
            let is_wild = token.contains(['*', '>']);
            if token.is_empty() {
                return Err(SubjectFilterError::EmptyToken { subject: subject() });
            }
            if is_wild && token != "*" && !(token == ">" && is_last) {
                return Err(SubjectFilterError::Wildcard { subject: subject(), found: token.to_owned() });
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl QueueStart {
    /// The word on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::New => "new",
        }
    }
}

impl FromStr for QueueStart {
    type Err = QueueStartError;

    fn from_str(word: &str) -> Result<Self, QueueStartError> {
        let start = [Self::All, Self::New].into_iter().find(|start| start.as_str() == word);
        start.ok_or_else(|| QueueStartError { found: word.chars().take(64).collect() })
    }
}

impl fmt::Display for QueueStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl StreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl SubjectFilter {
    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether some subject is one of both filters, so that a stream with the subjects `other` may have
    /// messages for this one.
    pub fn meets(&self, other: &str) -> bool {
        let (mut mine, mut others) = (self.0.split('.'), other.split('.'));
        loop {
            match (mine.next(), others.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for SubjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SubjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests;
