//! Tests of steps by cohort, and of the cohorts that they may name.

use wasm_fn_core::{CohortRule, Condition, Role, Source, Weight};

use super::*;

fn by_steps(steps: &[&str]) -> ReleaseStrategy {
    by(rollout::Strategy::Canary { steps: steps.iter().map(|step| step.parse().unwrap()).collect() })
}

/// A deployment of `component` whose configuration has these rules. The name `""` means no name.
fn with(component: u8, strategy: ReleaseStrategy, rules: &[(&str, Role)]) -> Ask {
    let mut ask = ask("hello", component, strategy);
    let rule = |&(name, role): &(&str, Role)| CohortRule {
        name: (!name.is_empty()).then(|| name.parse().unwrap()),
        condition: Condition::new(Source::header("x-group").unwrap(), vec!["a".to_owned()]).unwrap(),
        role,
    };
    ask.config.cohorts = rules.iter().map(rule).collect();
    ask
}

#[track_caller]
fn refuses(world: &World, ask: &Ask, expected: &str) {
    assert_eq!(world.plan(ask).unwrap_err().to_string(), expected);
}

const RULES: &[(&str, Role)] =
    &[("beta", Role::Canary), ("", Role::Canary), ("vip", Role::Stable), ("staff", Role::Canary)];

#[test]
fn steps_name_cohorts_of_the_stable_version() {
    let mut world = World::default();
    world.deploy(with(1, ReleaseStrategy::AllAtOnce, RULES));
    // The rules of the new version do not matter, whether it has them or lacks them.
    world.deploy(ask("hello", 2, by_steps(&["10% of beta", "staff", "10%"])));
    assert_eq!(world.show(), "v1=100%, stable v1, canary v2");
    let rollout = world.live().rollout.as_ref().unwrap();
    assert_eq!(rollout.spec.plan().share(rollout.phase.place().unwrap()), Weight::ZERO);
    for weights in ["v1=100%", "v2=10% v1=90%"] {
        world.promote().unwrap();
        assert_eq!(world.show(), format!("{weights}, stable v1, canary v2"));
    }
}

#[test]
fn steps_by_no_cohort_of_stable_are_refused_with_those_there_are() {
    let mut world = World::default();
    world.deploy(with(1, ReleaseStrategy::AllAtOnce, RULES));
    let stable = "v1, the stable version in stage `live` of `hello`";
    refuses(
        &world,
        &ask("hello", 2, by_steps(&["beta", "internal"])),
        &format!(
            "step 2 is `internal`, but {stable}, has no cohort with that name, expected one of its cohorts beta, staff"
        ),
    );
    refuses(
        &world,
        &with(2, by_steps(&["5% of new"]), &[("new", Role::Canary)]),
        &format!(
            "step 1 is `5% of new`, but {stable}, has no cohort with that name (the new version's rules apply only once it is \
             promoted), expected one of its cohorts beta, staff"
        ),
    );
    refuses(
        &world,
        &ask("hello", 2, by_steps(&["vip"])),
        &format!(
            "step 1 is `vip`, but {stable}, sends that cohort to stable, expected one of its cohorts beta, staff"
        ),
    );
    let plain = deployed(1);
    refuses(
        &plain,
        &ask("hello", 2, by_steps(&["beta"])),
        &format!(
            "step 1 is `beta`, but {stable}, has no cohort with that name, expected no step by cohort, because it has no \
             named rule that sends users to the canary"
        ),
    );
}

#[test]
fn first_deployment_is_live_whatever_its_steps_name() {
    let mut world = World::default();
    assert!(world.deploy(with(1, by_steps(&["beta"]), RULES)).first);
    assert_eq!(world.show(), "v1=100%, stable v1");
    let mut nameless = World::default();
    assert!(nameless.deploy(ask("hello", 1, by_steps(&["beta"]))).first);
}

#[test]
fn a_replacement_names_cohorts_of_stable_too() {
    let mut world = World::default();
    world.deploy(with(1, ReleaseStrategy::AllAtOnce, RULES));
    world.deploy(with(2, canary(), &[("new", Role::Canary)]));
    assert!(world.plan(&ask("hello", 3, by_steps(&["new"])).replace()).is_err());
    world.deploy(ask("hello", 3, by_steps(&["beta"])).replace());
    assert_eq!(world.show(), "v1=100%, stable v1, canary v3");
}
