//! Why no messages come from a broker.

use std::{error::Error, net::SocketAddr};

use super::BrokerCredentialsError;
use async_nats::{ConnectError, ConnectErrorKind};

/// Characters of a text of the broker's that are shown.
const TEXT_CHARS_MAX: usize = 300;

/// Why no messages come from a broker. The text says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The name of a broker has no address.
    #[error("broker {host} has no address: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// The node may not connect to the address of a broker.
    #[error("broker has the address {address}, which is {what}, expected one that a broker has")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What it is instead.
        what: String,
    },
    /// There are no credentials, or none that can be used.
    #[error(transparent)]
    BrokerCredentials(BrokerCredentialsError),
    /// Nothing answers.
    #[error("broker at {brokers} cannot be reached: {reason}")]
    Unreachable {
        /// The addresses.
        brokers: String,
        /// Why.
        reason: String,
    },
    /// The broker does not accept the credentials, or wants some.
    #[error("broker refused the credentials, expected those of a user that it knows")]
    Denied,
    /// The broker is too old.
    #[error("broker is nats-server {found}, expected at least {}.{}", .expected.0, .expected.1)]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest version that is good enough.
        expected: (u32, u32),
    },
    /// The broker has no JetStream, or not for this account.
    #[error("broker has no JetStream for this account, expected it to be enabled")]
    NoJetStream,
    /// The stream is not there.
    #[error("broker has no stream {stream}, expected it to be there: triggers make no streams")]
    NoStream {
        /// The stream.
        stream: String,
    },
    /// The stream has no messages with such subjects.
    #[error("stream {stream} has the subjects {}, expected some of {wanted}", found.join(", "))]
    Subject {
        /// The stream.
        stream: String,
        /// The filter of the trigger.
        wanted: String,
        /// The subjects of the stream.
        found: Vec<String>,
    },
    /// The user may not do what is needed.
    #[error("broker does not permit {what}, expected permission for it")]
    Permission {
        /// What it does not permit: `publish to $JS.API.…`.
        what: String,
    },
    /// The broker refused.
    #[error("broker refused the {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The broker answered something that is no answer.
    #[error("broker answered {asked} with something else than JetStream does: {reason}")]
    Answer {
        /// What was asked.
        asked: String,
        /// What is wrong.
        reason: String,
    },
    /// The broker said that something is wrong.
    #[error("broker said: {text}")]
    Said {
        /// What it said.
        text: String,
    },
    /// The connection is lost.
    #[error("connection to the broker was lost")]
    Disconnected,
    /// The broker does not answer.
    #[error("broker did not answer in time")]
    Silent,
    /// The broker says that it has messages, and delivers none.
    #[error("broker delivers none of the {pending} messages that it has")]
    Stuck {
        /// How many it has.
        pending: u64,
    },
    /// The consumer or its stream is gone.
    #[error("consumer or its stream was deleted on the broker")]
    Gone,
    /// More messages came than were asked for.
    #[error("broker sent more messages than were asked for")]
    Overrun,
}

impl BrokerError {
    /// Why no connection was made to `brokers`.
    pub(super) fn of_connect(error: &ConnectError, brokers: String) -> Self {
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => Self::Denied,
            kind => {
                let reason = match kind {
                    ConnectErrorKind::TimedOut => "no answer in time".to_owned(),
                    ConnectErrorKind::Tls => format!("TLS failed: {}", with_causes(error)),
                    _ => {
                        let text = with_causes(error);
                        // What rustls says of an answer that is no record of TLS.
                        let is_plain = text.contains("InvalidContentType");
                        if is_plain { "it does not speak TLS, expected it to".to_owned() } else { text }
                    }
                };
                Self::Unreachable { brokers, reason }
            }
        }
    }

    /// What the server's error `text` means.
    pub(super) fn of_server(text: &str) -> Self {
        let text: String = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
        let lower = text.to_ascii_lowercase();
        if let Some(at) = lower.find("permissions violation for ") {
            let rest = &text[at + "permissions violation for ".len()..];
            return Self::Permission { what: spoken(rest) };
        }
        if lower.contains("authorization violation") || lower.contains("authentication") {
            return Self::Denied;
        }
        Self::Said { text: text.strip_prefix("nats: ").unwrap_or(&text).to_owned() }
    }
}

/// `Publish to "a.b"` as `publish to a.b`.
fn spoken(text: &str) -> String {
    let text = text.replace('"', "");
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// An error with its causes, each once: libraries repeat them in their texts.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
