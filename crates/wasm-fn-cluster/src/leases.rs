//! Leases: names of which each has one holder at most.
//!
//! All leases are in one message, the table, which is replaced by compare-and-set. Each node writes it once
//! in a while with a new beat of its own. A node whose beat has not changed for the time of a lease, by the
//! clock of the node that looks, is taken out, and its leases with it. A holder counts on its leases for less
//! than that, from before it sent its last beat. So neither the broker's clock nor its own limits of time
//! matter.

mod keeper;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::looking;

pub(crate) use self::keeper::Keeper;
pub use self::table::LEASES_MAX;

/// The lease of the node that keeps the log short and collects components that nobody needs: whoever takes
/// part should [contend](Leases::contend) for it.
pub const HOUSEKEEPING: &str = "housekeeping";

/// The leases that a node has, and which it would take.
#[derive(Clone)]
pub struct Leases {
    shared: Arc<Shared>,
}

/// A lease that the node has at the moment that it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// A number that is greater each time that a lease is taken, by any node. What is written under a lease
    /// carries it, so that a holder that was stopped is refused by whoever has seen a greater one.
    pub fence: u64,
}

struct Shared {
    orders: watch::Sender<Orders>,
    held: Mutex<Held>,
    /// The names in `held`, as of the last look at the clock.
    told: watch::Sender<BTreeSet<String>>,
    /// Leases that the node has and another is to have.
    surplus: watch::Sender<BTreeSet<String>>,
    place: watch::Sender<Place>,
}

/// What the node wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Orders {
    wanted: BTreeSet<String>,
    spread: BTreeSet<String>,
    yielded: BTreeSet<String>,
    is_retiring: bool,
    is_member: bool,
}

impl Orders {
    fn want(&self, name: &str) -> bool {
        self.is_member && (self.wanted.contains(name) || self.spread.contains(name))
    }
}

/// What the node has.
#[derive(Debug, Default)]
struct Held {
    /// Until when it may count on it.
    until: Option<Instant>,
    /// The leases with their fences.
    leases: BTreeMap<String, u64>,
}

/// Whether the node has its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has none yet, or it is not known whether another node has its name.
    Unknown,
    /// It has one, and its name to itself.
    Own,
    /// Another node has its name.
    NameTaken,
    /// It has left.
    Left,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("held", &*self.shared.told.borrow()).finish_non_exhaustive()
    }
}

impl Leases {
    pub(crate) fn start(stop: CancellationToken) -> Self {
        let none = BTreeSet::new();
        let orders = Orders {
            wanted: none.clone(),
            spread: none.clone(),
            yielded: none,
            is_retiring: false,
            is_member: true,
        };
        let shared = Shared {
            orders: watch::channel(orders).0,
            held: Mutex::new(Held::default()),
            told: watch::channel(BTreeSet::new()).0,
            surplus: watch::channel(BTreeSet::new()).0,
            place: watch::channel(Place::Unknown).0,
        };
        let leases = Self { shared: Arc::new(shared) };
        let looking = leases.clone();
        looking::until(stop, move || {
            looking.look();
        });
        leases
    }

    /// Sets which leases the node would take. It gives back at once what is not among them.
    pub fn contend(&self, wanted: BTreeSet<String>) {
        let (spread, is_retiring) = {
            let orders = self.shared.orders.borrow();
            (orders.spread.clone(), orders.is_retiring)
        };
        let wanted = if is_retiring { BTreeSet::new() } else { wanted };
        let kept = |name: &String| wanted.contains(name) || spread.contains(name);
        // The orders come first: whoever takes leases looks at them while it has what the node holds.
        self.shared.orders.send_if_modified(|orders| {
            let is_new = orders.wanted != wanted;
            orders.wanted.clone_from(&wanted);
            is_new
        });
        self.change(|held| held.leases.retain(|name, _| kept(name)));
    }

    /// Sets which leases are spread over all nodes that do the same: the node takes its part of them, which
    /// changes as nodes come and go. What it has beyond that is told by [`surplus`](Self::surplus), and is
    /// kept until it is [yielded](Self::give_way).
    pub fn spread(&self, names: BTreeSet<String>) {
        self.shared.orders.send_if_modified(|orders| {
            let is_new = orders.spread != names;
            orders.spread = names;
            is_new
        });
    }

    /// Leases that this node has, and that are another node's part, as they change.
    pub fn surplus(&self) -> watch::Receiver<BTreeSet<String>> {
        self.shared.surplus.subscribe()
    }

    /// Sets which of the spread leases the node gives back if they are another node's part.
    pub fn give_way(&self, yielded: BTreeSet<String>) {
        self.shared.orders.send_if_modified(|orders| {
            let is_new = orders.yielded != yielded;
            orders.yielded = yielded;
            is_new
        });
    }

    /// Takes no more leases, gives back those that are not spread, and has the others be other nodes' parts.
    pub(crate) fn retire(&self) {
        self.shared.orders.send_modify(|orders| {
            orders.is_retiring = true;
            orders.wanted.clear();
        });
        let spread = self.shared.orders.borrow().spread.clone();
        self.change(|held| held.leases.retain(|name, _| spread.contains(name)));
    }

    /// The lease with this name, if the node has it now. It looks at the clock: a process that was stopped
    /// has nothing when it goes on.
    pub fn held(&self, name: &str) -> Option<Lease> {
        self.look();
        self.held_now().leases.get(name).map(|&fence| Lease { fence })
    }

    /// The names of the leases that the node has, as they change. One is gone from here before another node
    /// can have it, except that it lags by some milliseconds in a process that was stopped.
    pub fn watch(&self) -> watch::Receiver<BTreeSet<String>> {
        self.shared.told.subscribe()
    }

    pub(crate) fn place(&self) -> watch::Receiver<Place> {
        self.shared.place.subscribe()
    }

    /// Leaves the table or enters it again, and waits until that is so, at most `patience`.
    pub(crate) async fn set_member(&self, is_member: bool, patience: Duration) {
        let mut place = self.shared.place.subscribe();
        self.shared.orders.send_if_modified(|orders| {
            let is_new = orders.is_member != is_member;
            orders.is_member = is_member;
            is_new
        });
        if !is_member {
            self.change(|held| held.leases.clear());
        }
        let is_so = |place: &Place| (*place == Place::Left) != is_member;
        let _ = tokio::time::timeout(patience, place.wait_for(is_so)).await;
    }

    /// Takes out what has ended.
    fn look(&self) {
        self.change(|_| {});
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let mut held = self.held_now();
        change(&mut held);
        if held.until.is_none_or(|until| Instant::now() >= until) {
            held.leases.clear();
        }
        self.shared.told.send_if_modified(|told| {
            let is_same = told.iter().eq(held.leases.keys());
            if !is_same {
                *told = held.leases.keys().cloned().collect();
            }
            !is_same
        });
    }

    fn held_now(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while holding the lock.
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, place: Place) {
        self.shared.place.send_if_modified(|known| std::mem::replace(known, place) != place);
    }
}
