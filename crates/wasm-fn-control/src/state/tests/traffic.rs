//! Tests of promote, abort, rollback, weights and delete.

use super::*;

#[test]
fn deleted_stage_takes_its_routes_along_and_leaves_versions_and_other_stages() {
    let mut world = deployed(1);
    let staging: StageName = "staging".parse().unwrap();
    let mut ask = ask("hello", 2, ReleaseStrategy::AllAtOnce);
    ask.stage = staging.clone();
    world.deploy(ask);
    let live = world.live().clone();
    let change = world.state.plan_delete_stage(&hello(), &staging).unwrap();
    world.carry_out(change);
    assert!(!world.hello().stages.contains_key(&staging));
    assert_eq!((world.live(), world.hello().versions.len()), (&live, 2));
    let gone = ChangeError::NoSuchStage { function: hello(), stage: staging.clone() };
    assert_eq!(world.state.plan_delete_stage(&hello(), &staging), Err(gone));
    let refused = world.state.plan_delete_stage(&hello(), &StageName::live());
    assert_eq!(refused, Err(ChangeError::LiveStage(hello())));
}

#[test]
fn promoted_canary_is_stable_and_the_old_stable_previous() {
    for strategy in [canary(), blue_green()] {
        let mut world = deployed(1);
        world.deploy(ask("hello", 2, strategy));
        world.promote().unwrap();
        assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
        assert_eq!(world.fate(2), None);
    }
}

#[test]
fn aborted_canary_has_no_traffic_and_a_verdict() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    world.abort().unwrap();
    assert_eq!(world.show(), "v1=100%, stable v1");
    let verdict = world.hello().versions[&v(2)].verdict.clone().unwrap();
    assert_eq!(verdict.fate, Fate::Aborted);
    assert_eq!((verdict.at_ms, verdict.reason.as_deref()), (3000, Some("because")));
}

#[test]
fn verdict_is_cleared_when_the_version_becomes_stable() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    world.abort().unwrap();
    world.deploy(ask("hello", 2, canary()));
    assert_eq!(world.fate(2), Some(Fate::Aborted));
    world.promote().unwrap();
    assert_eq!(world.fate(2), None);
}

#[test]
fn promote_and_abort_need_a_rollout() {
    let mut world = deployed(1);
    let expected = ChangeError::NoRollout { function: hello(), stage: StageName::live() };
    assert_eq!(world.promote(), Err(expected.clone()));
    assert_eq!(world.abort(), Err(expected));
}

#[test]
fn rollback_goes_further_back_each_time() {
    let mut world = deployed(3);
    world.rollback(None).unwrap();
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
    assert_eq!(world.fate(3), Some(Fate::RolledBack));
    world.rollback(None).unwrap();
    assert_eq!(world.show(), "v1=100%, stable v1");
    let expected =
        ChangeError::NoPreviousVersion { function: hello(), stage: StageName::live(), stable: v(1) };
    assert_eq!(world.rollback(None), Err(expected));
}

#[test]
fn rollback_to_a_version_goes_there() {
    for (to, expected) in [
        ("v1", "v1=100%, stable v1"),
        ("previous", "v2=100%, stable v2, previous v1"),
        ("v3", "v3=100%, stable v3, previous v1 v2"),
        ("stable", "v3=100%, stable v3, previous v1 v2"),
    ] {
        let mut world = deployed(3);
        world.rollback(Some(to)).unwrap();
        assert_eq!(world.show(), expected, "{to}");
    }
}

#[test]
fn rollback_can_be_undone_by_naming_the_version() {
    let mut world = deployed(2);
    world.rollback(None).unwrap();
    world.rollback(Some("v2")).unwrap();
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
    assert_eq!((world.fate(1), world.fate(2)), (None, None));
}

