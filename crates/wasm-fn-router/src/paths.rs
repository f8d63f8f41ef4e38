//! The paths of one host, in a hash table that is cheap to read and to change.
//!
//! A slot, with a short key, is one line of the processor's cache, so a lookup among ten thousand functions
//! waits for memory once. Slots lie in shards, and shards in groups. A change copies one shard and one group,
//! and shares all others with the table before it, which requests may still read.

use std::{hash::BuildHasher as _, sync::Arc};

use foldhash::fast::FixedState;
use wasm_fn_core::Route;

use crate::{RouteClash, Stage};

/// Most slashes in a route's path (see [`Route`]); deeper prefixes of a request are not probed.
const DEPTH_MAX: usize = 16;

/// Average keys of a new shard.
const SHARD_KEYS: usize = 16;

/// Most shards in a group. There are so few groups that the list of them stays in the processor's caches, and
/// that each change can copy it.
const GROUP_SHARDS: usize = 64;

/// Longest key that fits its slot.
const SHORT_BYTES_MAX: usize = 38;

/// The paths of one host.
pub(crate) struct Paths<V> {
    // Invariant: their number is a power of two. All groups have equally many shards, which is another one.
    groups: Box<[Group<V>]>,
    hasher: FixedState,
    keys: usize,
    /// How many keys have `n` slashes.
    by_depth: [usize; DEPTH_MAX + 1],
    /// Bit `n` is set when some key has `n` slashes.
    depths: u32,
    /// No key is longer.
    path_bytes_max: usize,
}

type Group<V> = Arc<[Shard<V>]>;

/// Slots by hash, with linear probing.
// Invariant: no slots, or a power of two of which at least half are empty.
type Shard<V> = Arc<[PathSlot<V>]>;

/// The stages that are reachable at one path.
#[repr(align(64))]
struct PathSlot<V> {
    hash: u64,
    path: PathKey,
    /// At that path alone.
    exact: Option<Arc<Stage<V>>>,
    /// At that path and everything below it.
    below: Option<Arc<Stage<V>>>,
}

#[derive(Clone)]
enum PathKey {
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Box<[u8]>),
}

