//! The part of an analysis that is about the other nodes of a cluster.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use wasm_fn_core::NodeName;
use wasm_fn_rollout::{
    Baseline, EVERY, Event, Feed, Gate, GateScope, Joint, JointMessage, Place, Trapped, Verdict,
};

use super::{Analysis, Tallies, baseline, know};
use crate::{
    peers::Peers,
    report::NodeReport,
    state::{Rollout, RolloutId},
};

/// This node, as its analyses know it.
#[derive(Clone)]
pub(crate) struct ClusterNode {
    /// Its name.
    pub(crate) name: NodeName,
    /// Notified when there is something to tell at once.
    pub(crate) wake: Arc<Notify>,
    /// The others.
    pub(crate) peers: Arc<dyn Peers>,
}

/// The evidence of all nodes.
pub(super) struct Joined {
    joint: Mutex<Joint>,
    wake: Arc<Wake>,
    peers: Arc<dyn Peers>,
    leads: AtomicBool,
    // Whether someone waits for a verdict other than `wait`.
    pub(super) awaited: AtomicBool,
    // When it is this analysis's turn again.
    turns: Mutex<Option<Instant>>,
}

/// Wakes the task that tells the others.
struct Wake {
    node: Arc<Notify>,
    // Whether there is something to tell since the last turn.
    is_due: AtomicBool,
}

impl Wake {
    fn wake(&self) {
        self.is_due.store(true, Ordering::Release);
        self.node.notify_one();
    }
}

impl Joined {
    pub(super) fn lock(&self) -> MutexGuard<'_, Joint> {
        // Nothing panics while holding the lock, and the numbers stay valid.
        self.joint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node knows what the others decide.
    pub(super) fn is_in_touch(&self) -> bool {
        self.peers.is_in_touch()
    }

    /// When it is this analysis's turn again; `None` before the first.
    fn turns(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing panics while holding the lock.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a trap on this node.
    pub(super) fn trap(&self, trapped: &Trapped) {
        self.lock().trap(trapped);
        self.wake.wake();
    }

    /// Tells all that this node's own evidence fails the canary, and whether it must get no more requests.
    pub(super) fn fail(&self, found: String, withholds: bool) {
        let mut joint = self.lock();
        joint.fail(found);
        if withholds {
            joint.withhold();
        }
        drop(joint);
        self.wake.wake();
    }
}

impl Analysis {
    /// The analysis of `rollout` on `node`, one of several. The gate of all nodes' evidence continues from
    /// the stored state; that of this node's own begins without any.
    pub(crate) fn of_cluster(
        node: &ClusterNode,
        rollout: &Rollout,
        tallies: Tallies,
        changed: Arc<Notify>,
    ) -> Self {
        let spec = rollout.spec.gate();
        let baseline = baseline(rollout, &tallies);
        let gate = |scope, baseline: Baseline| {
            Gate::scoped(spec.clone(), rollout.gate_no, baseline, scope)
                .expect("a rollout's gate was checked")
        };
        let (mut own, fresh) = (gate(GateScope::Own, baseline.clone()), gate(GateScope::Joint, baseline));
        let stored = rollout.gate.clone();
        if let Some(state) = &stored {
            know(&mut own, state.known_traps.iter().copied());
        }
        let resumed = stored.and_then(|state| fresh.clone().resume(state).ok());
        let mut all = resumed.unwrap_or(fresh);
        know(&mut own, tallies.base.traps());
        know(&mut all, tallies.base.traps());
        let place = rollout.phase.place().unwrap_or(Place::Watch);
        let by_cohort = rollout.spec.plan().is_by_cohort(place);
        let place = number(place);
        let now = crate::clock::instant();
        // Evidence that begins anew counts as that of another life of the node.
        let instance = rand::random();
        let wake = Arc::new(Wake { node: Arc::clone(&node.wake), is_due: AtomicBool::new(true) });
        let joined = Joined {
            joint: Mutex::new(Joint::new(all, place, by_cohort, node.name.clone(), instance, now)),
            wake: Arc::clone(&wake),
            peers: Arc::clone(&node.peers),
            leads: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            turns: Mutex::new(None),
        };
        let tell = move |feed: Feed| feed.telling(Joint::FIRST_ROUND, place, Box::new(move || wake.wake()));
        Self::with(rollout, own, tallies, changed, tell, Some(Box::new(joined)))
    }

