//! The route table: maps host and path to a stage.
//!
//! A request probes the paths of its host once for each of its prefixes that ends at a segment boundary,
//! longest first, and only at depths that some route has. With ten thousand functions at `/name/*` that is
//! one probe.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use foldhash::fast::FixedState;
use wasm_fn_core::{FunctionName, Revision, StageName};

use crate::{RouteClash, Stage, paths::Paths};

/// Every stage, and how requests reach it, at one revision.
///
/// Holding one proves that no route leads to two stages.
pub struct RouteTable<V> {
    revision: Revision,
    // Invariant: sorted by function and name.
    stages: Box<[Arc<Stage<V>>]>,
    any_host: Paths<V>,
    // Invariant: keys are lower case and without port.
    hosts: Arc<Hosts<V>>,
    host_bytes_max: usize,
}

type Hosts<V> = HashMap<Box<str>, Paths<V>, FixedState>;

impl<V> RouteTable<V> {
    /// The table before the first deployment: revision 0, without stages.
    pub fn empty() -> Self {
        Self {
            revision: Revision::default(),
            stages: Box::default(),
            any_host: Paths::new(FixedState::default(), 0),
            hosts: Arc::new(HashMap::with_hasher(FixedState::default())),
            host_bytes_max: 0,
        }
    }

    /// A table of `stages` at `revision`.
    ///
    /// # Errors
    /// Two stages claim the same route.
    pub fn new(revision: Revision, mut stages: Vec<Arc<Stage<V>>>) -> Result<Self, RouteClash> {
        // A fixed seed would do for keys of our own. The salts make collisions unpredictable for tenants who
        // choose names, too.
        let seed = stages.iter().fold(0, |seed: u64, stage| seed.rotate_left(7) ^ stage.salt().0[0]);
        let hasher = FixedState::with_seed(seed);
        let mut table = Self {
            revision,
            stages: Box::default(),
            any_host: Paths::new(hasher.clone(), stages.len()),
            hosts: Arc::new(HashMap::with_hasher(hasher)),
            host_bytes_max: 0,
        };
        for stage in &stages {
            table.insert(stage)?;
        }
        stages.sort_by(|a, b| key(a).cmp(&key(b)));
        table.stages = stages.into();
        Ok(table)
    }

    /// This table at `revision`, with `stages` in place of those of `function`.
    ///
    /// It shares all that stays the same. So it takes microseconds, where a new table of thousands of
    /// functions takes milliseconds.
    ///
    /// # Errors
    /// Two stages claim the same route.
    pub fn with(
        &self,
        revision: Revision,
        function: &FunctionName,
        mut stages: Vec<Arc<Stage<V>>>,
    ) -> Result<Self, RouteClash> {
        stages.sort_by(|a, b| key(a).cmp(&key(b)));
        let begin = self.stages.partition_point(|stage| stage.function() < function);
        let end = self.stages.partition_point(|stage| stage.function() <= function);
        let (before, after) = (&self.stages[..begin], &self.stages[end..]);
        let all = || before.iter().chain(&stages).chain(after).cloned().collect::<Vec<_>>();
        if self.stages.is_empty() || self.any_host.is_overfull() {
            return Self::new(revision, all());
        }
        let mut table = Self {
            revision,
            stages: all().into(),
            any_host: self.any_host.clone(),
            hosts: Arc::clone(&self.hosts),
            host_bytes_max: self.host_bytes_max,
        };
        for stage in &self.stages[begin..end] {
            table.remove(stage);
        }
        for stage in &stages {
            table.insert(stage)?;
        }
        Ok(table)
    }

    fn insert(&mut self, stage: &Arc<Stage<V>>) -> Result<(), RouteClash> {
        for route in stage.routes() {
            let paths = match route.host() {
                None => &mut self.any_host,
                Some(host) => {
                    self.host_bytes_max = self.host_bytes_max.max(host.len());
                    let hosts = Arc::make_mut(&mut self.hosts);
                    let hasher = hosts.hasher().clone();
                    hosts.entry(host.into()).or_insert_with(|| Paths::new(hasher, 0))
                }
            };
            paths.insert(route, stage)?;
        }
        Ok(())
    }

    fn remove(&mut self, stage: &Stage<V>) {
        for route in stage.routes() {
            let Some(host) = route.host() else {
                self.any_host.remove(route);
                continue;
            };
            let hosts = Arc::make_mut(&mut self.hosts);
            if let Some(paths) = hosts.get_mut(host) {
                paths.remove(route);
                if paths.is_empty() {
                    hosts.remove(host);
                }
            }
        }
    }

    /// The revision of the table.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every stage, by function and name.
    pub fn stages(&self) -> &[Arc<Stage<V>>] {
        &self.stages
    }

    /// The stage called `name` of `function`.
    pub fn stage(&self, function: &FunctionName, name: &StageName) -> Option<&Arc<Stage<V>>> {
        let at = self.stages.binary_search_by(|stage| key(stage).cmp(&(function, name))).ok()?;
        Some(&self.stages[at])
    }

    /// The stage that answers `path` on `host`.
    ///
    /// `host` is the authority as the client sent it, in any case, with or without a port. `path` is the path
    /// without the query, in its [normal form](wasm_fn_core::normal_path). Routes of the host come before
    /// routes of all hosts. Among each, the exact path comes before prefixes, and a longer prefix before a
    /// shorter one.
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<&Arc<Stage<V>>> {
        if !self.hosts.is_empty()
            && let Some(found) = host.and_then(|host| self.paths_of(host)).and_then(|paths| paths.find(path))
        {
            return Some(found);
        }
        self.any_host.find(path)
    }

    fn paths_of(&self, host: &str) -> Option<&Paths<V>> {
        let host = without_port(host);
        // A name with a dot at its end is the same name (RFC 1034, section 3.1).
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > self.host_bytes_max {
            return None;
        }
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        self.hosts.get(&*host)
    }
}

/// The key by which stages are sorted.
fn key<V>(stage: &Arc<Stage<V>>) -> (&FunctionName, &StageName) {
    (stage.function(), stage.name())
}

/// The `host` of `host[:port]`, with the brackets of an IPv6 address.
pub(crate) fn without_port(authority: &str) -> &str {
    let from = authority.find(']').unwrap_or(0);
    authority[from..].find(':').map_or(authority, |colon| &authority[..from + colon])
}

impl<V> fmt::Debug for RouteTable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTable").field("revision", &self.revision).field("stages", &self.stages).finish()
    }
}

#[cfg(test)]
mod tests;
