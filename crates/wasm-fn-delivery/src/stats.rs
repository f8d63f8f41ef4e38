//! What became of the events of each trigger since the node started.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wasm_fn_core::VersionNo;
use wasm_fn_events::Timestamp;

use crate::watcher::WatchStatus;

/// Versions that are told apart for one trigger; the oldest are dropped.
const VERSIONS_MAX: usize = 16;

/// A delivery that begins later than this after its event was due is late.
const LATE: Duration = Duration::from_secs(1);

/// Counts of one trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerStats {
    /// Ticks that did not run because an earlier run was in progress.
    pub skipped: u64,
    /// Ticks that the node could not run within the catch-up window.
    pub missed: u64,
    /// Runs that the next one broke off.
    pub cancelled: u64,
    /// Deliveries that the node could not make, and that spent no attempt.
    pub of_node: u64,
    /// Failed events one after the other, up to now.
    pub failures_in_a_row: u32,
    /// By the version that answered last.
    pub versions: BTreeMap<VersionNo, VersionStats>,
    /// Runs of ticks on a canary, besides those on stable, by the canary.
    pub canary_runs: BTreeMap<VersionNo, CanaryRuns>,
    /// Of a queue, how its broker is.
    pub queue: Option<Box<QueueStats>>,
    /// What events led to, if they deploy.
    pub deploys: DeployStats,
    /// The tag that it watches, if it does.
    pub watch: Option<WatchStatus>,
}

/// Counts of a canary's runs without effects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanaryRuns {
    /// Runs that have begun.
    pub begun: u32,
    /// Runs in which the canary acknowledged the tick and asked for no effect.
    pub passed: u32,
    /// Runs in which it failed, asked for no effect before, and stable acknowledged the tick.
    pub failed: u32,
    /// Runs that say nothing: the canary was refused an effect, or stable failed too.
    pub unclear: u32,
}

/// How the broker of a queue is, and what became of its messages since the node started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Whether messages can come.
    pub standing: QueueStanding,
    /// Since when.
    pub since: Timestamp,
    /// Messages that the broker has not delivered; `None` if it has not said yet.
    pub pending: Option<u64>,
    /// Messages that it has delivered and that are not settled; `None` if it has not said yet.
    pub unsettled: Option<u64>,
    /// Deliveries.
    pub delivered: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that failed, and after which the message comes again.
    pub retried: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Messages that came again although they were in progress or settled here.
    pub repeated: u64,
}

/// Whether the messages of a queue can come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueStanding {
    /// It is not known yet.
    Connecting,
    /// They can.
    Connected,
    /// They cannot.
    Failing {
        /// Why. For people.
        reason: String,
    },
    /// Nobody asks for them: the trigger is paused, or the node stops.
    Stopped,
}

impl QueueStats {
    /// Nothing is known at `now`.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            standing: QueueStanding::Connecting,
            since: now,
            pending: None,
            unsettled: None,
            delivered: 0,
            acknowledged: 0,
            retried: 0,
            dead: 0,
            repeated: 0,
        }
    }

    /// Notes how it is at `now`. It is so since it was not.
    pub fn stand(&mut self, standing: QueueStanding, now: Timestamp) {
        use QueueStanding::Failing;
        let is_same = self.standing == standing
            || matches!((&self.standing, &standing), (Failing { .. }, Failing { .. }));
        if !is_same {
            self.since = now;
        }
        self.standing = standing;
    }
}

/// What the events of a trigger that deploys led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeployStats {
    /// A deployment.
    pub deployed: u64,
    /// Nothing, since there was nothing to deploy.
    pub skipped: u64,
    /// Another attempt later.
    pub retried: u64,
    /// A dead letter.
    pub failed: u64,
}

/// Counts of one version of a trigger's function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionStats {
    /// Deliveries that began within a second of when they were due.
    pub on_time: u64,
    /// Deliveries that began later.
    pub late: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that failed and are tried again.
    pub retried: u64,
    /// Events that became dead letters.
    pub failed: u64,
}

/// What a delivery of a version led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    Acknowledged,
    Retried,
    Failed,
}

#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<HashMap<String, TriggerStats>>);

impl Stats {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, TriggerStats>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of `key`.
    pub(crate) fn of(&self, key: &str) -> TriggerStats {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    /// Changes the counts of `key`.
    pub(crate) fn note(&self, key: &str, change: impl FnOnce(&mut TriggerStats)) {
        let mut all = self.lock();
        match all.get_mut(key) {
            Some(stats) => change(stats),
            None => change(all.entry(key.to_owned()).or_default()),
        }
    }

    /// Counts a delivery that began `lag` after it was due. Returns how many events have failed one after the
    /// other by now.
    pub(crate) fn ended(&self, key: &str, version: Option<VersionNo>, lag: Duration, led: Led) -> u32 {
        let mut failures = 0;
        self.note(key, |stats| {
            match led {
                Led::Acknowledged => stats.failures_in_a_row = 0,
                Led::Failed => stats.failures_in_a_row += 1,
                Led::Retried => {}
            }
            failures = stats.failures_in_a_row;
            let Some(version) = version else { return };
            if stats.versions.len() >= VERSIONS_MAX && !stats.versions.contains_key(&version) {
                stats.versions.pop_first();
            }
            let counts = stats.versions.entry(version).or_default();
            *(if lag > LATE { &mut counts.late } else { &mut counts.on_time }) += 1;
            match led {
                Led::Acknowledged => counts.acknowledged += 1,
                Led::Retried => counts.retried += 1,
                Led::Failed => counts.failed += 1,
            }
        });
        failures
    }

    /// Whether fewer than `max` runs of `canary` have begun.
    pub(crate) fn has_canary_runs(&self, key: &str, canary: VersionNo, max: u32) -> bool {
        let all = self.lock();
        let runs = all.get(key).and_then(|stats| stats.canary_runs.get(&canary));
        runs.is_none_or(|runs| runs.begun < max)
    }

    /// Changes the counts of runs of `canary`.
    pub(crate) fn note_canary_run(&self, key: &str, canary: VersionNo, change: impl FnOnce(&mut CanaryRuns)) {
        self.note(key, |stats| {
            if stats.canary_runs.len() >= VERSIONS_MAX && !stats.canary_runs.contains_key(&canary) {
                stats.canary_runs.pop_first();
            }
            change(stats.canary_runs.entry(canary).or_default());
        });
    }

    /// Changes what is known of the tag that `key` watches.
    pub(crate) fn watched(&self, key: &str, change: impl FnOnce(&mut WatchStatus)) {
        self.note(key, |stats| change(stats.watch.get_or_insert_default()));
    }

    /// Drops the counts of triggers that are not `wanted`.
    pub(crate) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.lock().retain(|key, _| wanted(key));
    }
}
