//! The stored form of a rollout: its specification, its phase, and the state of its gate.
//!
//! Fractions are stored as the hexadecimal digits of their bits: this is exact, and the journal's canonical
//! JSON has no fractions. 64-bit numbers that may exceed JSON numbers are stored in the same way.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use wasm_fn_rollout::{self as rollout, Bad, Counts, Event, HoldCause, Phase, Place, RATIOS, Time};

use super::{
    Malformed,
    check::StoredCheck,
    parse,
    split::{StoredSplit, weight},
};
use crate::{report::Report, state};

/// The stored form of [`state::Rollout`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRollout {
    canary: String,
    base: String,
    spec: StoredSpec,
    phase: StoredPhase,
    started_ms: u64,
    from_split: StoredSplit,
    gate_no: u32,
    gate: Option<StoredGate>,
    past: Option<StoredCounts>,
}

/// The stored form of [`state::RolloutSpec`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredSpec {
    strategy: StoredStrategy,
    manual: bool,
    on_fail: String,
    pass_without_data: bool,
    step_min_ms: u64,
    watch_ms: u64,
    keep_ms: u64,
    shield: bool,
    alpha: String,
    errors: Option<String>,
    latency_p99: Option<String>,
    memory_p99: Option<String>,
    max_error_rate: Option<String>,
    max_latency_us: Option<u64>,
    min_requests: u64,
    #[serde(default)]
    floor: Option<(String, u64)>,
    #[serde(default)]
    checks: Vec<StoredCheck>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(crate) enum StoredStrategy {
    AllAtOnce,
    BlueGreen,
    Canary { steps: Vec<StoredStep> },
    Linear { by: u16, every_ms: u64 },
}

