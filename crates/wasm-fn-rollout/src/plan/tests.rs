//! Tests of plans: what is refused, and how strategies are laid out.

use std::time::Duration;

use wasm_fn_core::Weight;

use super::{Plan, PlanError, PlanSpec, Strategy};
use crate::Place;

fn weights(percents: &[&str]) -> Vec<Weight> {
    percents.iter().map(|percent| percent.parse().unwrap()).collect()
}

fn plan(strategy: Strategy) -> Result<Plan, PlanError> {
    Plan::new(PlanSpec::usual(strategy))
}

#[track_caller]
fn refuses(strategy: Strategy, message: &str) {
    assert_eq!(plan(strategy).unwrap_err().to_string(), message);
}

#[test]
fn canaries_without_growing_steps_are_refused() {
    let canary = |steps: &[&str]| Strategy::Canary { steps: weights(steps) };
    refuses(canary(&[]), "a canary has no steps below 100%, expected at least one such as 10%");
    refuses(canary(&["100%"]), "a canary has no steps below 100%, expected at least one such as 10%");
    refuses(canary(&["0%"]), "step 1 is 0%, expected at least 0.01%");
    refuses(canary(&["10%", "0%"]), "step 2 is 0%, expected at least 0.01%");
    refuses(canary(&["10%", "10%"]), "step 2 is 10% after 10%, expected more");
    refuses(canary(&["1%", "50%", "10%"]), "step 3 is 10% after 50%, expected more");
    refuses(canary(&["100%", "100%"]), "step 2 is 100% after 100%, expected more");
    assert!("100.01%".parse::<Weight>().is_err(), "more than everything is no share");
}

#[test]
fn linear_rollouts_that_do_not_move_are_refused() {
    let linear =
        |by: &str, seconds| Strategy::Linear { by: by.parse().unwrap(), every: Duration::from_secs(seconds) };
    refuses(linear("0%", 60), "a linear rollout grows by 0%, expected at least 0.01%");
    refuses(linear("10%", 0), "a linear rollout grows every 0s, expected more");
    refuses(linear("10%", 1 << 40), "a step's time is 1099511627776s, expected at most 30 days");
}

#[test]
fn times_out_of_bounds_are_refused() {
    let spec = PlanSpec { watch: Duration::MAX, ..PlanSpec::usual(Strategy::AllAtOnce) };
    assert!(matches!(Plan::new(spec), Err(PlanError::TooLong { what: "the watch", .. })));
    let spec = PlanSpec { step_min: Duration::MAX, ..PlanSpec::usual(Strategy::canary()) };
    assert!(matches!(Plan::new(spec), Err(PlanError::TooLong { what: "a step's time", .. })));
}

/// Shares that a rollout by `strategy` passes, from its first place to the watch.
#[track_caller]
fn lays_out(strategy: Strategy, expected: &[&str]) {
    let plan = plan(strategy).unwrap();
    let places = std::iter::successors(Some(plan.first()), |&place| plan.after(place));
    let shares: Vec<_> = places.map(|place| plan.share(place)).collect();
    assert_eq!(shares, weights(expected));
}

#[test]
fn strategies_are_laid_out_as_shares() {
    let minute = Duration::from_secs(60);
    let linear = |by: &str| Strategy::Linear { by: by.parse().unwrap(), every: minute };
    lays_out(Strategy::AllAtOnce, &["100%"]);
    lays_out(Strategy::BlueGreen, &["0%", "100%"]);
    lays_out(Strategy::canary(), &["1%", "10%", "50%", "100%"]);
    lays_out(Strategy::Canary { steps: weights(&["0.01%", "5%", "100%"]) }, &["0.01%", "5%", "100%"]);
    lays_out(linear("25%"), &["25%", "50%", "75%", "100%"]);
    lays_out(linear("40%"), &["40%", "80%", "100%"]);
    lays_out(linear("100%"), &["100%"]);
}

#[test]
fn the_finest_linear_plan_has_a_step_for_each_basis_point() {
    let by = "0.01%".parse().unwrap();
    let plan = plan(Strategy::Linear { by, every: Duration::from_secs(1) }).unwrap();
    assert_eq!(plan.steps().len(), 9_999);
}

#[test]
fn a_step_beyond_the_plan_has_no_share_and_leads_on() {
    let plan = plan(Strategy::canary()).unwrap();
    assert_eq!(plan.share(Place::Step(usize::MAX)), Weight::ZERO);
    assert_eq!(plan.after(Place::Step(usize::MAX)), Some(Place::Watch));
}
