//! Where a rollout stands, and what it does next.

use std::{fmt, time::Duration};

use wasm_fn_core::Weight;

use crate::{OnFail, OnNoData, Plan, Verdict};

/// Milliseconds since the Unix epoch.
///
/// Times are stored, so they outlive the process. A clock that steps back makes a step last longer, never
/// shorter. A step forward cannot be told from time that passed: read the system's clock once at the start
/// and add what a monotonic one says since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// A place in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Blue-green: the new version is checked at no share.
    Check,
    /// The step with this index, from 0.
    Step(usize),
    /// Everybody is on the new version; it is watched, against the previous version's past.
    Watch,
}

/// Why a rollout is held or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldCause {
    /// A person asked for it.
    Operator,
    /// The gate failed, and what it found.
    Gate(String),
    /// A check of a blue-green rollout failed, and what it found.
    Check(String),
    /// Another deployment took its place.
    Replaced,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At a place of its plan, since then.
    Running {
        /// Which.
        place: Place,
        /// Since when.
        since: Time,
    },
    /// The place's gate passed; a person's `promote` is awaited. The gate goes on being asked.
    Awaiting {
        /// Which.
        place: Place,
        /// Since when the place lasts, for `pause` and `resume`.
        since: Time,
    },
    /// Held at a place until a person resumes.
    Paused {
        /// Which.
        place: Place,
        /// How long the place had lasted.
        served: Duration,
        /// Why.
        cause: HoldCause,
    },
    /// Held at a place until a person ends the rollout, by aborting it or by promoting it fully.
    Frozen {
        /// Which.
        place: Place,
        /// Why.
        cause: HoldCause,
    },
    /// The new version is stable, and its watch is over.
    Promoted {
        /// Since when.
        at: Time,
    },
    /// It ended before everybody was on the new version; all are on stable.
    Aborted {
        /// Why.
        cause: HoldCause,
    },
    /// It ended after everybody was on the new version; all are on the previous one again.
    RolledBack {
        /// Why.
        cause: HoldCause,
    },
}

/// What to do next. Everything but `Hold` changes the phase, by [`apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Hold,
    /// Wait for a person.
    Await,
    /// Go to this step of the plan, with this share for the canary. The gate goes on, by
    /// [`Gate::step`](crate::Gate::step), unless it failed: then a new one does.
    Step(usize, Weight),
    /// Send everybody to the new version and make it stable; a new gate watches it, against the past.
    Promote,
    /// The watch is over, and with it the rollout; the split stays.
    Settle,
    /// Send everybody to stable.
    Abort(HoldCause),
    /// Send everybody to the previous version.
    Rollback(HoldCause),
    /// Stand still.
    Pause(HoldCause),
    /// Go on, with a new gate: the old one's failure is final.
    Resume,
    /// Stop until a person ends it.
    Freeze(HoldCause),
}

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The next place of the plan, now.
    Promote,
    /// Everybody, now.
    PromoteFully,
    /// Stand still.
    Pause,
    /// Go on after a pause.
    Resume,
    /// End it.
    Abort,
    /// End it, for another deployment.
    Replace,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The rollout has ended.
    #[error("the rollout has ended ({0}), expected one under way")]
    Ended(&'static str),
    /// Everybody is on the new version already.
    #[error("everybody is on the new version already, expected a step before that")]
    NothingToPromote,
    /// It is paused already.
    #[error("the rollout is {0} already, expected one that moves")]
    Held(&'static str),
    /// It is not paused.
    #[error("the rollout is {0}, expected a paused one")]
    NotPaused(&'static str),
}

impl Time {
    /// Time since `earlier`. Zero if the clock stepped back behind it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    fn back(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Phase {
    /// The first phase of a rollout by `plan` that begins at `now`. Its first split is [`Plan::share`] of its
    /// place.
    pub fn start(plan: &Plan, now: Time) -> Self {
        Self::Running { place: plan.first(), since: now }
    }

    /// Its place in the plan; `None` when it has ended.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Running { place, .. }
            | Self::Awaiting { place, .. }
            | Self::Paused { place, .. }
            | Self::Frozen { place, .. } => Some(*place),
            Self::Promoted { .. } | Self::Aborted { .. } | Self::RolledBack { .. } => None,
        }
    }

    /// The word used in history and the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running { place: Place::Check, .. } => "checking",
            Self::Running { place: Place::Step(_), .. } => "progressing",
            Self::Running { place: Place::Watch, .. } => "watching",
            Self::Awaiting { .. } => "awaiting promotion",
            Self::Paused { .. } => "paused",
            Self::Frozen { .. } => "frozen",
            Self::Promoted { .. } => "promoted",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled back",
        }
    }
}

