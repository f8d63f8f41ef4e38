//! What a rollout is to do, checked.

use std::time::Duration;

use wasm_fn_rollout::{GateError, GateSpec, Plan, PlanError, PlanSpec, Strategy};

use super::Check;

/// How many checks a rollout may have.
const CHECKS_MAX: usize = 100;

/// How long the previous version may be kept ready.
pub(super) const KEEP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The checked specification of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSpec {
    // Invariant: `gate` makes a valid gate, and there are checks only if the plan runs them.
    plan: Plan,
    gate: GateSpec,
    shield: bool,
    keep: Duration,
    checks: Vec<Check>,
}

/// Why a specification is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The plan is invalid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The gate is invalid.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// There are too many checks.
    #[error("there are {0} checks, expected at most {CHECKS_MAX}")]
    Checks(usize),
    /// There are checks, but no part of the plan runs them.
    #[error("there are checks, expected none unless the strategy is blue-green")]
    ChecksUnused,
    /// The previous version is kept for too long.
    #[error("keep is {0:?}, expected at most 30 days")]
    Keep(Duration),
}

impl RolloutSpec {
    /// Checks a specification.
    ///
    /// A blue-green rollout without checks waits for a person before the switch, because a person has to
    /// check the new version.
    ///
    /// # Errors
    /// An invalid plan or gate, checks that the plan does not run, or a value over its limit.
    pub fn new(
        mut plan: PlanSpec,
        gate: GateSpec,
        shield: bool,
        keep: Duration,
        checks: Vec<Check>,
    ) -> Result<Self, SpecError> {
        gate.check()?;
        if checks.len() > CHECKS_MAX {
            return Err(SpecError::Checks(checks.len()));
        }
        if keep > KEEP_MAX {
            return Err(SpecError::Keep(keep));
        }
        if plan.strategy == Strategy::BlueGreen {
            plan.manual |= checks.is_empty();
        } else if !checks.is_empty() {
            return Err(SpecError::ChecksUnused);
        }
        Ok(Self { plan: Plan::new(plan)?, gate, shield, keep, checks })
    }

    /// The plan that its strategy makes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The rule that it must satisfy.
    pub fn gate(&self) -> &GateSpec {
        &self.gate
    }

    /// Whether stable answers requests that failed on the canary.
    pub fn shield(&self) -> bool {
        self.shield
    }

    /// How long the previous version stays ready after a blue-green switch.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// The checks that a blue-green version must pass before the switch.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}
