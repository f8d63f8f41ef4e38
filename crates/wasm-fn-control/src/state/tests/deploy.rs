//! Tests of deployments: numbers, strategies, routes, limits.

use super::*;

#[test]
fn first_version_goes_live_at_once_whatever_the_strategy() {
    for strategy in [ReleaseStrategy::AllAtOnce, canary(), blue_green()] {
        let mut world = World::default();
        let plan = world.deploy(ask("hello", 1, strategy));
        assert!(plan.first);
        assert_eq!(world.show(), "v1=100%, stable v1");
    }
}

#[test]
fn version_without_traffic_makes_no_stage() {
    let mut world = World::default();
    let plan = world.deploy(ask("hello", 1, ReleaseStrategy::NoTraffic));
    assert!(!plan.first);
    assert!(world.hello().stages.is_empty());
    assert!(world.hello().versions.contains_key(&v(1)));
    let plan = world.deploy(ask("hello", 1, canary()));
    assert!(plan.first);
    assert_eq!(world.show(), "v1=100%, stable v1");
}

#[test]
fn each_strategy_gives_the_traffic_it_says() {
    for (strategy, expected) in [
        (ReleaseStrategy::AllAtOnce, "v2=100%, stable v2, previous v1"),
        (ReleaseStrategy::NoTraffic, "v1=100%, stable v1"),
        (canary(), "v2=10% v1=90%, stable v1, canary v2"),
        (blue_green(), "v1=100%, stable v1, canary v2"),
    ] {
        let mut world = deployed(1);
        let plan = world.deploy(ask("hello", 2, strategy));
        assert_eq!((plan.version, plan.first), (v(2), false));
        assert_eq!(world.show(), expected);
    }
}

#[test]
fn deploying_the_same_again_changes_nothing() {
    let mut world = deployed(1);
    for strategy in [ReleaseStrategy::AllAtOnce, ReleaseStrategy::NoTraffic, watched()] {
        let plan = world.deploy(ask("hello", 1, strategy));
        assert_eq!((plan.change, plan.version), (None, v(1)));
    }
    world.deploy(ask("hello", 2, canary()));
    assert_eq!(world.deploy(ask("hello", 2, canary())).change, None);
}

#[test]
fn earlier_build_is_deployed_under_its_number() {
    let mut world = deployed(2);
    let plan = world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce));
    assert_eq!(plan.version, v(1));
    assert_eq!(world.show(), "v1=100%, stable v1, previous v2");
    assert_eq!(world.hello().versions.len(), 2);
}

#[test]
fn other_configuration_is_another_version() {
    let mut world = deployed(1);
    let plan = world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce).routes(&["/hi"]));
    assert_eq!(plan.version, v(2));
}

#[test]
fn deploying_at_once_what_is_stable_takes_everything_back() {
    let mut world = deployed(2);
    world.traffic(&[("v1", "30%"), ("v2", "70%")]).unwrap();
    world.deploy(ask("hello", 2, ReleaseStrategy::AllAtOnce));
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
}

#[test]
fn deploying_during_a_rollout_is_refused_with_the_ways_out() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    for strategy in [ReleaseStrategy::AllAtOnce, canary(), blue_green()] {
        let error = world.plan(&ask("hello", 3, strategy)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stage `live` of `hello` is rolling out from v1 to v2, expected it to be promoted or aborted first"
        );
    }
    assert_eq!(world.deploy(ask("hello", 3, ReleaseStrategy::NoTraffic)).version, v(3));
    assert_eq!(world.show(), "v2=10% v1=90%, stable v1, canary v2");
}

