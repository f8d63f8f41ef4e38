//! The whole life of rollouts: what their gates saw, at up to 240 moments each.
//!
//! A moment is a second after the one before. When there is no more room, every second moment goes, and from
//! then on they are twice as far apart. Of each stage, the last rollout is kept, of at most 256 stages: at 8
//! signals about 32 KiB each, 8 MiB in all.

use std::collections::BTreeMap;

use wasm_fn_control::{
    Control,
    host::Host,
    report::{Report, SideReport},
    state::StageKey,
};
use wasm_fn_core::VersionNo;
use wasm_fn_store::Store;

/// Most moments of a rollout.
const MOMENTS_MAX: usize = 240;

/// Most rollouts. The one that was read longest ago goes first.
const ROLLOUTS_MAX: usize = 256;

/// Most rollouts that are read at once, so that many of them cost no more than so many.
const READ_MAX: usize = 64;

/// Most signals of a rollout.
const SIGNALS_MAX: usize = 16;

/// How far apart moments are at first, milliseconds.
const FIRST_MS: u64 = 1000;

/// The last rollouts.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    by_stage: BTreeMap<StageKey, Course>,
}

/// How a rollout went.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) canary: VersionNo,
    pub(crate) stable: VersionNo,
    pub(crate) started_ms: u64,
    pub(crate) ended: bool,
    /// How far apart moments are, milliseconds.
    apart_ms: u64,
    /// The names of signals, each with the logarithm of its threshold.
    pub(crate) signals: Vec<(String, f64)>,
    // Invariant: ascending by time; at most `MOMENTS_MAX`.
    pub(crate) moments: Vec<Moment>,
}

/// What a gate saw at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    /// The share of the canary, 0 to 1.
    pub(crate) share: f64,
    pub(crate) canary: Side,
    pub(crate) stable: Side,
    /// The logarithms of the e-values, in the order of the signals. Later signals had none.
    pub(crate) log_e: Box<[f32]>,
}

/// One side since the rollout began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) latency_p50_us: u32,
    pub(crate) latency_p99_us: u32,
}

impl Side {
    fn of(side: &SideReport) -> Self {
        let micros = |time: Option<u64>| u32::try_from(time.unwrap_or_default()).unwrap_or(u32::MAX);
        Self {
            requests: side.requests,
            failures: side.failures,
            latency_p50_us: micros(side.latency_p50_us),
            latency_p99_us: micros(side.latency_p99_us),
        }
    }
}

impl Course {
    pub(super) fn new(stable: VersionNo, canary: VersionNo, started_ms: u64) -> Self {
        let (signals, moments) = (Vec::new(), Vec::new());
        Self { canary, stable, started_ms, ended: false, apart_ms: FIRST_MS, signals, moments }
    }

    /// Whether the next moment has come.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        // Ticks are not exact.
        self.moments.last().is_none_or(|last| now_ms + FIRST_MS / 2 >= last.at_ms + self.apart_ms)
    }

    /// Adds what a gate saw.
    pub(super) fn add(&mut self, report: &Report, share: f64, at_ms: u64) {
        if self.moments.len() >= MOMENTS_MAX {
            let mut at = 0;
            self.moments.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.apart_ms *= 2;
        }
        for signal in &report.signals {
            let is_new = self.signals.iter().all(|(name, _)| *name != signal.signal);
            if is_new && self.signals.len() < SIGNALS_MAX {
                let threshold = signal.log_threshold_thousandths as f64 / 1e3;
                self.signals.push((signal.signal.clone(), threshold));
            }
        }
        let log_e = self.signals.iter().map(|(name, _)| {
            let found = report.signals.iter().find(|signal| signal.signal == *name);
            found.map_or(0.0, |signal| signal.log_e_thousandths as f32 / 1e3)
        });
        let log_e = log_e.collect();
        let (canary, stable) = (Side::of(&report.canary), Side::of(&report.stable));
        self.moments.push(Moment { at_ms, share, canary, stable, log_e });
    }
}

impl Rollouts {
    /// The rollout of the stage at `key` that is under way, or was the last.
    pub(crate) fn course(&self, key: &StageKey) -> Option<&Course> {
        self.by_stage.get(key)
    }
}

/// Reads the rollouts under way at `control`, and how others ended.
pub(super) fn read<H: Host, S: Store>(rollouts: &mut Rollouts, control: &Control<H, S>, now_ms: u64) {
    let state = control.state();
    let mut due = Vec::new();
    for key in control.rollouts() {
        let Some(rollout) = state.rollout(&key) else { continue };
        let known = rollouts.by_stage.get(&key);
        let known =
            known.filter(|known| known.started_ms == rollout.started_ms && known.canary == rollout.canary);
        if known.is_none_or(|known| known.is_due(now_ms)) {
            let last_ms = known.and_then(|known| known.moments.last()).map_or(0, |last| last.at_ms);
            due.push((last_ms, known.is_none(), key));
        }
    }
    // Those that have waited longest come first.
    due.sort();
    for (_, is_new, key) in due.into_iter().take(READ_MAX) {
        let Some((rollout, function)) = state.rollout(&key).zip(state.function(&key.0).ok()) else {
            continue;
        };
        let Some(standing) = control.gate(&key, rollout) else { continue };
        let split = function.stages.get(&key.1).map(|stage| stage.split.weight(rollout.canary));
        let share = split.map_or(0.0, |weight| f64::from(weight.basis_points()) / 1e4);
        if is_new {
            let course = Course::new(rollout.base, rollout.canary, rollout.started_ms);
            rollouts.by_stage.insert(key.clone(), course);
        }
        if let Some(course) = rollouts.by_stage.get_mut(&key) {
            course.add(&standing.report, share, now_ms);
        }
    }
    for ((name, stage), course) in rollouts.by_stage.iter_mut().filter(|(_, course)| !course.ended) {
        let is_under_way = |now: &wasm_fn_control::state::Rollout| {
            now.started_ms == course.started_ms && now.canary == course.canary
        };
        let function = state.function(name).ok();
        let stands = function.and_then(|function| function.stages.get(stage));
        if stands.and_then(|stands| stands.rollout.as_deref()).is_some_and(is_under_way) {
            continue;
        }
        course.ended = true;
        let ended = function.and_then(|function| function.ended.get(stage));
        let ended = ended.filter(|ended| ended.started_ms == course.started_ms);
        if let Some((ended, report)) = ended.and_then(|ended| Some((ended, ended.report.as_ref()?))) {
            let split = stands
                .map_or(0.0, |stands| f64::from(stands.split.weight(course.canary).basis_points()) / 1e4);
            course.add(report, split, ended.ended_ms);
        }
    }
    rollouts.by_stage.retain(|(function, _), _| state.function(function).is_ok());
    while rollouts.by_stage.len() > ROLLOUTS_MAX {
        let last_ms = |course: &Course| course.moments.last().map_or(0, |last| last.at_ms);
        let oldest = rollouts.by_stage.iter().min_by_key(|(_, course)| (!course.ended, last_ms(course)));
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
        rollouts.by_stage.remove(&oldest);
    }
}
