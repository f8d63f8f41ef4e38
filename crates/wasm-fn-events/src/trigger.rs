//! Triggers: what starts invocations besides requests.

mod redeliver;

use std::{fmt, hash::Hasher as _, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use siphasher::sip::SipHasher13;
use wasm_fn_core::{FunctionName, OrderedBy, SecretName, StageName, TriggerName, normal_path};

use crate::{
    Provider, PushDeploy, QueueSource, Rate, RetryOptions, RetryPolicy, Schedule, Timestamp, WatchSource,
};

pub use redeliver::{Redeliver, RedeliverError};

/// What the paths of webhooks begin with. No function has them.
pub const HOOKS_PATH: &str = "/_hooks/";

/// Longest path of a trigger in bytes.
pub const PATH_BYTES_MAX: usize = 1024;

/// Longest note of a pause in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;

/// Most secrets of a webhook. Two are enough to rotate one.
pub const SECRETS_MAX: usize = 4;

/// Deliveries of a trigger in progress at a time, unless it says otherwise.
pub const CONCURRENCY_DEFAULT: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0");

/// A trigger, among all of a node. Its text is `function/stage/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerId {
    /// The function that handles its events.
    pub function: FunctionName,
    /// The stage in which the function does.
    pub stage: StageName,
    /// Its name, unique in the stage.
    pub name: TriggerName,
}

/// What starts invocations of a function in a stage, besides requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Where its events come from.
    pub kind: TriggerKind,
    /// The path of the requests by which the function gets its events.
    pub path: EventPath,
    /// When an event is delivered again.
    pub retry: RetryPolicy,
    /// Deliveries in progress at a time, at most. A schedule's runs are bounded by its overlap policy, too.
    pub concurrency_max: NonZeroU32,
    /// Deliveries that begin in a time, at most; `None` for any number.
    pub rate: Option<Rate>,
    /// The header by which events are in order; `None` if they are not. A schedule's runs are in order by its
    /// overlap policy.
    pub ordered_by: Option<OrderedBy>,
    /// When an event that a canary failed to handle goes to stable at once.
    pub redeliver: Redeliver,
    /// Whether it is paused, and why.
    pub paused: Option<Pause>,
}

/// Where a trigger's events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    /// From the clock.
    Schedule(Schedule),
    /// From a service on the web, which signs them.
    Webhook(WebhookSource),
    /// From a stream of a broker, which keeps them until they are handled.
    Queue(QueueSource),
    /// From a registry, when a tag has another digest. They deploy it.
    Watch(WatchSource),
}

/// A service whose requests are events. Holding one proves that it has 1 to [`SECRETS_MAX`] secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSource {
    provider: Provider,
    secrets: Vec<SecretName>,
    mode: WebhookMode,
    deploy: Option<PushDeploy>,
}

/// Why the events of a webhook cannot deploy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployingError {
    /// The service is no code host.
    #[error("events of {found} are not about code, expected github, gitlab or gitea")]
    Provider {
        /// The service.
        found: Provider,
    },
    /// The function would answer the service.
    #[error("mode is sync, expected async: the node answers, and deploys then")]
    Sync,
}

/// Who answers a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookMode {
    /// The node, with status 202, once the event is durable. Then it is delivered as any.
    #[default]
    Async,
    /// The function, with its answer. A service that gets no success sends the event again, or not.
    Sync,
}

/// A word is no mode of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode {found:?} is not known, expected async or sync")]
pub struct WebhookModeError {
    /// The word found.
    pub found: String,
}

/// A webhook has no secret, or too many.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("webhook has {found} secrets, expected 1 to {SECRETS_MAX}")]
pub struct SecretsCountError {
    /// Number found.
    pub found: usize,
}

/// Why a trigger is paused. Events that come meanwhile wait in the inbox; ticks of a schedule are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who paused it.
    pub by: PausedBy,
    /// What was noted.
    pub note: Option<PauseNote>,
}

/// A text for people, of 1 to [`NOTE_BYTES_MAX`] bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseNote(String);

/// Why a text is no note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseNoteError {
    /// It is empty or too long.
    #[error("note is {bytes} bytes long, expected 1 to {NOTE_BYTES_MAX}")]
    Length {
        /// Length found.
        bytes: usize,
    },
    /// It has a control character, which could change what a terminal shows.
    #[error("note has {found:?} at byte {at}, expected no control characters")]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
}

/// Who paused a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// A person or a program.
    Command,
    /// The schedule's `pause_on_failure`, after this many failed runs one after the other.
    Failures(u32),
}

/// What the paths of events begin with. No client can send a request to such a path.
pub const EVENTS_PATH: &str = "/_events/";

/// The path of the requests that carry events: below [`EVENTS_PATH`], normal, without query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventPath(Arc<str>);

/// Why a text is not the path of a trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventPathError {
    /// It is too long.
    #[error("path is {bytes} bytes long, expected at most {PATH_BYTES_MAX}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It does not begin as the paths of events do.
    #[error("path {found:?} does not begin with {EVENTS_PATH}")]
    Elsewhere {
        /// The text found.
        found: String,
    },
    /// It is not a path in its normal form (RFC 3986, section 6.2.2).
    #[error("path {found:?} is not in its normal form, expected {normal:?}")]
    NotNormal {
        /// The text found.
        found: String,
        /// Its normal form.
        normal: String,
    },
}

