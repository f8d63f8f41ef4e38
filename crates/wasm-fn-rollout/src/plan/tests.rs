//! Tests of plans: what is refused, and how strategies are laid out.

use std::time::Duration;

use wasm_fn_core::Weight;

use super::{Plan, PlanError, PlanSpec, Step, Strategy};
use crate::Place;

fn weights(percents: &[&str]) -> Vec<Weight> {
    percents.iter().map(|percent| percent.parse().unwrap()).collect()
}

fn canary(steps: &[&str]) -> Strategy {
    Strategy::Canary { steps: steps.iter().map(|step| step.parse().unwrap()).collect() }
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
fn cohorts_that_do_not_grow_or_come_late_are_refused() {
    refuses(canary(&["0% of beta"]), "step 1 is 0% of beta, expected at least 0.01%");
    refuses(canary(&["beta", "beta"]), "step 2 is beta after beta, expected more");
    refuses(
        canary(&["50% of beta", "vip", "10% of beta", "10%"]),
        "step 3 is 10% of beta after 50% of beta, expected more",
    );
    refuses(canary(&["beta", "10% of beta"]), "step 2 is 10% of beta after beta, expected more");
    let late = "step 3 is vip after 10%, expected cohorts before shares of everybody";
    refuses(canary(&["beta", "10%", "vip"]), late);
    refuses(
        canary(&["beta", "100%", "vip"]),
        "step 3 is vip after 100%, expected cohorts before shares of everybody",
    );
    let steps = vec![Step::Share("1%".parse().unwrap()); 10_001];
    refuses(Strategy::Canary { steps }, "a canary has 10001 steps, expected at most 10000");
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
    lays_out(canary(&["0.01%", "5%", "100%"]), &["0.01%", "5%", "100%"]);
    lays_out(linear("25%"), &["25%", "50%", "75%", "100%"]);
    lays_out(linear("40%"), &["40%", "80%", "100%"]);
    lays_out(linear("100%"), &["100%"]);
}

#[test]
fn steps_by_cohort_give_nobody_a_share() {
    lays_out(canary(&["beta"]), &["0%", "100%"]);
    lays_out(canary(&["10% of beta", "beta", "10%"]), &["0%", "0%", "10%", "100%"]);
    lays_out(canary(&["beta", "100%"]), &["0%", "100%"]);
}

/// Each cohort's part at each place of the rollout, beside whether the place is by cohort.
#[track_caller]
fn places_cohorts(steps: &[&str], cohorts: &[&str], expected: &[(&[&str], bool)]) {
    let plan = plan(canary(steps)).unwrap();
    let places = std::iter::successors(Some(plan.first()), |&place| plan.after(place));
    let share = |place, name: &&str| plan.cohort_share(place, &name.parse().unwrap());
    let found: Vec<_> = places
        .map(|place| {
            let shares: Vec<_> = cohorts.iter().map(|name| share(place, name)).collect();
            (shares, plan.is_by_cohort(place))
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|(shares, by)| (weights(shares), *by)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_cohort_keeps_what_its_last_step_said() {
    places_cohorts(
        &["10% of beta", "vip", "50% of beta", "10%", "50%"],
        &["beta", "vip", "staff"],
        &[
            (&["10%", "0%", "100%"], true),
            (&["10%", "100%", "100%"], true),
            (&["50%", "100%", "100%"], true),
            (&["50%", "100%", "100%"], false),
            (&["50%", "100%", "100%"], false),
            (&["50%", "100%", "100%"], false),
        ],
    );
    let plan = plan(Strategy::BlueGreen).unwrap();
    assert_eq!(plan.cohort_share(Place::Check, &"beta".parse().unwrap()), Weight::FULL);
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
