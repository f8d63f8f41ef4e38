//! The table of leases, and who is thought to be gone. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Add,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Leases in a cluster at most. With long names they are as many as fit in one message.
pub const LEASES_MAX: usize = 4000;

/// The format of tables that this program writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 1;

/// Who is in the cluster, and who has which lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    format: u64,
    /// The fence of the lease that was taken last.
    pub(super) fence: u64,
    /// How many nodes have entered so far.
    entered: u64,
    /// Nodes by the id of the process.
    pub(super) nodes: BTreeMap<String, TableNode>,
    pub(super) leases: BTreeMap<String, TableLease>,
}

/// A node of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableNode {
    pub(super) name: String,
    /// A new number each time that the node writes the table. It is drawn, since a broker that lost what it
    /// acknowledged would else show a number again that was seen before.
    pub(super) beat: u64,
    /// The how manieth it was to enter.
    pub(super) entered: u64,
    /// Whether it takes its part of the leases that are spread over the nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) spreads: bool,
}

/// A lease of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableLease {
    /// The id of the process that has it.
    pub(super) holder: String,
    pub(super) fence: u64,
}

/// What a node would have the table be.
pub(super) struct Wish<'a> {
    /// The id of the process.
    pub(super) instance: &'a str,
    pub(super) name: &'a str,
    /// A drawn number.
    pub(super) beat: u64,
    /// Whether the node stays.
    pub(super) is_member: bool,
    /// Whether it gets no part of what is spread any more.
    pub(super) is_retiring: bool,
    pub(super) wanted: &'a BTreeSet<String>,
    /// Leases that all nodes want, and of which each is to have its part.
    pub(super) spread: &'a BTreeSet<String>,
    /// Those of them that the node gives back, if they are not of its part.
    pub(super) yielded: &'a BTreeSet<String>,
    /// Processes that are gone.
    pub(super) gone: &'a BTreeSet<String>,
    /// Whether it may take what nobody has.
    pub(super) may_take: bool,
    /// The greatest fence that it has seen.
    pub(super) fence: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self { format: FORMAT, fence: 0, entered: 0, nodes: BTreeMap::new(), leases: BTreeMap::new() }
    }
}

impl Table {
    /// Reads a table.
    pub(super) fn read(payload: &[u8]) -> Result<Self, String> {
        let table: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        if table.format > FORMAT {
            return Err(format!("table of leases has format {}, expected at most {FORMAT}", table.format));
        }
        Ok(table)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of texts and numbers is JSON")
    }

    /// The table that `wish` makes of this one.
    pub(super) fn next(&self, wish: &Wish<'_>) -> Self {
        let mut next = self.clone();
        next.nodes.retain(|instance, _| !wish.gone.contains(instance));
        let spreads = !wish.spread.is_empty() && !wish.is_retiring;
        if !wish.is_member {
            next.nodes.remove(wish.instance);
        } else if let Some(me) = next.nodes.get_mut(wish.instance) {
            (me.beat, me.spreads) = (wish.beat, spreads);
        } else {
            next.entered += 1;
            let (name, entered) = (wish.name.to_owned(), next.entered);
            let node = TableNode { name, beat: wish.beat, entered, spreads };
            next.nodes.insert(wish.instance.to_owned(), node);
        }
        let part: BTreeSet<&String> =
            wish.spread.iter().filter(|name| next.place_of(name) == Some(wish.instance)).collect();
        let nodes = &next.nodes;
        let is_wanted = |name: &String| {
            wish.wanted.contains(name)
                || (wish.spread.contains(name) && (part.contains(name) || !wish.yielded.contains(name)))
        };
        next.leases.retain(|name, lease| {
            nodes.contains_key(&lease.holder) && (lease.holder != wish.instance || is_wanted(name))
        });
        next.fence = next.fence.max(wish.fence);
        if wish.is_member && wish.may_take {
            for name in wish.wanted.iter().chain(part) {
                if next.leases.len() < LEASES_MAX && !next.leases.contains_key(name) {
                    next.fence += 1;
                    let lease = TableLease { holder: wish.instance.to_owned(), fence: next.fence };
                    next.leases.insert(name.clone(), lease);
                }
            }
        }
        next
    }

    /// The process that is to have a lease which is spread over the nodes. When a node comes or goes, only
    /// those leases change that it has or is to have (rendezvous hashing; Thaler and Ravishankar, 1998).
    fn place_of(&self, name: &str) -> Option<&str> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.spreads);
        let best = nodes.max_by_key(|(instance, node)| (weight(&node.name, name), *instance));
        best.map(|(instance, _)| instance.as_str())
    }

    /// Those of the leases `spread` that a process has and another is to have.
    pub(super) fn surplus(&self, instance: &str, spread: &BTreeSet<String>) -> BTreeSet<String> {
        let own =
            self.leases.iter().filter(|(name, lease)| lease.holder == instance && spread.contains(*name));
        let other = own.filter(|(name, _)| self.place_of(name).is_some_and(|place| place != instance));
        other.map(|(name, _)| name.clone()).collect()
    }

    /// The leases of one process, with their fences.
    pub(super) fn leases_of(&self, instance: &str) -> BTreeMap<String, u64> {
        let own = self.leases.iter().filter(|(_, lease)| lease.holder == instance);
        own.map(|(name, lease)| (name.clone(), lease.fence)).collect()
    }

    /// Whether `next` has nobody for a lease that somebody has here.
    pub(super) fn frees(&self, next: &Self) -> bool {
        self.leases.keys().any(|name| !next.leases.contains_key(name))
    }
}

/// How much the node called `node` is for having `lease`. All nodes compute the same, in all releases:
/// FNV-1a, and then the end of MurmurHash3, since the last bytes of a name would else change only the last
/// bits.
fn weight(node: &str, lease: &str) -> u64 {
    let bytes = node.bytes().chain([0]).chain(lease.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Since when each node has shown the same beat.
#[derive(Debug)]
pub(super) struct Watched<T> {
    nodes: BTreeMap<String, Seen<T>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen<T> {
    beat: u64,
    since: T,
    has_changed: bool,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Watched<T> {
    /// Takes a look at `table`, which was received at `now`.
    pub(super) fn see(&mut self, table: &Table, now: T) {
        self.nodes.retain(|instance, _| table.nodes.contains_key(instance));
        for (instance, node) in &table.nodes {
            let new = Seen { beat: node.beat, since: now, has_changed: false };
            let seen = self.nodes.entry(instance.clone()).or_insert(new);
            if seen.beat != node.beat {
                *seen = Seen { has_changed: true, ..new };
            }
        }
    }

    /// The nodes other than `me` that have shown the same beat for the time of a lease.
    pub(super) fn gone(&self, me: &str, lease: Duration, now: T) -> BTreeSet<String> {
        let gone = self.nodes.iter().filter(|(instance, seen)| *instance != me && seen.since + lease <= now);
        gone.map(|(instance, _)| instance.clone()).collect()
    }

    /// When the next node is gone, if none of them beats.
    pub(super) fn next_gone(&self, me: &str, lease: Duration) -> Option<T> {
        let others = self.nodes.iter().filter(|(instance, _)| *instance != me);
        others.map(|(_, seen)| seen.since + lease).min()
    }

    /// Whether a node was seen to beat, and since when it has shown the same beat.
    pub(super) fn beats(&self, instance: &str) -> Option<(bool, T)> {
        self.nodes.get(instance).map(|seen| (seen.has_changed, seen.since))
    }
}

#[cfg(test)]
mod tests;
