//! The route table: maps host and path to a stage.
//!
//! A request probes the paths of its host once for each of its prefixes that ends at a segment boundary,
//! longest first, and only at depths that some route has. With ten thousand functions at `/name/*` that is
//! one probe.

use std::{borrow::Cow, fmt, sync::Arc};

use foldhash::fast::FixedState;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use wasm_fn_core::{FunctionName, Revision, Route, StageName};

use crate::{RouteClash, Stage, paths::Paths};

/// Every stage, and how requests reach it, at one revision.
///
/// Holding one proves that no route leads to two stages.
pub struct RouteTable<V> {
    revision: Revision,
    functions: RedBlackTreeMapSync<FunctionName, FunctionStages<V>>,
    any_host: Paths<V>,
    // Invariant: keys are lower case and without port.
    hosts: Hosts<V>,
    host_bytes_max: usize,
}

/// The stages of one function.
// Invariant: at least one, sorted by name.
type FunctionStages<V> = Arc<[Arc<Stage<V>>]>;

type Hosts<V> = HashTrieMapSync<Box<str>, Paths<V>, FixedState>;

impl<V> RouteTable<V> {
    /// The table before the first deployment: revision 0, without stages.
    pub fn empty() -> Self {
        Self::reserved(Revision::default(), FixedState::default(), 0)
    }

    /// A table without stages, for about `stages` of them.
    fn reserved(revision: Revision, hasher: FixedState, stages: usize) -> Self {
        Self {
            revision,
            functions: RedBlackTreeMapSync::new_sync(),
            any_host: Paths::new(hasher.clone(), stages),
            hosts: Hosts::new_with_hasher_and_ptr_kind(hasher),
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
        let mut table = Self::reserved(revision, FixedState::with_seed(seed), stages.len());
        for stage in &stages {
            table.insert(stage)?;
        }
        stages.sort_by(|a, b| (a.function(), a.name()).cmp(&(b.function(), b.name())));
        for of_function in stages.chunk_by(|a, b| a.function() == b.function()) {
            table.functions.insert_mut(of_function[0].function().clone(), of_function.into());
        }
        Ok(table)
    }

    /// This table at `revision`, with `stages` in place of those of `function`.
    ///
    /// It shares all that stays the same, so it costs what changes, however many functions there are.
    ///
    /// # Errors
    /// Two stages claim the same route.
    pub fn with(
        &self,
        revision: Revision,
        function: &FunctionName,
        mut stages: Vec<Arc<Stage<V>>>,
    ) -> Result<Self, RouteClash> {
        if self.functions.is_empty() {
            return Self::new(revision, stages);
        }
        let mut table = Self {
            revision,
            functions: self.functions.clone(),
            any_host: self.any_host.roomy(),
            hosts: self.hosts.clone(),
            host_bytes_max: self.host_bytes_max,
        };
        for stage in self.stages_of(function) {
            table.remove(stage);
        }
        for stage in &stages {
            table.insert(stage)?;
        }
        if stages.is_empty() {
            table.functions.remove_mut(function);
        } else {
            stages.sort_by(|a, b| a.name().cmp(b.name()));
            table.functions.insert_mut(function.clone(), stages.into());
        }
        Ok(table)
    }

    fn insert(&mut self, stage: &Arc<Stage<V>>) -> Result<(), RouteClash> {
        for route in stage.routes() {
            let Some(host) = route.host() else {
                self.any_host.insert(route, stage)?;
                continue;
            };
            self.host_bytes_max = self.host_bytes_max.max(host.len());
            if !self.hosts.contains_key(host) {
                self.hosts.insert_mut(host.into(), Paths::new(self.any_host.hasher().clone(), 0));
            }
            let paths = self.hosts.get_mut(host).expect("it was just inserted");
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
            if let Some(paths) = self.hosts.get_mut(host) {
                paths.remove(route);
                if paths.is_empty() {
                    self.hosts.remove_mut(host);
                }
            }
        }
    }

    /// The revision of the table.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every stage, by function and name.
    pub fn stages(&self) -> impl Iterator<Item = &Arc<Stage<V>>> {
        self.functions.values().flat_map(|stages| stages.iter())
    }

    /// The stages of `function`, by name; none if there is no such function.
    pub fn stages_of(&self, function: &FunctionName) -> &[Arc<Stage<V>>] {
        self.functions.get(function).map_or(&[], |stages| stages)
    }

    /// The stage called `name` of `function`.
    pub fn stage(&self, function: &FunctionName, name: &StageName) -> Option<&Arc<Stage<V>>> {
        let stages = self.stages_of(function);
        stages.binary_search_by(|stage| stage.name().cmp(name)).ok().map(|at| &stages[at])
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
        let host = bare(host);
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

/// The name in an authority. A name with a dot at its end is the same name (RFC 1034, section 3.1).
fn bare(authority: &str) -> &str {
    let host = without_port(authority);
    host.strip_suffix('.').unwrap_or(host)
}

/// That of `routes`, which lead to one stage, by which [`RouteTable::find`] finds it for `path` on `host`;
/// `None` if none does.
///
/// This looks at all of them: `find` is for requests.
pub fn matching_route<'a>(routes: &'a [Route], host: Option<&str>, path: &str) -> Option<&'a Route> {
    let host = host.map(bare);
    let has_host = |own: &str| host.is_some_and(|host| host.eq_ignore_ascii_case(own));
    let leads = |route: &&Route| {
        let covers = |rest: &str| rest.is_empty() || (route.below() && rest.starts_with('/'));
        route.host().is_none_or(has_host) && path.strip_prefix(route.path()).is_some_and(covers)
    };
    let leading = routes.iter().filter(leads);
    leading.max_by_key(|route| (route.host().is_some(), route.path().len(), !route.below()))
}

/// The `host` of `host[:port]`, with the brackets of an IPv6 address.
pub(crate) fn without_port(authority: &str) -> &str {
    let from = authority.find(']').unwrap_or(0);
    authority[from..].find(':').map_or(authority, |colon| &authority[..from + colon])
}

impl<V> fmt::Debug for RouteTable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTable")
            .field("revision", &self.revision)
            .field("functions", &self.functions)
            .finish()
    }
}

#[cfg(test)]
mod tests;
