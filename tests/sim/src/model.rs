//! What the journal must say, and what must follow from it: a second opinion on every commit.
//!
//! Nothing here asks the control plane. The model replays entries as they become durable, and counts by
//! itself how long rollouts ran and what was heard of them.

mod ledger;
mod moves;
mod tracked;
mod voices;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use wasm_fn_control::{
    journal::Entry,
    state::{Action, Advance, Change, FunctionChange, Rollout, StageKey, State},
};
use wasm_fn_core::{FunctionName, Outcome, Revision, StageName, VersionNo};
use wasm_fn_rollout::Place;
use wasm_fn_router::{Assignment, RouteTable, TrafficObserver};

use crate::scenario::Scenario;

use ledger::{Arm, Beginning, Counted, Ending, Ledger};
use tracked::{Tracked, share_at};

/// How long the control plane may take for what it has to do, unless the disk is in its way.
const PROMPT_MS: u64 = 5000;

/// The name of the control plane in its journal.
const CONTROLLER: &str = "rollout";

/// What a model is about.
#[derive(Default)]
pub(crate) enum Scope {
    /// A node that is alone.
    #[default]
    Alone,
    /// One node of several.
    Node {
        /// What is known of all of them together.
        whole: Arc<Mutex<Model>>,
        /// For how long a node may serve what another one took back.
        lease_ms: u64,
    },
    /// All nodes together: it knows every request, but not in which order a gate takes them.
    Whole,
}

/// A rollout: where, to which version, when it began.
pub(crate) type Id = (StageKey, VersionNo, u64);

/// What is known of a seed's run.
#[derive(Default)]
pub(crate) struct Model {
    scope: Scope,
    states: BTreeMap<Revision, Arc<State>>,
    head: Revision,
    tracked: BTreeMap<StageKey, Tracked>,
    ended: BTreeSet<Id>,
    /// Rollouts whose canary everybody left for good, with the revision that says so, and when it was made.
    left: BTreeMap<Id, (Revision, u64)>,
    /// Gates whose canary other nodes said must get no more requests, and when this was heard.
    forbidden: BTreeMap<(Id, u32), u64>,
    /// When the node sent the newest question that its broker has answered.
    asked_ms: u64,
    /// Checks that ended in this life.
    checked: BTreeMap<(FunctionName, VersionNo), bool>,
    /// Revisions that changed a function: each has a table of its own.
    changes: BTreeMap<FunctionName, BTreeSet<Revision>>,
    ledgers: u64,
    /// When the disk was last in the way.
    trouble_ms: u64,
    pub(crate) verdicts: Verdicts,
}

/// What became of canaries whose verdict can be foretold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// Healthy ones whose rollout began.
    pub(crate) healthy: u64,
    /// Those of them that the gate failed.
    pub(crate) healthy_failed: u64,
    /// Broken ones that the gate failed.
    pub(crate) broken_failed: u64,
    /// Most responses of a broken one that were heard before.
    pub(crate) broken_heard_max: u64,
    /// Longest time from the first of those to the commit, milliseconds.
    pub(crate) broken_ms_max: u64,
}

/// A request that began for a trial.
#[derive(Debug)]
pub(crate) struct Token {
    key: StageKey,
    number: (u64, usize),
    /// Answers that come later count as none.
    late_ms: Option<u128>,
    /// The same request, as the model of all nodes has it.
    whole: Option<Box<Token>>,
}

/// How it ended.
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) latency: Duration,
    pub(crate) abandoned: bool,
}

