//! The configuration of a function, and the limits that it runs under.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::bucket::BucketConfig;
use crate::{BucketName, CohortRule, EgressRule, OrderedBy, PreviewAccess, Route, SecretName, Sticky};

/// Everything that is configured for a version, except its component.
///
/// Two versions with equal components and equal configurations are the same version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionConfig {
    /// What one invocation may use, and what all of them may use together.
    pub limits: Limits,
    /// Routes of the live stage; [`Route::default_for`] if empty.
    pub routes: Vec<Route>,
    /// Who may use the addresses of the function's versions.
    pub preview: PreviewAccess,
    /// What keeps users on one version.
    pub sticky: Sticky,
    /// Rules that place users on a version. The first rule that matches applies.
    pub cohorts: Vec<CohortRule>,
    /// Origins that the guest may send requests to.
    pub egress: Vec<EgressRule>,
    /// Environment variables of the guest.
    pub env: BTreeMap<String, String>,
    /// Secrets that the guest sees. Their values belong to a stage, not to the configuration.
    pub secrets: BTreeSet<SecretName>,
    /// Whether the guest sees its secrets as environment variables too.
    pub secrets_env: bool,
    /// Whether clients may send requests that the function answers later, with nobody to read the answer.
    pub asynchronous: bool,
    /// The header by which such requests are in order; `None` if they are not.
    pub async_ordered_by: Option<OrderedBy>,
    /// Buckets that the guest may open. What they hold belongs to a stage, not to the configuration.
    pub buckets: BTreeMap<BucketName, BucketConfig>,
}

/// What a function may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, bytes.
    pub memory_bytes: u64,
    /// Wall-clock time of one invocation, including its time in the queue.
    pub timeout: Duration,
    /// Time that one invocation may compute, without the time it waits. `None` sets no limit besides
    /// `timeout`.
    pub cpu: Option<Duration>,
    /// How many invocations may run at once.
    pub concurrency: u32,
    /// How many requests may wait for one of them to end.
    pub queue: u32,
    /// How long a request may wait in that queue before it is shed.
    pub queue_wait: Duration,
    /// How many requests one instance may serve, one after the other. 1 gives each request a fresh instance.
    pub reuse: u32,
    /// What its outgoing requests may use.
    pub egress: EgressLimits,
}

/// What the outgoing requests of a function may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// How many requests one invocation may send.
    pub requests: u32,
    /// How many bytes the bodies of these requests may have together, and how many the bodies of their
    /// responses.
    pub bytes: u64,
    /// Time of one request, from the lookup of its name to the end of its response. `None` stands for the
    /// timeout of an invocation.
    pub timeout: Option<Duration>,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self { requests: 100, bytes: 256 << 20, timeout: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            timeout: Duration::from_secs(10),
            cpu: None,
            concurrency: 1000,
            queue: 1000,
            queue_wait: Duration::from_secs(1),
            reuse: 1,
            egress: EgressLimits::default(),
        }
    }
}

/// A value that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: found {found}, expected {expected}")]
pub struct ConfigError {
    /// The key, as users write it.
    pub key: &'static str,
    /// The value found.
    pub found: String,
    /// The allowed values.
    pub expected: &'static str,
}

/// Most routes, cohort rules, egress rules or environment variables of a function, each.
const ENTRIES_MAX: usize = 256;

/// Most secrets of a function.
const SECRETS_MAX: usize = 64;

/// Most buckets of a function.
const BUCKETS_MAX: usize = 32;

/// Most bytes in the name and value of one environment variable together.
const ENV_BYTES_MAX: usize = 32 << 10;

impl FunctionConfig {
    /// Checks that every value is within its bounds.
    ///
    /// # Errors
    /// The first key that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        let entries = [
            ("routes", self.routes.len()),
            ("cohorts", self.cohorts.len()),
            ("egress", self.egress.len()),
            ("env", self.env.len()),
        ];
        for (key, found) in entries {
            bounded(key, found <= ENTRIES_MAX, || format!("{found} entries"), "at most 256")?;
        }
        let secrets = self.secrets.len();
        bounded("secrets", secrets <= SECRETS_MAX, || format!("{secrets} entries"), "at most 64")?;
        let buckets = self.buckets.len();
        bounded("bucket", buckets <= BUCKETS_MAX, || format!("{buckets} buckets"), "at most 32")?;
        self.buckets.values().try_for_each(BucketConfig::check)?;
        let mut names = BTreeSet::new();
        for name in self.cohorts.iter().filter_map(|rule| rule.name.as_ref()) {
            let found = || format!("two rules named {name}");
            bounded("cohorts", names.insert(name), found, "a different name for each named rule")?;
        }
        for (name, value) in &self.env {
            let bytes = name.len() + value.len();
            let fine = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            bounded("env", fine, || format!("{name:?}"), "a name without `=` and no NUL characters")?;
            bounded(
                "env",
                bytes <= ENV_BYTES_MAX,
                || format!("{bytes} bytes in {name:?}"),
                "at most 32 KiB per variable",
            )?;
            let is_free = !self.secrets_env || !self.secrets.contains(name.as_str());
            let found = || format!("{name:?} in both `env` and `secrets`");
            bounded("secrets_env", is_free, found, "different names, because both are variables")?;
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        bounded(
            "memory",
            (64 << 10..=4 << 30).contains(&self.memory_bytes),
            || format!("{} bytes", self.memory_bytes),
            "64KiB to 4GiB",
        )?;
        bounded(
            "timeout",
            (Duration::from_millis(1)..=3600 * second).contains(&self.timeout),
            || format!("{:?}", self.timeout),
            "1ms to 1h",
        )?;
        if let Some(cpu) = self.cpu {
            bounded(
                "cpu",
                (Duration::from_millis(1)..=3600 * second).contains(&cpu),
                || format!("{cpu:?}"),
                "1ms to 1h",
            )?;
        }
        bounded(
            "concurrency",
            (1..=100_000).contains(&self.concurrency),
            || self.concurrency.to_string(),
            "1 to 100000",
        )?;
        bounded("queue", self.queue <= 100_000, || self.queue.to_string(), "0 to 100000")?;
        bounded(
            "queue_wait",
            self.queue_wait <= 60 * second,
            || format!("{:?}", self.queue_wait),
            "0s to 60s",
        )?;
        bounded("reuse", (1..=1_000_000).contains(&self.reuse), || self.reuse.to_string(), "1 to 1000000")?;
        self.egress.check()
    }
}

impl EgressLimits {
    fn check(&self) -> Result<(), ConfigError> {
        bounded(
            "egress_requests",
            (1..=100_000).contains(&self.requests),
            || self.requests.to_string(),
            "1 to 100000",
        )?;
        bounded(
            "egress_bytes",
            (1 << 10..=1 << 40).contains(&self.bytes),
            || format!("{} bytes", self.bytes),
            "1KiB to 1TiB",
        )?;
        let Some(timeout) = self.timeout else { return Ok(()) };
        bounded(
            "egress_timeout",
            (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&timeout),
            || format!("{timeout:?}"),
            "1ms to 1h",
        )
    }
}

pub(super) fn bounded(
    key: &'static str,
    holds: bool,
    found: impl FnOnce() -> String,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError { key, found: found(), expected }) }
}

#[cfg(test)]
mod tests;
