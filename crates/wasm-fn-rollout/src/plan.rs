//! The plan of a rollout: its strategy, checked and laid out as steps.

mod step;

use std::{collections::BTreeMap, time::Duration};

use wasm_fn_core::{CohortName, Weight, defaults};

pub use step::{Step, StepError};

use crate::Place;

/// Maximum number of a canary's steps: as many as there are shares.
const STEPS_MAX: usize = 10_000;

/// Longest time that a step, a watch or an interval can last.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How everybody gets to the new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// At once.
    AllAtOnce,
    /// At once, after its checks passed at no share.
    BlueGreen,
    /// In these steps; what follows the last is everybody.
    Canary {
        /// Cohorts before shares, each growing, above 0; a last one of 100 % may be left out.
        steps: Vec<Step>,
    },
    /// By the same share again and again.
    Linear {
        /// The share, above 0.
        by: Weight,
        /// How long each step lasts at least; takes the place of `step_min`.
        every: Duration,
    },
}

/// What happens when the gate fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFail {
    /// Everybody goes back to stable.
    #[default]
    Rollback,
    /// The split stays; a person resumes or ends the rollout.
    Pause,
    /// The split stays; a person ends the rollout, and nobody can resume it.
    Freeze,
}

/// What happens when a step has lasted long enough but had too few requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoData {
    /// It continues.
    #[default]
    Wait,
    /// It passes.
    Pass,
}

/// What a plan is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSpec {
    /// How everybody gets to the new version.
    pub strategy: Strategy,
    /// Whether each step and the switch need a person's `promote` after the gate passed.
    pub manual: bool,
    /// What happens when the gate fails.
    pub on_fail: OnFail,
    /// What happens without requests.
    pub on_no_data: OnNoData,
    /// How long each step of a canary lasts at least.
    pub step_min: Duration,
    /// How long the new version is watched after everybody is on it; 0 for not at all.
    pub watch: Duration,
}

/// A rollout's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    spec: PlanSpec,
    // Invariant: cohorts before shares; shares above zero and growing, those of each cohort too; those of
    // everybody below full, for the switch is not among them.
    steps: Box<[Step]>,
    step_min: Duration,
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A canary without steps.
    #[error("a canary has no steps below 100%, expected at least one such as 10%")]
    NoSteps,
    /// A canary with too many steps.
    #[error("a canary has {0} steps, expected at most {STEPS_MAX}")]
    TooManySteps(usize),
    /// A step with a share of zero.
    #[error("step {step} is {found}, expected at least 0.01%")]
    Zero {
        /// Its number, from 1.
        step: usize,
        /// What it is.
        found: Step,
    },
    /// A step that is not larger than the one before, for everybody or for the same cohort.
    #[error("step {step} is {found} after {before}, expected more")]
    NotGrowing {
        /// Its number, from 1.
        step: usize,
        /// What it is.
        found: Step,
        /// The one before.
        before: Step,
    },
    /// A cohort's step after shares of everybody have begun.
    #[error("step {step} is {found} after {before}, expected cohorts before shares of everybody")]
    CohortAfterShare {
        /// Its number, from 1.
        step: usize,
        /// What it is.
        found: Step,
        /// The share before.
        before: Step,
    },
    /// A linear rollout that never moves.
    #[error("a linear rollout grows by 0%, expected at least 0.01%")]
    NoGrowth,
    /// A linear rollout without time between its steps.
    #[error("a linear rollout grows every 0s, expected more")]
    NoInterval,
    /// A time that is out of bounds.
    #[error("{what} is {found:?}, expected at most 30 days")]
    TooLong {
        /// Which.
        what: &'static str,
        /// What was found.
        found: Duration,
    },
}

impl PlanSpec {
    /// `strategy` with the [defaults]: no person is needed, and a failure is rolled back.
    pub fn usual(strategy: Strategy) -> Self {
        Self {
            strategy,
            manual: false,
            on_fail: OnFail::default(),
            on_no_data: OnNoData::default(),
            step_min: defaults::STEP_MIN,
            watch: defaults::WATCH,
        }
    }
}

impl Strategy {
    /// A canary by the default steps.
    pub fn canary() -> Self {
        Self::Canary { steps: defaults::CANARY_STEPS.map(Step::Share).to_vec() }
    }
}

impl Plan {
    /// Lays out `spec`.
    ///
    /// # Errors
    /// Steps are missing, zero or do not grow, or a time is out of bounds. A share above 100 % cannot be a
    /// [`Weight`] and is refused where it is read.
    pub fn new(spec: PlanSpec) -> Result<Self, PlanError> {
        let (steps, step_min) = match &spec.strategy {
            Strategy::AllAtOnce | Strategy::BlueGreen => (Vec::new(), spec.step_min),
            Strategy::Canary { steps } => (canary(steps)?, spec.step_min),
            Strategy::Linear { by, every } => (linear(*by, *every)?, *every),
        };
        for (what, found) in [("a step's time", step_min), ("the watch", spec.watch)] {
            if found > DURATION_MAX {
                return Err(PlanError::TooLong { what, found });
            }
        }
        Ok(Self { steps: steps.into(), step_min, spec })
    }

