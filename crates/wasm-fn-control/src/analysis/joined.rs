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
    Baseline, EVERY, Event, Feed, Gate, Joint, JointMessage, Place, Scope, Trapped, Verdict,
};

use super::{Analysis, Tallies, baseline, know};
use crate::{
    peers::ClusterNode,
    report::NodeReport,
    state::{Rollout, RolloutId},
};

/// The evidence of all nodes.
pub(super) struct Joined {
    joint: Mutex<Joint>,
    wake: Arc<Notify>,
    // Whether someone waits for a verdict other than `wait`.
    pub(super) awaited: AtomicBool,
}

impl Joined {
    pub(super) fn lock(&self) -> MutexGuard<'_, Joint> {
        // Nothing panics while holding the lock, and the numbers stay valid.
        self.joint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the others told soon.
    fn wake(&self) {
        self.wake.notify_one();
    }

    /// Records a trap on this node.
    pub(super) fn trap(&self, trapped: &Trapped) {
        self.lock().trap(trapped);
        self.wake();
    }

    /// Tells all that this node's own evidence fails the canary, and whether it must get no more requests.
    pub(super) fn fail(&self, found: String, withholds: bool) {
        let mut joint = self.lock();
        joint.fail(found);
        if withholds {
            joint.withhold();
        }
        drop(joint);
        self.wake();
    }
}

impl Analysis {
    /// The analysis of `rollout` on `node`, one of several. The gate of all nodes' evidence continues from the
    /// stored state; that of this node's own begins without any.
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
        let (mut own, fresh) = (gate(Scope::Own, baseline.clone()), gate(Scope::Joint, baseline));
        let stored = rollout.gate.clone();
        if let Some(state) = &stored {
            know(&mut own, state.known_traps.iter().copied());
        }
        let resumed = stored.and_then(|state| fresh.clone().resume(state).ok());
        let mut all = resumed.unwrap_or(fresh);
        know(&mut own, tallies.base.traps());
        know(&mut all, tallies.base.traps());
        let place = number(rollout.phase.place().unwrap_or(Place::Watch));
        let now = crate::clock::instant();
        // Evidence that begins anew counts as that of another life of the node.
        let instance = rand::random();
        let joined = Joined {
            joint: Mutex::new(Joint::new(all, place, node.name.clone(), instance, now)),
            wake: Arc::clone(&node.wake),
            awaited: AtomicBool::new(false),
        };
        let wake = Arc::clone(&node.wake);
        let tell =
            move |feed: Feed| feed.telling(Joint::FIRST_ROUND, place, Box::new(move || wake.notify_one()));
        Self::with(rollout, own, tallies, changed, tell, Some(Box::new(joined)))
    }

    /// The rollout, and the number of the gate in it.
    pub(crate) fn id(&self) -> (RolloutId, u32) {
        (self.id, self.gate_no)
    }

    /// Whether this node leads the rollout: only then can the evidence of all nodes fail its canary.
    pub(crate) fn lead(&self, leads: bool) {
        let Some(joined) = &self.joined else { return };
        {
            let mut joint = joined.lock();
            if leads { joint.lead() } else { joint.follow() }
        }
        self.consider_joint();
        joined.wake();
    }

    /// Sends no more requests to the canary, on all nodes: its end has been decided and will be committed.
    pub(crate) fn withhold(&self) {
        self.withheld.store(true, Ordering::Release);
        if let Some(joined) = &self.joined {
            joined.lock().withhold();
            joined.wake();
        }
    }

    /// What to tell the other nodes at `now`. Call it until there is nothing.
    pub(crate) fn turn(&self, now: Instant) -> Option<JointMessage> {
        let joined = self.joined.as_ref()?;
        let message = joined.lock().turn(&self.feed, now);
        self.consider_joint();
        message.or_else(|| joined.lock().turn(&self.feed, now))
    }

    /// How long to wait for the next [`turn`](Self::turn) if nothing is heard meanwhile.
    pub(crate) fn waits(&self) -> Duration {
        self.joined.as_ref().map_or(EVERY, |joined| joined.lock().waits())
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