    /// The rollout, and the number of the gate in it.
    pub(crate) fn id(&self) -> (RolloutId, u32) {
        (self.id, self.gate_no)
    }

    /// Whether this node leads the rollout: only then can the evidence of all nodes fail its canary.
    pub(crate) fn lead(&self, leads: bool) {
        let Some(joined) = &self.joined else { return };
        if joined.leads.swap(leads, Ordering::AcqRel) == leads {
            return;
        }
        {
            let mut joint = joined.lock();
            if leads { joint.lead() } else { joint.follow() }
        }
        self.consider_joint();
        joined.wake.wake();
    }

    /// Sends no more requests to the canary, on all nodes: its end has been decided and will be committed.
    pub(crate) fn withhold(&self) {
        self.withheld.store(true, Ordering::Release);
        if let Some(joined) = &self.joined {
            joined.lock().withhold();
            joined.wake.wake();
        }
    }

    /// What to tell the other nodes at `now`. Call it until there is nothing.
    pub(crate) fn turn(&self, now: Instant) -> Option<JointMessage> {
        let joined = self.joined.as_ref()?;
        joined.wake.is_due.store(false, Ordering::Release);
        let message = joined.lock().turn(&self.feed, now);
        self.consider_joint();
        // What was just decided is told at once.
        let message = message.or_else(|| joined.lock().turn(&self.feed, now));
        *joined.turns() = now.checked_add(joined.lock().waits());
        message
    }

    /// How long to wait for the next [`turn`](Self::turn) if nothing is heard meanwhile.
    pub(crate) fn waits(&self, now: Instant) -> Duration {
        let Some(joined) = &self.joined else { return EVERY };
        if joined.wake.is_due.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let turns = *joined.turns();
        turns.map_or(Duration::ZERO, |turns| turns.saturating_duration_since(now))
    }

    /// Takes a message of another node about this gate. [`turn`](Self::turn) must follow.
    pub(crate) fn hear(&self, from: &NodeName, message: JointMessage, now: Instant) {
        if let Some(joined) = &self.joined {
            joined.lock().hear(&self.feed, from, message, now);
        }
    }

    /// The verdict of the evidence of all nodes.
    pub(super) fn joint_verdict(&self, joined: &Joined) -> Verdict {
        let place = self.notes().place;
        joined.lock().verdict(number(place), self.plan.plan().is_by_cohort(place))
    }

    /// Requests of the canary in this step, on all nodes.
    pub(super) fn joint_requests(&self, joined: &Joined) -> u64 {
        let place = self.notes().place;
        joined.lock().step_requests(number(place))
    }

    /// What each node contributed.
    pub(super) fn node_reports(&self) -> Vec<NodeReport> {
        let Some(joined) = &self.joined else { return Vec::new() };
        let failures = |counts: &wasm_fn_rollout::Counts| counts.bad(Event::FailedAtAll).requests;
        let joint = joined.lock();
        let nodes = joint.nodes().map(|counts| NodeReport {
            node: counts.node.to_string(),
            canary: (failures(&counts.canary), counts.canary.requests),
            stable: (failures(&counts.stable), counts.stable.requests),
        });
        nodes.collect()
    }

    /// Withholds the canary if the evidence of all nodes fails it or another node says so, and notifies those
    /// who wait for a verdict.
    fn consider_joint(&self) {
        let Some(joined) = &self.joined else { return };
        let verdict = self.joint_verdict(joined);
        let failed = matches!(verdict, Verdict::Fail(_));
        let newly = failed && !self.judged.swap(true, Ordering::AcqRel);
        let mut joint = joined.lock();
        if newly && self.rolls_back {
            joint.withhold();
        }
        if joint.is_withheld() {
            self.withheld.store(true, Ordering::Release);
        }
        drop(joint);
        let decided = !matches!(verdict, Verdict::Wait(_));
        if newly || (decided && joined.awaited.swap(false, Ordering::Relaxed)) {
            self.changed.notify_one();
        }
    }
}

/// The number of a place of a plan: later places have greater ones.
pub(super) fn number(place: Place) -> u32 {
    match place {
        Place::Check => 0,
        Place::Step(step) => u32::try_from(step).unwrap_or(u32::MAX - 1).saturating_add(1),
        Place::Watch => u32::MAX,
    }
}