#[test]
fn rollback_without_a_rollout_is_what_happened_last() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    world.command(Command::PromoteFully).unwrap();
    world.traffic(&[("v2", "90%"), ("v1", "10%")]).unwrap();
    let last = |world: &World| {
        let ended = world.hello().ended[&StageName::live()].clone();
        (ended.canary, ended.base, ended.outcome, ended.ended_ms, ended.reason)
    };
    assert_eq!(last(&world).2, RolloutOutcome::Promoted);
    world.rollback(None).unwrap();
    let because = "because".to_owned();
    assert_eq!(last(&world), (v(2), v(1), RolloutOutcome::RolledBack, 5000, because.clone()));
    world.rollback(Some("v2")).unwrap();
    assert_eq!(last(&world), (v(2), v(1), RolloutOutcome::Promoted, 6000, because));
}

#[test]
fn rollback_during_a_rollout_aborts_it() {
    for to in [None, Some("stable"), Some("v2")] {
        let mut world = deployed(2);
        world.deploy(ask("hello", 3, canary()));
        world.rollback(to).unwrap();
        assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
        assert_eq!(world.fate(3), Some(Fate::Aborted));
        assert_eq!(world.changes.last().unwrap().action.as_str(), "abort");
    }
}

#[test]
fn rollback_past_a_rollout_ends_it_too() {
    let mut world = deployed(2);
    world.deploy(ask("hello", 3, canary()));
    world.rollback(Some("v1")).unwrap();
    assert_eq!(world.show(), "v1=100%, stable v1");
    assert_eq!((world.fate(2), world.fate(3)), (Some(Fate::RolledBack), Some(Fate::Aborted)));
}

#[test]
fn rollback_to_the_canary_is_refused() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    assert!(matches!(world.rollback(Some("canary")), Err(ChangeError::RolloutInProgress { .. })));
}

#[test]
fn traffic_keeps_or_moves_the_stable_role() {
    for (shares, expected) in [
        (&[("v1", "5%"), ("v3", "95%")][..], "v3=95% v1=5%, stable v3, previous v1 v2"),
        (&[("v1", "100%")], "v1=100%, stable v1, previous v2 v3"),
        (&[("previous", "50%"), ("v1", "50%")], "v2=50% v1=50%, stable v1, previous v2 v3"),
        (&[("stable", "100%")], "v3=100%, stable v3, previous v1 v2"),
    ] {
        let mut world = deployed(3);
        world.traffic(shares).unwrap();
        assert_eq!(world.show(), expected);
    }
}

#[test]
fn traffic_in_a_rollout_moves_only_its_two_versions() {
    let mut world = deployed(2);
    world.deploy(ask("hello", 3, canary()));
    world.traffic(&[("stable", "50%"), ("canary", "50%")]).unwrap();
    assert_eq!(world.show(), "v3=50% v2=50%, stable v2, canary v3, previous v1");
    world.traffic(&[("canary", "100%")]).unwrap();
    assert_eq!(world.show(), "v3=100%, stable v2, canary v3, previous v1");
    let error = world.traffic(&[("v1", "50%"), ("v3", "50%")]).unwrap_err();
    assert!(matches!(error, ChangeError::RolloutInProgress { .. }), "{error}");
}

#[test]
fn share_of_zero_is_no_share() {
    let mut world = deployed(2);
    world.traffic(&[("v1", "100%"), ("v2", "0%")]).unwrap();
    assert_eq!(world.show(), "v1=100%, stable v1, previous v2");
}

#[test]
fn version_deployed_without_traffic_gets_its_first_by_hand() {
    let mut world = World::default();
    for component in [1, 2] {
        world.deploy(ask("hello", component, ReleaseStrategy::NoTraffic));
    }
    assert!(world.hello().stages.is_empty());
    let error = world.traffic(&[("stable", "100%")]).unwrap_err();
    assert_eq!(error.to_string(), "stage `live` of `hello` has no version stable");
    world.traffic(&[("v1", "30%"), ("v2", "70%")]).unwrap();
    assert_eq!(world.show(), "v2=70% v1=30%, stable v2");
    world.deploy(ask("hello", 3, canary()));
    assert_eq!(world.live().canary(), Some(v(3)));
}

#[test]
fn first_traffic_by_hand_may_not_take_a_route() {
    let mut world = deployed(1);
    world.deploy(ask("other", 2, ReleaseStrategy::NoTraffic).routes(&["/hello/*"]));
    let (other, live): (FunctionName, _) = ("other".parse().unwrap(), StageName::live());
    let shares = [("v1".parse().unwrap(), Weight::FULL)];
    let planned = world.state.plan_traffic(&other, &live, &shares, Salt([7; 2]));
    assert!(matches!(planned, Err(ChangeError::Clash(_))), "{planned:?}");
}