/// The stored form of [`rollout::Step`], in basis points.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoredStep {
    Share(u16),
    Cohort { cohort: String, share: u16 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
enum StoredPhase {
    Running { place: StoredPlace, since_ms: u64 },
    Awaiting { place: StoredPlace, since_ms: u64 },
    Paused { place: StoredPlace, served_ms: u64, cause: StoredCause },
    Frozen { place: StoredPlace, cause: StoredCause },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredPlace {
    Check,
    Step(usize),
    Watch,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredCause {
    Operator,
    Gate(String),
    Check(String),
    Replaced,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredGate {
    canary: StoredCounts,
    stable: StoredCounts,
    #[serde(default)]
    baseline: Option<StoredCounts>,
    #[serde(default)]
    cohort: Option<StoredCounts>,
    #[serde(default)]
    start: u32,
    /// Absent in gates of programs that ordered responses by when they ended. Their evidence is not used.
    #[serde(default)]
    checks: Vec<StoredTest>,
    known_traps: Vec<String>,
    known_overflowed: bool,
}

/// The evidence of one test.
#[derive(Debug, Serialize, Deserialize)]
struct StoredTest {
    group: StoredGroup,
    signal: String,
    runs: Vec<StoredRun>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredGroup {
    Placed,
    Alone,
    Cohort,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRun {
    start: u32,
    hits: u64,
    logs: Vec<String>,
}

/// Requests; and for each event, the number of requests and of units.
#[derive(Debug, Serialize, Deserialize)]
struct StoredCounts {
    requests: u64,
    /// None in programs that held no request to a median.
    #[serde(default)]
    sampled: u64,
    bad: Vec<(u64, u64)>,
}

/// The stored form of [`state::EndedRollout`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredEndedRollout {
    canary: String,
    base: String,
    outcome: StoredOutcome,
    started_ms: u64,
    ended_ms: u64,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Box<Report>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredOutcome {
    Promoted,
    Aborted,
    RolledBack,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn number(text: &str) -> Result<u64, Malformed> {
    u64::from_str_radix(text, 16).map_err(|_| Malformed(format!("{text:?}, expected 16 hexadecimal digits")))
}

fn fraction(text: &str) -> Result<f64, Malformed> {
    number(text).map(f64::from_bits)
}

impl From<&state::Rollout> for StoredRollout {
    fn from(rollout: &state::Rollout) -> Self {
        Self {
            canary: rollout.canary.to_string(),
            base: rollout.base.to_string(),
            spec: (&*rollout.spec).into(),
            phase: (&rollout.phase).into(),
            started_ms: rollout.started_ms,
            from_split: (&rollout.from_split).into(),
            gate_no: rollout.gate_no,
            gate: rollout.gate.as_ref().map(StoredGate::from),
            past: rollout.past.as_ref().map(StoredCounts::from),
        }
    }
}

impl TryFrom<StoredRollout> for state::Rollout {
    type Error = Malformed;

    fn try_from(stored: StoredRollout) -> Result<Self, Malformed> {
        Ok(Self {
            canary: parse(&stored.canary)?,
            base: parse(&stored.base)?,
            spec: Arc::new(stored.spec.try_into()?),
            phase: stored.phase.into(),
            started_ms: stored.started_ms,
            from_split: stored.from_split.try_into()?,
            gate_no: stored.gate_no,
            gate: stored.gate.map(TryInto::try_into).transpose()?,
            past: stored.past.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&state::RolloutSpec> for StoredSpec {
    fn from(spec: &state::RolloutSpec) -> Self {
        let (plan, gate) = (spec.plan().spec(), spec.gate());
        let strategy = match &plan.strategy {
            rollout::Strategy::AllAtOnce => StoredStrategy::AllAtOnce,
            rollout::Strategy::BlueGreen => StoredStrategy::BlueGreen,
            rollout::Strategy::Canary { steps } => {
                StoredStrategy::Canary { steps: steps.iter().map(StoredStep::from).collect() }
            }
            rollout::Strategy::Linear { by, every } => {
                StoredStrategy::Linear { by: by.basis_points(), every_ms: millis(*every) }
            }
        };
        let on_fail = match plan.on_fail {
            rollout::OnFail::Rollback => "rollback",
            rollout::OnFail::Pause => "pause",
            rollout::OnFail::Freeze => "freeze",
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            strategy,
            manual: plan.manual,
            on_fail: on_fail.to_owned(),
            pass_without_data: plan.on_no_data == rollout::OnNoData::Pass,
            step_min_ms: millis(plan.step_min),
            watch_ms: millis(plan.watch),
            keep_ms: millis(spec.keep()),
            shield: spec.shield(),
            alpha: bits(gate.alpha),
            errors: gate.errors.map(bits),
            latency_p99: gate.latency_p99.map(bits),
            memory_p99: gate.memory_p99.map(bits),
            max_error_rate: gate.max_error_rate.map(bits),
            max_latency_us: gate.max_latency_p99.map(micros),
            min_requests: gate.min_requests,
            floor: Some((bits(gate.floor.error_rate), gate.floor.requests)),
            checks: spec.checks().iter().map(StoredCheck::from).collect(),
        }
    }
}

impl TryFrom<StoredSpec> for state::RolloutSpec {
    type Error = Malformed;

    fn try_from(stored: StoredSpec) -> Result<Self, Malformed> {
        let strategy = match stored.strategy {
            StoredStrategy::AllAtOnce => rollout::Strategy::AllAtOnce,
            StoredStrategy::BlueGreen => rollout::Strategy::BlueGreen,
            StoredStrategy::Canary { steps } => {
                let steps = steps.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>();
                rollout::Strategy::Canary { steps: steps? }
            }
            StoredStrategy::Linear { by, every_ms } => {
                rollout::Strategy::Linear { by: weight(by)?, every: Duration::from_millis(every_ms) }
            }
        };
        let on_fail = match stored.on_fail.as_str() {
            "rollback" => rollout::OnFail::Rollback,
            "pause" => rollout::OnFail::Pause,
            "freeze" => rollout::OnFail::Freeze,
            other => return Err(Malformed(format!("on_fail {other:?}, expected rollback, pause or freeze"))),
        };
        let no_data =
            if stored.pass_without_data { rollout::OnNoData::Pass } else { rollout::OnNoData::Wait };
        let plan = rollout::PlanSpec {
            strategy,
            manual: stored.manual,
            on_fail,
            on_no_data: no_data,
            step_min: Duration::from_millis(stored.step_min_ms),
            watch: Duration::from_millis(stored.watch_ms),
        };
        let optional = |text: Option<String>| text.as_deref().map(fraction).transpose();
        let gate = rollout::GateSpec {
            alpha: fraction(&stored.alpha)?,
            errors: optional(stored.errors)?,
            latency_p99: optional(stored.latency_p99)?,
            memory_p99: optional(stored.memory_p99)?,
            max_error_rate: optional(stored.max_error_rate)?,
            max_latency_p99: stored.max_latency_us.map(Duration::from_micros),
            min_requests: stored.min_requests,
            floor: match stored.floor {
                Some((rate, requests)) => rollout::Floor { error_rate: fraction(&rate)?, requests },
                None => rollout::GateSpec::default().floor,
            },
        };
        let checks = stored.checks.iter().map(state::Check::try_from).collect::<Result<Vec<_>, _>>()?;
        Self::new(plan, gate, stored.shield, Duration::from_millis(stored.keep_ms), checks)
            .map_err(Malformed::new)
    }
}

impl From<&rollout::Step> for StoredStep {
    fn from(step: &rollout::Step) -> Self {
        match step {
            rollout::Step::Share(share) => Self::Share(share.basis_points()),
            rollout::Step::Cohort { name, share } => {
                Self::Cohort { cohort: name.to_string(), share: share.basis_points() }
            }
        }
    }
}

impl TryFrom<StoredStep> for rollout::Step {
    type Error = Malformed;

    fn try_from(stored: StoredStep) -> Result<Self, Malformed> {
        Ok(match stored {
            StoredStep::Share(share) => Self::Share(weight(share)?),
            StoredStep::Cohort { cohort, share } => {
                Self::Cohort { name: parse(&cohort)?, share: weight(share)? }
            }
        })
    }
}

impl From<&Phase> for StoredPhase {
    /// An ended rollout is not stored as a rollout. If one is, it counts as having everybody on stable.
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Running { place, since } => Self::Running { place: (*place).into(), since_ms: since.0 },
            Phase::Awaiting { place, since } => Self::Awaiting { place: (*place).into(), since_ms: since.0 },
            Phase::Paused { place, served, cause } => {
                Self::Paused { place: (*place).into(), served_ms: millis(*served), cause: cause.into() }
            }
            Phase::Frozen { place, cause } => Self::Frozen { place: (*place).into(), cause: cause.into() },
            Phase::Promoted { at } => Self::Running { place: StoredPlace::Watch, since_ms: at.0 },
            Phase::Aborted { cause } | Phase::RolledBack { cause } => {
                Self::Frozen { place: StoredPlace::Check, cause: cause.into() }
            }
        }
    }
}

impl From<StoredPhase> for Phase {
    fn from(stored: StoredPhase) -> Self {
        match stored {
            StoredPhase::Running { place, since_ms } => {
                Self::Running { place: place.into(), since: Time(since_ms) }
            }
            StoredPhase::Awaiting { place, since_ms } => {
                Self::Awaiting { place: place.into(), since: Time(since_ms) }
            }
            StoredPhase::Paused { place, served_ms, cause } => Self::Paused {
                place: place.into(),
                served: Duration::from_millis(served_ms),
                cause: cause.into(),
            },
            StoredPhase::Frozen { place, cause } => Self::Frozen { place: place.into(), cause: cause.into() },
        }
    }
}

impl From<Place> for StoredPlace {
    fn from(place: Place) -> Self {
        match place {
            Place::Check => Self::Check,
            Place::Step(step) => Self::Step(step),
            Place::Watch => Self::Watch,
        }
    }
}

impl From<StoredPlace> for Place {
    fn from(stored: StoredPlace) -> Self {
        match stored {
            StoredPlace::Check => Self::Check,
            StoredPlace::Step(step) => Self::Step(step),
            StoredPlace::Watch => Self::Watch,
        }
    }
}

impl From<&HoldCause> for StoredCause {
    fn from(cause: &HoldCause) -> Self {
        match cause {
            HoldCause::Operator => Self::Operator,
            HoldCause::Gate(found) => Self::Gate(found.clone()),
            HoldCause::Check(found) => Self::Check(found.clone()),
            HoldCause::Replaced => Self::Replaced,
        }
    }
}

impl From<StoredCause> for HoldCause {
    fn from(stored: StoredCause) -> Self {
        match stored {
            StoredCause::Operator => Self::Operator,
            StoredCause::Gate(found) => Self::Gate(found),
            StoredCause::Check(found) => Self::Check(found),
            StoredCause::Replaced => Self::Replaced,
        }
    }
}

impl From<&rollout::GateState> for StoredGate {
    fn from(state: &rollout::GateState) -> Self {
        let run = |run: &rollout::Run| StoredRun {
            start: run.start,
            hits: run.hits,
            logs: run.logs.iter().copied().map(bits).collect(),
        };
        let check = |check: &rollout::CheckState| StoredTest {
            group: match check.group {
                rollout::Group::Placed => StoredGroup::Placed,
                rollout::Group::Alone => StoredGroup::Alone,
                rollout::Group::Cohort => StoredGroup::Cohort,
            },
            signal: check.signal.to_string(),
            runs: check.runs.iter().map(run).collect(),
        };
        Self {
            canary: (&state.canary).into(),
            stable: (&state.stable).into(),
            baseline: Some((&state.baseline).into()),
            cohort: Some((&state.cohort).into()),
            start: state.start,
            checks: state.checks.iter().map(check).collect(),
            known_traps: state.known_traps.iter().map(|trap| format!("{trap:016x}")).collect(),
            known_overflowed: state.known_overflowed,
        }
    }
}

impl TryFrom<StoredGate> for rollout::GateState {
    type Error = Malformed;

    fn try_from(stored: StoredGate) -> Result<Self, Malformed> {
        let counts = |counts: Option<StoredCounts>| counts.map_or(Ok(Counts::default()), TryInto::try_into);
        let check = |stored: StoredTest| {
            Ok(rollout::CheckState {
                group: match stored.group {
                    StoredGroup::Placed => rollout::Group::Placed,
                    StoredGroup::Alone => rollout::Group::Alone,
                    StoredGroup::Cohort => rollout::Group::Cohort,
                },
                signal: parse(&stored.signal)?,
                runs: stored.runs.iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            })
        };
        Ok(Self {
            canary: stored.canary.try_into()?,
            stable: stored.stable.try_into()?,
            baseline: counts(stored.baseline)?,
            cohort: counts(stored.cohort)?,
            start: stored.start,
            checks: stored.checks.into_iter().map(check).collect::<Result<_, Malformed>>()?,
            known_traps: stored.known_traps.iter().map(|trap| number(trap)).collect::<Result<_, _>>()?,
            known_overflowed: stored.known_overflowed,
        })
    }
}

impl TryFrom<&StoredRun> for rollout::Run {
    type Error = Malformed;

    fn try_from(stored: &StoredRun) -> Result<Self, Malformed> {
        let logs = stored.logs.iter().map(|log| fraction(log)).collect::<Result<Vec<_>, _>>()?;
        let found = logs.len();
        let logs = <[f64; RATIOS.len()]>::try_from(logs)
            .map_err(|_| Malformed(format!("{found} ratios, expected {}", RATIOS.len())))?;
        Ok(Self { start: stored.start, hits: stored.hits, logs })
    }
}

impl From<&Counts> for StoredCounts {
    fn from(counts: &Counts) -> Self {
        let bad = Event::ALL.map(|event| counts.bad(event)).map(|bad| (bad.requests, bad.units));
        Self { requests: counts.requests, sampled: counts.sampled, bad: bad.to_vec() }
    }
}

impl TryFrom<StoredCounts> for Counts {
    type Error = Malformed;

    fn try_from(stored: StoredCounts) -> Result<Self, Malformed> {
        // The last event, `AboveMedian`, is missing in what programs wrote that did not have it.
        let found = stored.bad.len();
        if !(Event::COUNT - 1..=Event::COUNT).contains(&found) {
            return Err(Malformed(format!("counts of {found} events, expected {}", Event::COUNT)));
        }
        let pairs = Event::ALL.into_iter().zip(stored.bad);
        let mut counts = Self::of(stored.requests);
        counts.sampled = stored.sampled;
        Ok(pairs
            .fold(counts, |counts, (event, (requests, units))| counts.with(event, Bad { requests, units })))
    }
}

impl From<&state::EndedRollout> for StoredEndedRollout {
    fn from(ended: &state::EndedRollout) -> Self {
        Self {
            canary: ended.canary.to_string(),
            base: ended.base.to_string(),
            outcome: match ended.outcome {
                state::RolloutOutcome::Promoted => StoredOutcome::Promoted,
                state::RolloutOutcome::Aborted => StoredOutcome::Aborted,
                state::RolloutOutcome::RolledBack => StoredOutcome::RolledBack,
            },
            started_ms: ended.started_ms,
            ended_ms: ended.ended_ms,
            reason: ended.reason.clone(),
            report: ended.report.clone(),
        }
    }
}

impl TryFrom<StoredEndedRollout> for state::EndedRollout {
    type Error = Malformed;

    fn try_from(stored: StoredEndedRollout) -> Result<Self, Malformed> {
        Ok(Self {
            canary: parse(&stored.canary)?,
            base: parse(&stored.base)?,
            outcome: match stored.outcome {
                StoredOutcome::Promoted => state::RolloutOutcome::Promoted,
                StoredOutcome::Aborted => state::RolloutOutcome::Aborted,
                StoredOutcome::RolledBack => state::RolloutOutcome::RolledBack,
            },
            started_ms: stored.started_ms,
            ended_ms: stored.ended_ms,
            reason: stored.reason,
            report: stored.report,
        })
    }
}

#[cfg(test)]
mod tests;