impl PathKey {
    fn new(path: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match (u8::try_from(path.len()), bytes.get_mut(..path.len())) {
            (Ok(len), Some(part)) => {
                part.copy_from_slice(path.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(path.as_bytes().into()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl<V> PathSlot<V> {
    fn empty() -> Self {
        Self { hash: 0, path: PathKey::new(""), exact: None, below: None }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_none() && self.below.is_none()
    }
}

impl<V> Clone for PathSlot<V> {
    fn clone(&self) -> Self {
        let Self { hash, path, exact, below } = self;
        Self { hash: *hash, path: path.clone(), exact: exact.clone(), below: below.clone() }
    }
}

impl<V> Clone for Paths<V> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone(), hasher: self.hasher.clone(), ..*self }
    }
}

impl<V> Paths<V> {
    /// An empty table for about `keys` keys. More make it slower.
    pub(crate) fn new(hasher: FixedState, keys: usize) -> Self {
        let empty: Shard<V> = Arc::from([]);
        Self {
            groups: grouped(vec![empty; shards_for(keys)]),
            hasher,
            keys: 0,
            by_depth: [0; DEPTH_MAX + 1],
            depths: 0,
            path_bytes_max: 0,
        }
    }

    /// This table, built anew if it holds many more keys than planned. Each key is moved a few times in its
    /// life, however many there are.
    pub(crate) fn roomy(&self) -> Self {
        let shards = self.groups.len() * self.groups[0].len();
        if self.keys <= 4 * SHARD_KEYS * shards {
            return self.clone();
        }
        let shards = shards_for(self.keys);
        let mut slots: Vec<_> = (0..shards).map(|_| Vec::new()).collect();
        let filled = self.groups.iter().flat_map(|group| group.iter().flat_map(|shard| shard.iter()));
        for slot in filled.filter(|slot| !slot.is_empty()) {
            slots[index(slot.hash >> 32, shards)].push(slot.clone());
        }
        let groups = grouped(slots.into_iter().map(shard_of).collect());
        Self { groups, hasher: self.hasher.clone(), ..*self }
    }

    pub(crate) fn hasher(&self) -> &FixedState {
        &self.hasher
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Makes `route` lead to `stage`.
    ///
    /// # Errors
    /// It leads to another stage.
    pub(crate) fn insert(&mut self, route: &Route, stage: &Arc<Stage<V>>) -> Result<(), RouteClash> {
        let mut first = None;
        self.change(route, |place| first = Some(Arc::clone(place.get_or_insert_with(|| Arc::clone(stage)))));
        match first {
            Some(first) if !Arc::ptr_eq(&first, stage) => {
                let claim = |stage: &Stage<V>| (stage.function().clone(), stage.name().clone());
                Err(RouteClash { route: route.clone(), first: claim(&first), second: claim(stage) })
            }
            _ => Ok(()),
        }
    }

    /// Removes `route`.
    pub(crate) fn remove(&mut self, route: &Route) {
        self.change(route, |place| *place = None);
    }

    fn change(&mut self, route: &Route, change: impl FnOnce(&mut Option<Arc<Stage<V>>>)) {
        let path = route.path();
        let hash = self.hasher.hash_one(path.as_bytes());
        let (group, shard) = self.place(hash);
        let shard = &mut Arc::make_mut(&mut self.groups[group])[shard];
        let mut slots: Vec<_> = shard.iter().filter(|slot| !slot.is_empty()).cloned().collect();
        let before = slots.len();
        let same = |slot: &PathSlot<V>| slot.hash == hash && slot.path.as_bytes() == path.as_bytes();
        let at = slots.iter().position(same).unwrap_or_else(|| {
            slots.push(PathSlot { hash, path: PathKey::new(path), ..PathSlot::empty() });
            before
        });
        let slot = &mut slots[at];
        change(if route.below() { &mut slot.below } else { &mut slot.exact });
        slots.retain(|slot| !slot.is_empty());
        let after = slots.len();
        *shard = shard_of(slots);

        let depth = path.bytes().filter(|&b| b == b'/').count();
        self.keys = self.keys + after - before;
        self.by_depth[depth] = self.by_depth[depth] + after - before;
        let bit = 1 << depth;
        self.depths = if self.by_depth[depth] > 0 { self.depths | bit } else { self.depths & !bit };
        self.path_bytes_max = self.path_bytes_max.max(path.len());
    }

    /// The stage at exactly `path`, else at its longest prefix.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Stage<V>>> {
        let path = path.as_bytes();
        // `ends[n]` is where the prefix with `n` slashes ends: before slash `n + 1`. Nothing beyond the
        // longest key is read, so a long hostile path costs nothing.
        let mut ends = [0; DEPTH_MAX + 1];
        let mut depth = 0;
        let readable = path.len().min(self.path_bytes_max + 1);
        for (at, &byte) in path[..readable].iter().enumerate() {
            if byte == b'/' {
                if depth > DEPTH_MAX {
                    break;
                }
                ends[depth] = at;
                depth += 1;
            }
        }
        // The whole path is probed too, unless it is longer or deeper than every key.
        if path.len() <= self.path_bytes_max
            && depth <= DEPTH_MAX
            && self.has_depth(depth)
            && let Some(slot) = self.slot(path)
            && let Some(stage) = slot.exact.as_ref().or(slot.below.as_ref())
        {
            return Some(stage);
        }
        (0..depth)
            .rev()
            .filter(|&depth| self.has_depth(depth))
            .find_map(|depth| self.slot(&path[..ends[depth]])?.below.as_ref())
    }

    fn slot(&self, path: &[u8]) -> Option<&PathSlot<V>> {
        let hash = self.hasher.hash_one(path);
        let (group, shard) = self.place(hash);
        let shard = &self.groups[group][shard];
        let mut at = if shard.is_empty() { return None } else { index(hash, shard.len()) };
        while !shard[at].is_empty() {
            if shard[at].hash == hash && shard[at].path.as_bytes() == path {
                return Some(&shard[at]);
            }
            at = (at + 1) & (shard.len() - 1);
        }
        None
    }

    /// The group of the key with this `hash`, and the shard in it.
    fn place(&self, hash: u64) -> (usize, usize) {
        let shards = self.groups[0].len();
        (index(hash >> 32 >> GROUP_SHARDS.ilog2(), self.groups.len()), index(hash >> 32, shards))
    }

    fn has_depth(&self, depth: usize) -> bool {
        self.depths & (1 << depth) != 0
    }
}

/// How many shards suit `keys` keys.
fn shards_for(keys: usize) -> usize {
    (keys / SHARD_KEYS).next_power_of_two()
}

/// The `shards` in groups.
fn grouped<V>(shards: Vec<Shard<V>>) -> Box<[Group<V>]> {
    shards.chunks(GROUP_SHARDS).map(Group::from).collect()
}

/// Builds a shard of `slots`.
fn shard_of<V>(slots: Vec<PathSlot<V>>) -> Shard<V> {
    if slots.is_empty() {
        return Arc::from([]);
    }
    let len = (2 * slots.len()).next_power_of_two();
    let mut shard: Vec<_> = (0..len).map(|_| PathSlot::empty()).collect();
    for slot in slots {
        let mut at = index(slot.hash, len);
        while !shard[at].is_empty() {
            at = (at + 1) & (len - 1);
        }
        shard[at] = slot;
    }
    shard.into()
}

/// Index for `hash` among `len` slots, a power of two.
fn index(hash: u64, len: usize) -> usize {
    usize::try_from(hash & (len as u64 - 1)).expect("below a length")
}
