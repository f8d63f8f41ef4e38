//! The paths of one host: a hash table that is cheap to read and cheap to change.
//!
//! A slot is one line of the processor's cache, short key included, so a lookup among ten thousand functions
//! waits for memory once. Slots lie in shards; a change makes one shard anew and shares all others with the
//! table before it, which requests may still read.

use std::{hash::BuildHasher as _, sync::Arc};

use foldhash::fast::FixedState;
use wasm_fn_core::Route;

use crate::{RouteClash, Stage};

/// Most `/` in a route's path (see [`Route`]); deeper prefixes of a request are not probed.
const DEPTH_MAX: usize = 16;

/// Keys that a shard holds on average when it is made.
const SHARD_KEYS: usize = 16;

/// Longest key that lies in its slot.
const SHORT_BYTES_MAX: usize = 38;

/// The paths of one host.
pub(crate) struct Paths<V> {
    // Invariant: a power of two of them.
    shards: Box<[Shard<V>]>,
    hasher: FixedState,
    keys: usize,
    /// How many keys have `n` slashes.
    by_depth: [usize; DEPTH_MAX + 1],
    /// Bit `n` is set when some key has `n` slashes.
    depths: u32,
    /// No key is longer.
    path_bytes_max: usize,
}

/// Slots by hash, linearly probed.
// Invariant: none, or a power of two of them, at least half of them empty.
type Shard<V> = Arc<[Slot<V>]>;

/// What is reachable at one path.
#[repr(align(64))]
struct Slot<V> {
    hash: u64,
    path: Key,
    /// By that path alone.
    exact: Option<Arc<Stage<V>>>,
    /// By that path and everything below it.
    below: Option<Arc<Stage<V>>>,
}

#[derive(Clone)]
enum Key {
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Box<[u8]>),
}

impl Key {
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

impl<V> Slot<V> {
    fn empty() -> Self {
        Self { hash: 0, path: Key::new(""), exact: None, below: None }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_none() && self.below.is_none()
    }
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        let Self { hash, path, exact, below } = self;
        Self { hash: *hash, path: path.clone(), exact: exact.clone(), below: below.clone() }
    }
}

impl<V> Clone for Paths<V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), hasher: self.hasher.clone(), ..*self }
    }
}

impl<V> Paths<V> {
    /// Room for `keys`, and more at the price of speed.
    pub(crate) fn new(hasher: FixedState, keys: usize) -> Self {
        let shards = (keys / SHARD_KEYS).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Arc::from([])).collect(),
            hasher,
            keys: 0,
            by_depth: [0; DEPTH_MAX + 1],
            depths: 0,
            path_bytes_max: 0,
        }
    }

    /// Whether it has so many more keys than it was made for that it is better made anew.
    pub(crate) fn is_crowded(&self) -> bool {
        self.keys > 4 * SHARD_KEYS * self.shards.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Has `route` lead to `stage`.
    ///
    /// # Errors
    /// When it leads to another one.
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

    /// Has `route` lead nowhere.
    pub(crate) fn remove(&mut self, route: &Route) {
        self.change(route, |place| *place = None);
    }

    fn change(&mut self, route: &Route, change: impl FnOnce(&mut Option<Arc<Stage<V>>>)) {
        let path = route.path();
        let hash = self.hasher.hash_one(path.as_bytes());
        let shard = &mut self.shards[index(hash >> 32, self.shards.len())];
        let mut slots: Vec<_> = shard.iter().filter(|slot| !slot.is_empty()).cloned().collect();
        let before = slots.len();
        let same = |slot: &Slot<V>| slot.hash == hash && slot.path.as_bytes() == path.as_bytes();
        let at = slots.iter().position(same).unwrap_or_else(|| {
            slots.push(Slot { hash, path: Key::new(path), ..Slot::empty() });
            before
        });
        let slot = &mut slots[at];
        change(if route.below() { &mut slot.below } else { &mut slot.exact });
        slots.retain(|slot| !slot.is_empty());
        let after = slots.len();
        *shard = place(slots);

        let depth = path.bytes().filter(|&b| b == b'/').count();
        self.keys = self.keys + after - before;
        self.by_depth[depth] = self.by_depth[depth] + after - before;
        let bit = 1 << depth;
        self.depths = if self.by_depth[depth] > 0 { self.depths | bit } else { self.depths & !bit };
        self.path_bytes_max = self.path_bytes_max.max(path.len());
    }

    /// The stage at `path`: by exactly that path, else by its longest prefix.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Stage<V>>> {
        let path = path.as_bytes();
        // `ends[n]` is where the prefix with `n` slashes ends: before slash `n + 1`. Nothing beyond the
        // longest key is read, so the length of a hostile path costs nothing.
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
        // The whole path is a prefix of itself, unless it is longer or deeper than every key.
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

    fn slot(&self, path: &[u8]) -> Option<&Slot<V>> {
        let hash = self.hasher.hash_one(path);
        let shard = &self.shards[index(hash >> 32, self.shards.len())];
        let mut at = if shard.is_empty() { return None } else { index(hash, shard.len()) };
        while !shard[at].is_empty() {
            if shard[at].hash == hash && shard[at].path.as_bytes() == path {
                return Some(&shard[at]);
            }
            at = (at + 1) & (shard.len() - 1);
        }
        None
    }

    fn has_depth(&self, depth: usize) -> bool {
        self.depths & (1 << depth) != 0
    }
}

/// A shard of `slots`.
fn place<V>(slots: Vec<Slot<V>>) -> Shard<V> {
    if slots.is_empty() {
        return Arc::from([]);
    }
    let len = (2 * slots.len()).next_power_of_two();
    let mut shard: Vec<_> = (0..len).map(|_| Slot::empty()).collect();
    for slot in slots {
        let mut at = index(slot.hash, len);
        while !shard[at].is_empty() {
            at = (at + 1) & (len - 1);
        }
        shard[at] = slot;
    }
    shard.into()
}

/// Where `hash` belongs among `len`, a power of two.
fn index(hash: u64, len: usize) -> usize {
    usize::try_from(hash & (len as u64 - 1)).expect("below a length")
}