#[test]
fn replacing_aborts_the_rollout_under_way() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    world.deploy(ask("hello", 3, blue_green()).replace());
    assert_eq!(world.show(), "v1=100%, stable v1, canary v3");
    assert_eq!(world.fate(2), Some(Fate::Aborted));
    let verdict = world.hello().versions[&v(2)].verdict.clone().unwrap();
    assert_eq!(verdict.reason.as_deref(), Some("replaced by v3"));
    // Replacing with the stable version is an abort; replacing with the canary under another strategy is a
    // restart.
    world.deploy(ask("hello", 3, canary()).replace());
    assert_eq!(world.show(), "v3=10% v1=90%, stable v1, canary v3");
    let verdict = world.hello().versions[&v(3)].verdict.clone().unwrap();
    assert_eq!(verdict.reason.as_deref(), Some("replaced by another deployment of v3"));
    world.deploy(ask("hello", 1, canary()).replace());
    assert_eq!(world.show(), "v1=100%, stable v1");
    assert_eq!(world.fate(3), Some(Fate::Aborted));
}

#[test]
fn replacing_by_the_same_version_starts_anew_even_in_the_same_moment() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    let before = world.live().rollout.clone().unwrap();
    world.deploy(ask("hello", 2, canary()).replace());
    assert_eq!(world.show(), "v2=10% v1=90%, stable v1, canary v2");
    assert_ne!(world.live().rollout.as_ref().unwrap().id(), before.id());
    let ended = &world.hello().ended[&StageName::live()];
    assert_eq!((ended.outcome, ended.started_ms), (RolloutOutcome::Aborted, before.started_ms));
    // With all-at-once, the version gets all traffic.
    world.deploy(ask("hello", 2, watched()).replace());
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
    assert_eq!(
        (world.fate(2), world.hello().ended[&StageName::live()].outcome),
        (None, RolloutOutcome::Promoted)
    );
}

#[test]
fn rollout_remembers_where_it_came_from() {
    let mut world = deployed(2);
    world.traffic(&[("v1", "30%"), ("v2", "70%")]).unwrap();
    let salt = world.live().salt;
    world.deploy(ask("hello", 3, canary()));
    let rollout = world.live().rollout.clone().unwrap();
    assert_eq!(rollout.from_split.weight(v(1)).to_string(), "30%");
    assert_eq!(rollout.started_ms, 5);
    assert_eq!(world.live().salt, salt, "users are spread over versions: a new salt would move them");
}

#[test]
fn rollout_from_a_settled_stage_chooses_other_users() {
    let mut world = deployed(1);
    let salt = world.live().salt;
    world.deploy(ask("hello", 2, canary()));
    assert_ne!(world.live().salt, salt);
    let salt = world.live().salt;
    world.traffic(&[("v2", "50%"), ("v1", "50%")]).unwrap();
    assert_eq!(world.live().salt, salt);
}

#[test]
fn clash_names_both_functions_and_the_route() {
    let mut world = deployed(1);
    let error = world.plan(&ask("other", 2, ReleaseStrategy::AllAtOnce).routes(&["/hello/*"])).unwrap_err();
    assert!(matches!(error, ChangeError::Clash(_)));
    let text = error.to_string();
    assert!(text.contains("/hello/*") && text.contains("`hello`") && text.contains("`other`"), "{text}");
    // A version without traffic claims no routes. The clash appears when it gets traffic.
    world.deploy(ask("other", 2, ReleaseStrategy::NoTraffic).routes(&["/hello/*"]));
    world.plan(&ask("other", 2, ReleaseStrategy::AllAtOnce).routes(&["/hello/*"])).unwrap_err();
}

#[test]
fn canary_and_previous_version_keep_their_routes_for_promote_and_rollback() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()).routes(&["/new"]));
    let grab = |route: &'static str| ask("other", 9, ReleaseStrategy::AllAtOnce).routes(&[route]);
    world.plan(&grab("/new")).unwrap_err();
    world.plan(&grab("/hello/*")).unwrap_err();
    world.promote().unwrap();
    world.plan(&grab("/hello/*")).unwrap_err();
    world.deploy(ask("hello", 3, ReleaseStrategy::AllAtOnce).routes(&["/newer"]));
    world.plan(&grab("/hello/*")).unwrap();
}