#[test]
fn same_traffic_again_is_no_change() {
    let mut world = deployed(1);
    world.traffic(&[("v1", "100%")]).unwrap();
    assert_eq!(world.changes.len(), 1);
}

#[test]
fn bad_traffic_is_refused() {
    for (shares, expected) in [
        (&[("v1", "50%"), ("v2", "40.05%")][..], "weights add up to 90.05%, expected 100%"),
        (&[("v1", "100%"), ("v2", "10%")], "weights add up to 110%, expected 100%"),
        (&[("v1", "0%"), ("v2", "0%")], "weights add up to 0%, expected 100%"),
        (&[], "weights add up to 0%, expected 100%"),
        (&[("v1", "100%"), ("v9", "0%")], "stage `live` of `hello` has no version v9"),
        (&[("v2", "50%"), ("stable", "50%")], "v2 appears twice"),
        (&[("v9", "100%")], "stage `live` of `hello` has no version v9"),
        (&[("canary", "100%")], "stage `live` of `hello` has no version canary"),
    ] {
        let mut world = deployed(2);
        assert_eq!(world.traffic(shares).unwrap_err().to_string(), expected);
        assert_eq!(world.changes.len(), 2);
    }
}

#[test]
fn unknown_functions_stages_and_versions_are_named() {
    let world = deployed(1);
    let (live, staging): (StageName, StageName) = (StageName::live(), "staging".parse().unwrap());
    let other: FunctionName = "other".parse().unwrap();
    let state = &world.state;
    let unknown = "there is no function `other`";
    assert_eq!(
        state.plan_command(&other, &live, Command::Promote, facts()).unwrap_err().to_string(),
        unknown
    );
    assert_eq!(state.plan_command(&other, &live, Command::Abort, facts()).unwrap_err().to_string(), unknown);
    assert_eq!(state.plan_rollback(&other, &live, None, facts()).unwrap_err().to_string(), unknown);
    assert_eq!(state.plan_traffic(&other, &live, &[], Salt([7; 2])).unwrap_err().to_string(), unknown);
    assert_eq!(state.plan_delete(&other).unwrap_err().to_string(), unknown);
    let no_stage = "`hello` has no traffic in stage `staging`";
    assert_eq!(
        state.plan_command(&hello(), &staging, Command::Promote, facts()).unwrap_err().to_string(),
        no_stage
    );
    let to = Some(VersionRef::No(v(9)));
    let no_version = "stage `live` of `hello` has no version v9";
    assert_eq!(state.plan_rollback(&hello(), &live, to, facts()).unwrap_err().to_string(), no_version);
}

#[test]
fn rollback_forgets_versions_whose_routes_were_taken() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, ReleaseStrategy::AllAtOnce).routes(&["/a"]));
    world.deploy(ask("hello", 3, ReleaseStrategy::AllAtOnce).routes(&["/b"]));
    world.deploy(ask("other", 9, ReleaseStrategy::AllAtOnce).routes(&["/hello/*"]));
    world.rollback(None).unwrap();
    assert_eq!(world.show(), "v2=100%, stable v2");
    assert!(matches!(world.rollback(Some("v1")), Err(ChangeError::Clash(_))));
}

#[test]
fn deleted_function_leaves_its_numbers_used() {
    let mut world = deployed(2);
    let change = world.state.plan_delete(&hello()).unwrap();
    world.carry_out(change);
    assert!(matches!(world.state.function(&hello()), Err(ChangeError::NoSuchFunction(_))));
    assert_eq!(world.state.functions().count(), 0);
    world.plan(&ask("other", 9, ReleaseStrategy::AllAtOnce).routes(&["/hello/*"])).unwrap();
    let plan = world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce));
    assert_eq!((plan.version, plan.first), (v(3), true));
}

#[test]
fn function_during_a_rollout_can_be_deleted() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    world.state.plan_delete(&hello()).unwrap();
}
