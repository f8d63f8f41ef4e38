//! The shards that this process has, and when it gives one up that another node is to have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// How long a shard that another node is to have takes no events, so that those in flight end.
const LEAVE_FOR: Duration = Duration::from_secs(5);

/// How long it takes events again if they did not end.
const STAY_FOR: Duration = Duration::from_secs(30);

/// The shards that this process has.
pub(super) struct Holdings {
    held: Mutex<BTreeMap<u16, Held>>,
    /// Changes whenever `held` does.
    generation: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The number of its lease.
    pub(super) fence: u64,
    turn: Turn,
}

impl Held {
    /// A shard that was just taken.
    pub(super) fn new(fence: u64) -> Self {
        Self { fence, turn: Turn::Stays(None) }
    }
}

/// What is done with a shard that another node is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It takes events, at least until then.
    Stays(Option<Instant>),
    /// It takes none, until then.
    Leaves(Instant),
}

impl Holdings {
    pub(super) fn new() -> Self {
        Self { held: Mutex::default(), generation: watch::channel(0).0 }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, BTreeMap<u16, Held>> {
        // Nothing panics while holding the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut BTreeMap<u16, Held>)) {
        change(&mut self.held());
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The fence of a shard that the process has, and whether it takes events.
    pub(super) fn of(&self, shard: u16) -> Option<(u64, bool)> {
        let held = self.held().get(&shard).copied()?;
        Some((held.fence, matches!(held.turn, Turn::Stays(_))))
    }

    pub(super) fn clear(&self) {
        self.change(BTreeMap::clear);
    }

    /// Gives up those shards that `others` are to have, unless they are `busy` with what is in flight.
    /// Returns which are given up, with those that the process does not have at all, and whether anything
    /// changed.
    pub(super) fn give_up(&self, others: &BTreeSet<u16>, busy: &BTreeSet<u16>) -> (BTreeSet<u16>, bool) {
        let now = Instant::now();
        let (mut yielded, mut changed) = (BTreeSet::new(), false);
        let mut held = self.held();
        for (shard, held) in held.iter_mut() {
            let turn = match held.turn {
                _ if !others.contains(shard) => Turn::Stays(None),
                Turn::Stays(until) if until.is_none_or(|until| until <= now) => Turn::Leaves(now + LEAVE_FOR),
                Turn::Leaves(until) if busy.contains(shard) && until <= now => {
                    Turn::Stays(Some(now + STAY_FOR))
                }
                turn => turn,
            };
            if matches!(turn, Turn::Leaves(_)) && !busy.contains(shard) {
                yielded.insert(*shard);
            }
            changed |= std::mem::discriminant(&turn) != std::mem::discriminant(&held.turn);
            held.turn = turn;
        }
        let before = held.len();
        held.retain(|shard, _| !yielded.contains(shard));
        changed |= held.len() != before;
        yielded.extend(others.iter().filter(|shard| !held.contains_key(shard)));
        (yielded, changed)
    }
}