impl TriggerId {
    /// Uniform bits that depend on nothing but this trigger and `time`, the same in every process and on
    /// every machine.
    pub(crate) fn hash_of(&self, time: Timestamp) -> u64 {
        let mut hasher = SipHasher13::new();
        for name in [self.function.as_str(), self.stage.as_str(), self.name.as_str()] {
            hasher.write(name.as_bytes());
            hasher.write_u8(b'/');
        }
        hasher.write(&time.unix_ms().to_le_bytes());
        hasher.finish()
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.function, self.stage, self.name)
    }
}

impl TriggerKind {
    /// The word on the command line and in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "schedule",
            Self::Webhook(_) => "webhook",
            Self::Queue(_) => "queue",
            Self::Watch(_) => "watch",
        }
    }
}

impl Trigger {
    /// Whether its events deploy instead of being delivered to the function.
    pub fn deploys(&self) -> bool {
        match &self.kind {
            TriggerKind::Webhook(source) => source.deploy().is_some(),
            TriggerKind::Watch(_) => true,
            TriggerKind::Schedule(_) | TriggerKind::Queue(_) => false,
        }
    }

    /// The secret by which it gets the artifacts that it deploys.
    pub fn credentials(&self) -> Option<&SecretName> {
        match &self.kind {
            TriggerKind::Webhook(source) => source.deploy()?.options().credentials.as_ref(),
            TriggerKind::Watch(source) => source.credentials(),
            TriggerKind::Schedule(_) | TriggerKind::Queue(_) => None,
        }
    }

    /// The retries of a trigger that deploys, unless it says otherwise: an artifact may still be in the
    /// making when its push is heard of, and is wanted soon once it is there.
    pub fn deploying_retry() -> RetryOptions {
        RetryOptions {
            attempts_max: NonZeroU32::new(1000).expect("1000 is not 0"),
            age_max: Duration::from_secs(6 * 3600),
            backoff_min: Duration::from_secs(2),
            backoff_max: Duration::from_secs(60),
        }
    }
}

impl WebhookSource {
    /// A service that signs by the rules of `provider`, with one of the function's `secrets`: several while
    /// one is rotated.
    ///
    /// # Errors
    ///
    /// [`SecretsCountError`] if there are none or too many.
    pub fn new(provider: Provider, secrets: Vec<SecretName>) -> Result<Self, SecretsCountError> {
        match secrets.len() {
            1..=SECRETS_MAX => Ok(Self { provider, secrets, mode: WebhookMode::default(), deploy: None }),
            found => Err(SecretsCountError { found }),
        }
    }

    /// The same, where the service is answered in this `mode`.
    #[must_use]
    pub fn in_mode(self, mode: WebhookMode) -> Self {
        Self { mode, ..self }
    }

    /// The same, where events deploy instead of being delivered to the function.
    ///
    /// # Errors
    ///
    /// [`DeployingError`] if the service is no code host, or the function is to answer it.
    pub fn deploying(self, deploy: PushDeploy) -> Result<Self, DeployingError> {
        if !matches!(self.provider, Provider::GitHub | Provider::GitLab | Provider::Gitea) {
            return Err(DeployingError::Provider { found: self.provider });
        }
        if self.mode == WebhookMode::Sync {
            return Err(DeployingError::Sync);
        }
        Ok(Self { deploy: Some(deploy), ..self })
    }

    /// Which events deploy, and what; `None` if they are for the function.
    pub fn deploy(&self) -> Option<&PushDeploy> {
        self.deploy.as_ref()
    }

    /// Who answers the service.
    pub fn mode(&self) -> WebhookMode {
        self.mode
    }

    /// Whose rules the signatures follow.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The secrets that may have signed a request.
    pub fn secrets(&self) -> &[SecretName] {
        &self.secrets
    }
}

impl WebhookMode {
    /// The word on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }
}

impl fmt::Display for WebhookMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for WebhookMode {
    type Err = WebhookModeError;

    fn from_str(word: &str) -> Result<Self, WebhookModeError> {
        let mode = [Self::Async, Self::Sync].into_iter().find(|mode| mode.as_str() == word);
        mode.ok_or_else(|| WebhookModeError { found: word.chars().take(64).collect() })
    }
}

impl PauseNote {
    /// The note as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PauseNote {
    type Err = PauseNoteError;

    fn from_str(text: &str) -> Result<Self, PauseNoteError> {
        if !(1..=NOTE_BYTES_MAX).contains(&text.len()) {
            return Err(PauseNoteError::Length { bytes: text.len() });
        }
        match text.char_indices().find(|(_, c)| c.is_control()) {
            Some((at, found)) => Err(PauseNoteError::Character { found, at }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for PauseNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl EventPath {
    /// The path of a trigger that does not say one: `/_events/<trigger>`.
    pub fn of(trigger: &TriggerName) -> Self {
        Self(Arc::from(format!("{EVENTS_PATH}{trigger}")))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventPath {
    type Err = EventPathError;

    fn from_str(text: &str) -> Result<Self, EventPathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(EventPathError::TooLong { bytes: text.len() });
        }
        if !text.starts_with(EVENTS_PATH) {
            return Err(EventPathError::Elsewhere { found: text.to_owned() });
        }
        let normal = normal_path(text);
        if normal != text {
            return Err(EventPathError::NotNormal { found: text.to_owned(), normal: normal.into_owned() });
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for EventPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EventPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests;
