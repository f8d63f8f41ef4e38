//! The route table: host and path to stage.
//!
//! Routes are hash-map entries keyed by their path. A request probes the map once for each of its
//! prefixes that ends at a segment boundary, longest first, and only at the depths that some route has:
//! with a thousand functions at `/name/*` that is one probe.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use foldhash::fast::FixedState;
use wasm_fn_core::{Revision, Route};

use crate::{RouteClash, Stage};

/// Most `/` in a route's path (see [`Route`]); deeper prefixes of a request are not probed.
const DEPTH_MAX: usize = 16;

/// Every stage and how requests reach it, at one revision.
///
/// Holding one proves that no route leads to two stages.
pub struct RouteTable<V> {
    revision: Revision,
    stages: Box<[Arc<Stage<V>>]>,
    any_host: Paths<V>,
    // Invariant: keys are lower case and without port.
    hosts: HashMap<Box<str>, Paths<V>, FixedState>,
    host_bytes_max: usize,
}

/// The paths of one host.
struct Paths<V> {
    by_path: HashMap<Box<str>, Slot<V>, FixedState>,
    /// Bit `n` is set when some key has `n` slashes.
    depths: u32,
    path_bytes_max: usize,
}

/// What is reachable at one path.
struct Slot<V> {
    /// By that path alone.
    exact: Option<Arc<Stage<V>>>,
    /// By that path and everything below it.
    below: Option<Arc<Stage<V>>>,
}

impl<V> RouteTable<V> {
    /// The table before anything is deployed: revision 0, nothing found.
    pub fn empty() -> Self {
        Self {
            revision: Revision::default(),
            stages: Box::default(),
            any_host: Paths::new(FixedState::default()),
            hosts: HashMap::with_hasher(FixedState::default()),
            host_bytes_max: 0,
        }
    }

    /// The table of `stages` at `revision`.
    ///
    /// # Errors
    /// When two stages claim the same route.
    pub fn new(revision: Revision, stages: Vec<Arc<Stage<V>>>) -> Result<Self, RouteClash> {
        // The keys are ours, so that a fixed seed would do; the salts make collisions unpredictable
        // even for tenants who choose names.
        let seed = stages.iter().fold(0, |seed: u64, stage| seed.rotate_left(7) ^ stage.salt().0[0]);
        let hasher = FixedState::with_seed(seed);
        let mut any_host = Paths::new(hasher.clone());
        let mut hosts: HashMap<Box<str>, Paths<V>, _> = HashMap::with_hasher(hasher.clone());
        for stage in &stages {
            for route in stage.routes() {
                let paths = match route.host() {
                    None => &mut any_host,
                    Some(host) => hosts.entry(host.into()).or_insert_with(|| Paths::new(hasher.clone())),
                };
                paths.insert(route, stage)?;
            }
        }
        let host_bytes_max = hosts.keys().map(|host| host.len()).max().unwrap_or(0);
        Ok(Self { revision, stages: stages.into(), any_host, hosts, host_bytes_max })
    }

    /// The revision it shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Every stage, in the order given.
    pub fn stages(&self) -> &[Arc<Stage<V>>] {
        &self.stages
    }

    /// The stage that answers `path` on `host`.
    ///
    /// `host` is the authority as the client sent it: any case, with or without a port. `path` is the
    /// path as it is on the wire, without the query. Routes of the host come before routes of every
    /// host; among each, the exact path comes before prefixes, and a longer prefix before a shorter one.
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

impl<V> Paths<V> {
    fn new(hasher: FixedState) -> Self {
        Self { by_path: HashMap::with_hasher(hasher), depths: 0, path_bytes_max: 0 }
    }

    fn insert(&mut self, route: &Route, stage: &Arc<Stage<V>>) -> Result<(), RouteClash> {
        let slot = self.by_path.entry(route.path().into()).or_insert(Slot { exact: None, below: None });
        let place = if route.below() { &mut slot.below } else { &mut slot.exact };
        let first = place.get_or_insert_with(|| Arc::clone(stage));
        if !Arc::ptr_eq(first, stage) {
            let claim = |stage: &Stage<V>| (stage.function().clone(), stage.name().clone());
            return Err(RouteClash { route: route.clone(), first: claim(first), second: claim(stage) });
        }
        self.depths |= 1 << route.path().bytes().filter(|&b| b == b'/').count();
        self.path_bytes_max = self.path_bytes_max.max(route.path().len());
        Ok(())
    }

    fn find(&self, path: &str) -> Option<&Arc<Stage<V>>> {
        // `ends[n]` is where the prefix with `n` slashes ends: before slash `n + 1`. Nothing beyond the
        // longest key is read, so the length of a hostile path costs nothing.
        let mut ends = [0; DEPTH_MAX + 1];
        let mut depth = 0;
        let readable = path.len().min(self.path_bytes_max + 1);
        for (at, &byte) in path.as_bytes()[..readable].iter().enumerate() {
            if byte == b'/' {
                if depth > DEPTH_MAX {
                    break;
                }
                ends[depth] = at;
                depth += 1;
            }
        }
        // The whole path is a prefix of itself, unless it is longer or deeper than every key.
        if path.len() <= self.path_bytes_max
            && depth <= DEPTH_MAX
            && self.has_depth(depth)
            && let Some(slot) = self.by_path.get(path)
            && let Some(stage) = slot.exact.as_ref().or(slot.below.as_ref())
        {
            return Some(stage);
        }
        (0..depth)
            .rev()
            .filter(|&depth| self.has_depth(depth))
            .find_map(|depth| self.by_path.get(&path[..ends[depth]])?.below.as_ref())
    }

    fn has_depth(&self, depth: usize) -> bool {
        self.depths & (1 << depth) != 0
    }
}

/// `host` of `host[:port]`, brackets of an IPv6 address included.
fn without_port(authority: &str) -> &str {
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