#[test]
fn other_stages_are_reachable_at_their_default_only() {
    let mut world = World::default();
    world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce).stage("staging").routes(&["/hi"]));
    world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce).routes(&["/hi"]));
    let routes = |stage: &str| {
        let stage: StageName = stage.parse().unwrap();
        let routes = world.hello().routes(&hello(), &stage, v(1));
        routes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(routes("staging"), ["/hello@staging/*"]);
    assert_eq!(routes("live"), ["/hi"]);
    assert_eq!(world.hello().versions.len(), 1);
}

#[test]
fn old_versions_are_forgotten_and_numbers_never_reused() {
    let mut world = deployed(1);
    for component in 2..=60 {
        world.deploy(ask("hello", component, ReleaseStrategy::NoTraffic));
    }
    let kept: Vec<_> = world.hello().versions.keys().map(|version| version.number()).collect();
    assert_eq!(kept.len(), 51, "50 and the stable one");
    assert_eq!((kept[0], kept[1], *kept.last().unwrap()), (1, 11, 60));
    let plan = world.deploy(ask("hello", 2, ReleaseStrategy::NoTraffic));
    assert_eq!(plan.version, v(61), "a forgotten build is a new version");
}

#[test]
fn previous_versions_are_bounded_and_not_forgotten() {
    let world = deployed(100);
    assert_eq!(world.live().previous.len(), 20);
    assert_eq!(world.live().newest_previous(), Some(v(99)));
    assert_eq!(world.hello().versions.len(), 71);
}

#[test]
fn bounds_are_refused_not_overrun() {
    let mut world = deployed(1);
    for stage in 1..32 {
        world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce).stage(&format!("s{stage}")));
    }
    let one_more = world.plan(&ask("hello", 1, ReleaseStrategy::AllAtOnce).stage("one-more"));
    assert!(matches!(one_more, Err(ChangeError::TooManyStages { found: 32, .. })));

    let function = Function { next_version: v(u32::MAX), ..Function::default() };
    let state = State::new(
        Revision(0),
        BTreeMap::from([(hello(), Arc::new(function))]),
        Arc::default(),
        Arc::default(),
    );
    let world = World { state, changes: Vec::new() };
    let used_up = world.plan(&ask("hello", 1, ReleaseStrategy::AllAtOnce));
    assert_eq!(used_up, Err(ChangeError::VersionsUsedUp(hello())));
}

#[test]
fn version_that_could_do_more_needs_somebody_who_accepts_it() {
    let mut world = deployed(1);
    for strategy in [ReleaseStrategy::AllAtOnce, ReleaseStrategy::NoTraffic, canary(), blue_green()] {
        let mut more = ask("hello", 2, strategy);
        more.config.egress = vec!["https://a.test".parse().unwrap()];
        let Err(ChangeError::Grows(grows)) = world.plan(&more) else { panic!("it is refused") };
        assert_eq!((grows.stable, grows.growth.to_string().as_str()), (v(1), "egress https://a.test"));
        more.allow_new = true;
        let plan = world.plan(&more).unwrap();
        assert_eq!(plan.growth, grows.growth);
        let Some(FunctionChange { action: Action::Deploy { growth, .. }, .. }) = plan.change else {
            panic!()
        };
        assert_eq!(growth, ["egress https://a.test"]);
    }
    // Another stage has nothing to compare with.
    let mut staged = ask("hello", 2, ReleaseStrategy::AllAtOnce).stage("staging");
    staged.config.egress = vec!["https://a.test".parse().unwrap()];
    assert!(!world.deploy(staged).growth.is_empty());
    // What was once accepted is stable now, or is not.
    let mut again = ask("hello", 2, ReleaseStrategy::AllAtOnce);
    again.config.egress = vec!["https://a.test".parse().unwrap()];
    assert!(matches!(world.plan(&again), Err(ChangeError::Grows(_))));
    again.allow_new = true;
    world.deploy(again);
    let back = world.deploy(ask("hello", 1, ReleaseStrategy::AllAtOnce));
    assert_eq!(back.growth, Growth::default());
}