impl Model {
    /// A model of what `scope` says.
    pub(crate) fn of(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Does `work` with the model of all nodes, if this is the model of one of them.
    fn with_whole<T>(&self, work: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let Scope::Node { whole, .. } = &self.scope else { return None };
        work(&mut whole.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node begins a new life: nothing has run in it yet.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.checked.clear();
        self.trouble_ms = now_ms;
        let state = self.last();
        let keys: Vec<_> = self.tracked.keys().cloned().collect();
        for key in keys {
            let ledger = self.ledger(rollout_at(&state, &key));
            self.tracked.entry(key).and_modify(|tracked| tracked.begin(now_ms, ledger));
        }
    }

    /// The state at `revision`; `None` when the journal does not have it.
    pub(crate) fn state(&self, revision: Revision) -> Option<&Arc<State>> {
        self.states.get(&revision)
    }

    /// The state of the journal's last entry.
    pub(crate) fn last(&self) -> State {
        self.states.get(&self.head).map(|state| State::clone(state)).unwrap_or_default()
    }

    /// A new ledger, of the gate that `rollout` has.
    fn ledger(&mut self, rollout: Option<&Rollout>) -> Ledger {
        self.ledgers += 1;
        Ledger::new(self.ledgers, rollout.and_then(|rollout| rollout.gate.as_ref()))
    }

    /// The disk was in the way until now.
    pub(crate) fn trouble(&mut self, now_ms: u64) {
        self.trouble_ms = self.trouble_ms.max(now_ms);
    }

    /// A check was answered.
    pub(crate) fn checked(&mut self, function: &FunctionName, version: VersionNo, passed: bool) {
        self.checked.insert((function.clone(), version), passed);
        self.with_whole(|whole| {
            whole.checked(function, version, passed);
            Some(())
        });
    }

    /// `entry` is decided, and about to be committed.
    pub(crate) fn planned(&self, entry: &Entry, now_ms: u64) -> Result<(), String> {
        let before = self.last();
        let mut after = before.clone();
        after.apply(&entry.change, &entry.meta());
        let Change::Function(FunctionChange { function, action }) = &entry.change else { return Ok(()) };
        let Some(stage) = action.stage() else { return Ok(()) };
        let key = (function.clone(), stage.clone());
        let (Some(before), Some(tracked)) = (rollout_at(&before, &key), self.tracked.get(&key)) else {
            return Ok(());
        };
        let at = |what: String| format!("r{}: {what}", entry.revision.0);
        if let Some(report) = action.report() {
            let counted = Counted {
                canary: (report.canary.requests, report.canary.failures),
                stable: (report.stable.requests, report.stable.failures),
                baseline: report.baseline_side.as_ref().map_or((0, 0), |side| (side.requests, side.failures)),
                cohort: report.cohort.as_ref().map_or((0, 0), |side| (side.requests, side.failures)),
                concurrent: report.baseline == "concurrent",
            };
            let is_whole = matches!(self.scope, Scope::Whole);
            tracked.check(&counted, is_whole, now_ms).map_err(at)?;
        }
        if entry.actor != CONTROLLER {
            return Ok(());
        }
        let checked = self.checked.get(&(key.0.clone(), before.canary)) == Some(&true);
        moves::check(before, rollout_at(&after, &key), action, tracked, checked, now_ms).map_err(at)
    }

    /// `entry` is durable; it was planned at `planned_ms`.
    pub(crate) fn committed(
        &mut self,
        entry: &Entry,
        planned_ms: u64,
        now_ms: u64,
        scenario: &Scenario,
    ) -> Result<(), String> {
        if now_ms > planned_ms {
            self.trouble(now_ms);
        }
        if entry.revision != self.head.next() {
            return Err(format!("revision {} follows {}", entry.revision.0, self.head.0));
        }
        let before = self.last();
        let mut after = before.clone();
        after.apply(&entry.change, &entry.meta());
        self.head = entry.revision;
        self.states.insert(entry.revision, Arc::new(after.clone()));
        let Change::Function(FunctionChange { function, action }) = &entry.change else { return Ok(()) };
        self.changes.entry(function.clone()).or_default().insert(entry.revision);
        keeps_verdicts(&before, &after, function, action)?;
        let stages: Vec<_> = match action.stage() {
            Some(stage) => vec![stage.clone()],
            None => self.tracked.keys().filter(|key| key.0 == *function).map(|key| key.1.clone()).collect(),
        };
        for stage in stages {
            let key = (function.clone(), stage);
            self.follow(&key, &before, &after, entry, (planned_ms, now_ms), scenario)?;
        }
        Ok(())
    }

    /// Follows the rollout at `key` through `entry`, which was planned at `now_ms` and durable at `made_ms`.
    fn follow(
        &mut self,
        key: &StageKey,
        before: &State,
        after: &State,
        entry: &Entry,
        (now_ms, made_ms): (u64, u64),
        scenario: &Scenario,
    ) -> Result<(), String> {
        let Some(action) = entry.change.action() else { return Ok(()) };
        let (before_here, after_here) = (rollout_at(before, key), rollout_at(after, key));
        let goes_on = before_here.zip(after_here).is_some_and(|(before, after)| before.id() == after.id());
        if let (Some(rollout), false) = (before_here, goes_on) {
            self.ended.insert(id(key, rollout));
            let tracked = self.tracked.remove(key);
            if action.ends_canary() {
                self.left.insert(id(key, rollout), (entry.revision, made_ms));
            }
            let back = matches!(action, Action::Abort { .. } | Action::Rollback { .. });
            if back && entry.actor == CONTROLLER {
                self.judged(tracked.as_ref(), now_ms, scenario);
            }
            if action.stage().is_some() {
                let ended = after.stored_function(&key.0).and_then(|function| function.ended.get(&key.1));
                let told = ended.is_some_and(|ended| {
                    (ended.canary, ended.started_ms) == (rollout.canary, rollout.started_ms)
                        && !ended.reason.is_empty()
                });
                if !told {
                    return Err(format!("rollout to {} ended, and nothing says why", rollout.canary));
                }
            }
        }
        let Some(rollout) = after_here else { return Ok(()) };
        if self.ended.contains(&id(key, rollout)) {
            return Err(format!("rollout to {} goes on after it had ended", rollout.canary));
        }
        let ledger = self.ledger(None);
        if goes_on {
            let tracked = self.tracked.get_mut(key).ok_or("a rollout goes on that never began")?;
            tracked.follow(rollout, now_ms, share_at(after, key, rollout), ledger);
        } else {
            let tracked = Tracked::new(rollout, now_ms, after, key, scenario, ledger);
            if tracked.is_healthy() {
                self.verdicts.healthy += 1;
            }
            self.tracked.insert(key.clone(), tracked);
        }
        Ok(())
    }

    fn judged(&mut self, tracked: Option<&Tracked>, now_ms: u64, scenario: &Scenario) {
        let Some(tracked) = tracked.filter(|_| scenario.quiet) else { return };
        let verdicts = &mut self.verdicts;
        if tracked.is_healthy() {
            verdicts.healthy_failed += 1;
        } else if tracked.is_broken() {
            verdicts.broken_failed += 1;
            verdicts.broken_heard_max = verdicts.broken_heard_max.max(tracked.heard());
            let took_ms = tracked.first_heard_ms().map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
            verdicts.broken_ms_max = verdicts.broken_ms_max.max(took_ms);
        }
    }

    /// A request of `part` begins by the table at `revision`, while that at `newest` is published; `None`
    /// where it counts for nobody.
    pub(crate) fn begins(
        &mut self,
        (revision, newest): (Revision, Revision),
        key: &StageKey,
        part: &Assignment,
        now_ms: u64,
        timeout: Duration,
    ) -> Option<Token> {
        let arm = Arm::of(part.side, part.placement)?;
        let changes = self.changes.get(&key.0)?;
        let stretch = |revision| changes.range(..=revision).next_back();
        if stretch(revision) != stretch(newest) {
            return None;
        }
        let state = self.states.get(&revision)?;
        let rollout = rollout_at(state, key)?;
        let tracked = self.tracked.get_mut(key).filter(|tracked| tracked.is(key, rollout))?;
        let shielded = rollout.spec.shield() && rollout.phase.place() != Some(Place::Watch);
        let share = share_at(state, key, rollout);
        let (user, stretch) = (part.user, *stretch(revision)?);
        let number = tracked.begins(Beginning { arm, user, began_ms: now_ms, stretch, share });
        let late_ms = shielded.then(|| timeout.mul_f64(0.9).as_millis());
        let whole = self.with_whole(|whole| whole.begins((revision, newest), key, part, now_ms, timeout));
        Some(Token { key: key.clone(), number, late_ms, whole: whole.map(Box::new) })
    }

    /// The request with `token` ends.
    pub(crate) fn ends(&mut self, token: &Token, end: &End, now_ms: u64) {
        if let Some(token) = &token.whole {
            self.with_whole(|whole| {
                whole.ends(token, end, now_ms);
                Some(())
            });
        }
        let Some(tracked) = self.tracked.get_mut(&token.key) else { return };
        let answered = matches!(end.outcome, Outcome::Success | Outcome::ServerError);
        let late = answered && token.late_ms.is_some_and(|late_ms| end.latency.as_millis() > late_ms);
        let outcome = if late { Outcome::Timeout } else { end.outcome };
        tracked.ends(token.number, Ending { outcome, abandoned: end.abandoned }, now_ms);
    }

    /// The broker has answered what the node asked at `asked_ms`.
    pub(crate) fn heard(&mut self, asked_ms: u64) {
        self.asked_ms = asked_ms;
    }

    /// Another node said that the canary of the rollout `started_ms` at `key` must get no more requests.
    pub(crate) fn forbid(
        &mut self,
        key: StageKey,
        (canary, started_ms): (VersionNo, u64),
        gate_no: u32,
        now_ms: u64,
    ) {
        self.forbidden.entry(((key, canary, started_ms), gate_no)).or_insert(now_ms);
    }

    /// A request is placed on the canary of the table at `revision`, by `trial`, though nobody asked for it.
    pub(crate) fn placed(
        &mut self,
        revision: Revision,
        key: &StageKey,
        trial: &Arc<dyn TrafficObserver>,
        (now, now_ms): (Revision, u64),
    ) -> Result<(), String> {
        let rollout = self.state(revision).and_then(|state| rollout_at(state, key)).cloned();
        let rollout = rollout.ok_or("a trial without a rollout")?;
        let id = id(key, &rollout);
        if let Some((left, at_ms)) = self.left.get(&id) {
            if *left <= now {
                return Err(format!("a request begins on {} after r{} left it", rollout.canary, left.0));
            }
            let late_ms = now_ms.saturating_sub(*at_ms);
            if let Scope::Node { lease_ms, .. } = self.scope
                && late_ms > lease_ms
            {
                return Err(format!(
                    "a request begins on {}, which r{} left {late_ms} ms ago, expected at most {lease_ms}",
                    rollout.canary, left.0
                ));
            }
        }
        if let Scope::Node { lease_ms, .. } = self.scope
            && now_ms > self.asked_ms + lease_ms
        {
            return Err(format!(
                "a request begins on {} {} ms after the newest question that was answered, expected at most \
                 {lease_ms}",
                rollout.canary,
                now_ms - self.asked_ms
            ));
        }
        if self.forbidden.get(&(id, rollout.gate_no)).is_some_and(|&at_ms| now_ms > at_ms) {
            return Err(format!("a request begins on {} after another node forbade it", rollout.canary));
        }
        if let Some(tracked) = self.tracked.get_mut(key).filter(|tracked| tracked.is(key, &rollout)) {
            tracked.placed(trial)?;
        }
        Ok(())
    }

    /// Looks for rollouts that should have moved by now.
    pub(crate) fn watch(&mut self, now_ms: u64) -> Result<(), String> {
        let several = matches!(self.scope, Scope::Whole);
        let Some(state) = self.states.get(&self.head) else { return Ok(()) };
        for (key, tracked) in &mut self.tracked {
            if let Some(rollout) = rollout_at(state, key) {
                tracked.watch(rollout, several, now_ms, self.trouble_ms)?;
            }
        }
        Ok(())
    }

    /// Compares the table with the journal's state at its revision.
    pub(crate) fn compare<V>(&self, table: &RouteTable<V>) -> Result<(), String> {
        let revision = table.revision();
        if revision == Revision::default() {
            return Ok(());
        }
        let state = self
            .state(revision)
            .ok_or_else(|| format!("table of r{}, which the journal has not", revision.0))?;
        let stored = state.functions().flat_map(|(name, function)| {
            function.stages.iter().map(move |(stage, state)| (name, stage, &state.split, state.stable))
        });
        let stored: Vec<_> = stored.collect();
        let mut published: Vec<_> = table
            .stages()
            .map(|stage| (stage.function(), stage.name(), stage.split(), stage.stable().no))
            .collect();
        published.sort_by_key(|&(name, stage, ..)| (name, stage));
        if stored == published {
            return Ok(());
        }
        Err(format!("table of r{} is {published:?}, the state has {stored:?}", revision.0))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("head", &self.head).finish_non_exhaustive()
    }
}

/// The rollout at `key` in `state`.
pub(crate) fn rollout_at<'a>(state: &'a State, key: &StageKey) -> Option<&'a Rollout> {
    stage_at(state, key)?.rollout.as_deref()
}