    /// The spec that it was made of.
    pub fn spec(&self) -> &PlanSpec {
        &self.spec
    }

    /// The steps before everybody.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How long a step lasts at least.
    pub fn step_min(&self) -> Duration {
        self.step_min
    }

    /// How long the new version is watched once everybody is on it.
    pub fn watch(&self) -> Duration {
        self.spec.watch
    }

    /// Whether steps need a person.
    pub fn manual(&self) -> bool {
        self.spec.manual
    }

    /// What happens when the gate fails.
    pub fn on_fail(&self) -> OnFail {
        self.spec.on_fail
    }

    /// What happens without requests.
    pub fn on_no_data(&self) -> OnNoData {
        self.spec.on_no_data
    }

    /// Where a rollout begins.
    pub fn first(&self) -> Place {
        if self.spec.strategy == Strategy::BlueGreen {
            Place::Check
        } else if self.steps.is_empty() {
            Place::Watch
        } else {
            Place::Step(0)
        }
    }

    /// The place after `place`; `None` after the watch.
    pub fn after(&self, place: Place) -> Option<Place> {
        let step = match place {
            Place::Check => 0,
            Place::Step(step) => step.saturating_add(1),
            Place::Watch => return None,
        };
        Some(if step < self.steps.len() { Place::Step(step) } else { Place::Watch })
    }

    /// The new version's share of everybody at `place`: none in the step of a cohort. A step that the plan
    /// does not have counts as none.
    pub fn share(&self, place: Place) -> Weight {
        match place {
            Place::Check => Weight::ZERO,
            Place::Step(step) => match self.steps.get(step) {
                Some(&Step::Share(share)) => share,
                Some(Step::Cohort { .. }) | None => Weight::ZERO,
            },
            Place::Watch => Weight::FULL,
        }
    }

    /// The part of cohort `name` that is on the new version at `place`: the share of its last step so far, or
    /// zero before its first step. All of it if no step names it.
    pub fn cohort_share(&self, place: Place, name: &CohortName) -> Weight {
        let reached = match place {
            Place::Check => 0,
            Place::Step(step) => step.saturating_add(1),
            Place::Watch => self.steps.len(),
        };
        let (mut last, mut named) = (Weight::ZERO, false);
        for (at, step) in self.steps.iter().enumerate().filter(|(_, step)| step.cohort() == Some(name)) {
            named = true;
            if at < reached {
                last = step.share();
            }
        }
        if named { last } else { Weight::FULL }
    }

    /// Whether nobody is on the new version by chance at `place`, and a cohort is by rule.
    pub fn is_by_cohort(&self, place: Place) -> bool {
        matches!(place, Place::Step(step) if matches!(self.steps.get(step), Some(Step::Cohort { .. })))
    }
}

fn canary(steps: &[Step]) -> Result<Vec<Step>, PlanError> {
    if steps.len() > STEPS_MAX {
        return Err(PlanError::TooManySteps(steps.len()));
    }
    let mut last: BTreeMap<Option<&CohortName>, &Step> = BTreeMap::new();
    for (index, found) in steps.iter().enumerate() {
        let step = index + 1;
        if found.share() == Weight::ZERO {
            return Err(PlanError::Zero { step, found: found.clone() });
        }
        if let Some(before) = last.get(&None).filter(|_| found.cohort().is_some()) {
            return Err(PlanError::CohortAfterShare {
                step,
                found: found.clone(),
                before: (*before).clone(),
            });
        }
        if let Some(before) = last.insert(found.cohort(), found).filter(|last| found.share() <= last.share())
        {
            return Err(PlanError::NotGrowing { step, found: found.clone(), before: before.clone() });
        }
    }
    let everybody = Step::Share(Weight::FULL);
    let steps: Vec<_> = steps.iter().filter(|&step| *step != everybody).cloned().collect();
    if steps.is_empty() { Err(PlanError::NoSteps) } else { Ok(steps) }
}

fn linear(by: Weight, every: Duration) -> Result<Vec<Step>, PlanError> {
    if by == Weight::ZERO {
        return Err(PlanError::NoGrowth);
    }
    if every.is_zero() {
        return Err(PlanError::NoInterval);
    }
    let points = (by.basis_points()..Weight::FULL.basis_points()).step_by(usize::from(by.basis_points()));
    Ok(points.filter_map(Weight::from_basis_points).map(Step::Share).collect())
}

#[cfg(test)]
mod tests;