/// What a rollout by `plan` in `phase` does at `now`, when its gate says `verdict`.
///
/// In [`Place::Check`] the verdict is that of the checks, pass or wait; one that failed goes through
/// [`failed`] with a [`HoldCause::Check`]. A watch ends when its time is over unless the gate failed,
/// requests or not: everybody is there already.
pub fn advance(plan: &Plan, phase: &Phase, verdict: &Verdict, now: Time) -> Decision {
    let (place, since, awaiting) = match phase {
        Phase::Running { place, since } => (*place, *since, false),
        Phase::Awaiting { place, since } => (*place, *since, true),
        // The canary still has its share while a person holds it there, so the gate goes on protecting.
        Phase::Paused { place, cause: HoldCause::Operator, .. } if plan.on_fail() != OnFail::Pause => {
            return match verdict {
                Verdict::Fail(failure) => failed(plan, *place, HoldCause::Gate(failure.to_string())),
                Verdict::Pass | Verdict::Wait(_) => Decision::Hold,
            };
        }
        Phase::Paused { .. }
        | Phase::Frozen { .. }
        | Phase::Promoted { .. }
        | Phase::Aborted { .. }
        | Phase::RolledBack { .. } => return Decision::Hold,
    };
    if let Verdict::Fail(failure) = verdict {
        return failed(plan, place, HoldCause::Gate(failure.to_string()));
    }
    let elapsed = now.since(since);
    let passed = match place {
        Place::Check => *verdict == Verdict::Pass,
        Place::Step(_) => {
            let enough = *verdict == Verdict::Pass || plan.on_no_data() == OnNoData::Pass;
            enough && elapsed >= plan.step_min()
        }
        Place::Watch => {
            return if elapsed >= plan.watch() { Decision::Settle } else { Decision::Hold };
        }
    };
    match (passed, plan.manual(), awaiting) {
        (true, false, _) => onward(plan, place),
        (true, true, false) => Decision::Await,
        (_, _, _) => Decision::Hold,
    }
}

/// The decision after a failure at `place`.
pub fn failed(plan: &Plan, place: Place, cause: HoldCause) -> Decision {
    match plan.on_fail() {
        OnFail::Rollback => back(place, cause),
        OnFail::Pause => Decision::Pause(cause),
        OnFail::Freeze => Decision::Freeze(cause),
    }
}

/// The decision after a person's `command`.
///
/// # Errors
/// The rollout has ended, or the command makes no sense in its phase.
pub fn command(plan: &Plan, phase: &Phase, command: Command) -> Result<Decision, CommandError> {
    let Some(place) = phase.place() else { return Err(CommandError::Ended(phase.as_str())) };
    match command {
        Command::Promote | Command::PromoteFully if place == Place::Watch => {
            Err(CommandError::NothingToPromote)
        }
        Command::Promote if matches!(phase, Phase::Frozen { .. }) => Err(CommandError::Held(phase.as_str())),
        Command::Promote => Ok(onward(plan, place)),
        Command::PromoteFully => Ok(Decision::Promote),
        Command::Pause => match phase {
            Phase::Paused { .. } | Phase::Frozen { .. } => Err(CommandError::Held(phase.as_str())),
            _ => Ok(Decision::Pause(HoldCause::Operator)),
        },
        Command::Resume => match phase {
            Phase::Paused { .. } => Ok(Decision::Resume),
            _ => Err(CommandError::NotPaused(phase.as_str())),
        },
        Command::Abort => Ok(back(place, HoldCause::Operator)),
        Command::Replace => Ok(back(place, HoldCause::Replaced)),
    }
}

/// The phase after `decision` was carried out at `now`.
///
/// Decisions come from [`advance`], [`failed`] and [`command`] on the same phase; one that does not fit
/// leaves the phase as it is.
pub fn apply(phase: &Phase, decision: Decision, now: Time) -> Phase {
    let Some(place) = phase.place() else { return phase.clone() };
    match (decision, phase) {
        (Decision::Step(step, _), _) => Phase::Running { place: Place::Step(step), since: now },
        (Decision::Promote, _) => Phase::Running { place: Place::Watch, since: now },
        (Decision::Settle, _) => Phase::Promoted { at: now },
        (Decision::Abort(cause), _) => Phase::Aborted { cause },
        (Decision::Rollback(cause), _) => Phase::RolledBack { cause },
        (Decision::Freeze(cause), _) => Phase::Frozen { place, cause },
        (Decision::Await, Phase::Running { since, .. }) => Phase::Awaiting { place, since: *since },
        (Decision::Pause(cause), Phase::Running { since, .. } | Phase::Awaiting { since, .. }) => {
            Phase::Paused { place, served: now.since(*since), cause }
        }
        (Decision::Resume, Phase::Paused { served, .. }) => {
            Phase::Running { place, since: now.back(*served) }
        }
        (Decision::Hold | Decision::Await | Decision::Pause(_) | Decision::Resume, _) => phase.clone(),
    }
}

fn onward(plan: &Plan, place: Place) -> Decision {
    match plan.after(place) {
        Some(Place::Step(step)) => Decision::Step(step, plan.share(Place::Step(step))),
        Some(Place::Check | Place::Watch) => Decision::Promote,
        None => Decision::Settle,
    }
}

fn back(place: Place, cause: HoldCause) -> Decision {
    if place == Place::Watch { Decision::Rollback(cause) } else { Decision::Abort(cause) }
}

impl fmt::Display for HoldCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("by command"),
            Self::Gate(found) => f.write_str(found),
            Self::Check(found) => write!(f, "check failed: {found}"),
            Self::Replaced => f.write_str("replaced by another deployment"),
        }
    }
}

#[cfg(test)]
mod tests;