/// The stage at `key` in `state`.
pub(crate) fn stage_at<'a>(
    state: &'a State,
    key: &StageKey,
) -> Option<&'a wasm_fn_control::state::StageState> {
    state.function(&key.0).ok()?.stages.get(&key.1)
}

fn id(key: &StageKey, rollout: &Rollout) -> Id {
    (key.clone(), rollout.canary, rollout.started_ms)
}

/// A version keeps its verdict until it becomes stable or gets another; one that loses a rollout gets one,
/// with its reason.
fn keeps_verdicts(
    before: &State,
    after: &State,
    function: &FunctionName,
    action: &Action,
) -> Result<(), String> {
    let (Ok(before), Ok(after)) = (before.function(function), after.function(function)) else {
        return Ok(());
    };
    let judged = match action {
        Action::Abort { version, .. } => vec![Some(*version)],
        Action::Rollback { left, aborted, .. } => vec![*left, *aborted],
        Action::Deploy { aborted, .. } => vec![*aborted],
        _ => Vec::new(),
    };
    let judged: Vec<_> = judged.into_iter().flatten().collect();
    for (no, version) in &after.versions {
        if judged.contains(no) {
            let verdict = version.verdict.as_ref().ok_or_else(|| format!("{no} has no verdict"))?;
            if verdict.reason.as_ref().is_none_or(String::is_empty) && action.report().is_some() {
                return Err(format!("the verdict of {no} has no reason"));
            }
            continue;
        }
        let stable = |stage: &StageName| after.stages.get(stage).is_some_and(|stage| stage.stable == *no);
        let kept = before.versions.get(no).is_none_or(|known| known.verdict == version.verdict);
        if !kept && !action.stage().is_some_and(stable) {
            return Err(format!("{no} lost its verdict by {}", action.as_str()));
        }
    }
    Ok(())
}

/// Whether `action` is the end of a watch.
fn settles(action: &Action) -> bool {
    matches!(action, Action::Advance { advance: Advance::Settle, .. })
}
