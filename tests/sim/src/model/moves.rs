//! What the control plane may do to a rollout by itself.

use wasm_fn_control::state::{Action, Advance, Rollout};
use wasm_fn_rollout::{OnFail, OnNoData, Phase, Place};

use super::{settles, tracked::Tracked};

/// Checks a move of the control plane's own from `before` to `after`.
pub(super) fn check(
    before: &Rollout,
    after: Option<&Rollout>,
    action: &Action,
    tracked: &Tracked,
    checked: bool,
    now_ms: u64,
) -> Result<(), String> {
    let plan = before.spec.plan();
    let place = before.phase.place().ok_or("it moves a rollout that has ended")?;
    let on_fail = match action {
        Action::Abort { .. } | Action::Rollback { .. } => Some(OnFail::Rollback),
        Action::Advance { advance: Advance::Pause, .. } => Some(OnFail::Pause),
        Action::Advance { advance: Advance::Freeze, .. } => Some(OnFail::Freeze),
        _ => None,
    };
    if let Some(on_fail) = on_fail {
        let held = matches!(before.phase, Phase::Frozen { .. });
        return if on_fail == plan.on_fail() && !held {
            Ok(())
        } else {
            Err(format!("{} though a failure means {:?}", action.as_str(), plan.on_fail()))
        };
    }
    let ran_ms = tracked.ran_ms(now_ms);
    let lasts_ms = u64::try_from(plan.watch().as_millis()).unwrap_or(u64::MAX);
    if settles(action) {
        return if place == Place::Watch && ran_ms >= lasts_ms {
            Ok(())
        } else {
            Err(format!("the watch ended after {ran_ms} ms, expected {lasts_ms} ms"))
        };
    }
    if !matches!(before.phase, Phase::Running { .. }) {
        return Err(format!("{} while it is {}", action.as_str(), before.phase.as_str()));
    }
    let awaits = matches!(action, Action::Advance { advance: Advance::Await, .. });
    if awaits != plan.manual() {
        return Err(format!("{} by itself, though manual is {}", action.as_str(), plan.manual()));
    }
    let to = match (action, after) {
        (_, Some(after)) => after.phase.place(),
        (Action::Promote { .. }, None) => Some(Place::Watch),
        _ => None,
    };
    let expected = if awaits { Some(place) } else { plan.after(place) };
    if to != expected {
        return Err(format!("it goes from {place:?} to {to:?}, expected {expected:?}"));
    }
    match place {
        Place::Check if !checked && !before.spec.checks().is_empty() => {
            Err("it switches, and no check has passed".to_owned())
        }
        Place::Check | Place::Watch => Ok(()),
        Place::Step(_) => {
            let step_min_ms = u64::try_from(plan.step_min().as_millis()).unwrap_or(u64::MAX);
            if ran_ms < step_min_ms {
                return Err(format!("{place:?} is left after {ran_ms} ms, expected {step_min_ms} ms"));
            }
            let needed = before.spec.gate().min_requests;
            if plan.on_no_data() == OnNoData::Pass {
                return Ok(());
            }
            let (canary, stable) = (tracked.canary(), tracked.stable());
            if canary < needed || stable.is_some_and(|stable| stable < needed) {
                return Err(format!(
                    "{place:?} is left after {canary} requests of the canary and {stable:?} of stable, expected {needed}"
                ));
            }
            if !tracked.has_voices() {
                return Err(format!("{place:?} is left with too few voices to have found a fault"));
            }
            Ok(())
        }
    }
}
