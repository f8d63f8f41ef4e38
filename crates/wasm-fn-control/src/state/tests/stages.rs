//! What stages lay over configurations: who has it, what a change of it is, and what it makes impossible.

use super::*;

/// The environment variable `API` and these routes.
fn config(api: &str, routes: &[&str]) -> StageConfig {
    StageConfig {
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        env: [("API".to_owned(), api.to_owned())].into(),
    }
}

/// A deployment of component 1, which has a variable `API` of its own, to a stage that lays `config` over it.
fn staged(stage: &str, config: StageConfig) -> Ask {
    let mut ask = ask("hello", 1, ReleaseStrategy::AllAtOnce).stage(stage);
    ask.config.env = [("API".to_owned(), "own".to_owned())].into();
    Ask { stage_config: Some(Arc::new(config)), ..ask }
}

impl World {
    /// The variable `API` of version `no` in `stage`.
    fn api(&self, stage: &str, no: u32) -> String {
        self.hello().versions[&v(no)].config_in(&stage.parse().unwrap()).env["API"].clone()
    }

    fn stable(&self, stage: &str) -> VersionNo {
        let stage: StageName = stage.parse().unwrap();
        self.hello().stages[&stage].stable
    }

    fn routes(&self, stage: &str) -> Vec<String> {
        let name: StageName = stage.parse().unwrap();
        let routes = self.hello().routes(&hello(), &name, self.stable(stage));
        routes.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn a_version_keeps_its_number_and_has_what_each_stage_lays_over_it() {
    let mut world = World::default();
    let first = world.deploy(staged("staging", config("staging", &["staging.example.com/*"])));
    assert_eq!(first.config.env["API"], "staging", "what is prepared is what will run");
    assert_eq!(world.deploy(staged("live", config("live", &[]))).version, v(1));
    assert_eq!(world.deploy(staged("qa", StageConfig::default())).version, v(1));
    let found = ["staging", "live", "qa"].map(|stage| world.api(stage, 1));
    assert_eq!(found, ["staging", "live", "own"]);
    let routes = ["staging", "live", "qa"].map(|stage| world.routes(stage).join(" "));
    assert_eq!(routes, ["staging.example.com/*", "/hello/*", "/hello@qa/*"]);
    assert_eq!(world.hello().versions.len(), 1);

    let again = world.deploy(staged("staging", config("staging", &["staging.example.com/*"])));
    assert_eq!((again.version, again.change), (v(1), None));
}

#[test]
fn something_else_laid_over_in_the_same_stage_is_another_version() {
    let mut world = World::default();
    world.deploy(staged("live", config("one", &[])));
    let by_canary = Ask { strategy: canary(), ..staged("live", config("two", &["/new"])) };
    assert_eq!(world.deploy(by_canary).version, v(2));
    assert_eq!(world.show(), "v2=10% v1=90%, stable v1, canary v2", "it is a rollout like any other");
    assert_eq!((world.api("live", 1), world.api("live", 2)), ("one".to_owned(), "two".to_owned()));
    assert_eq!(world.routes("live"), ["/hello/*"], "routes follow stable");
    world.promote().unwrap();
    assert_eq!(world.routes("live"), ["/new"]);
    world.rollback(None).unwrap();
    assert_eq!((world.stable("live"), world.routes("live").join(" ")), (v(1), "/hello/*".to_owned()));

    // A version that ran in a stage without anything can get nothing there later.
    let mut world = deployed(1);
    let with = Ask { allow_new: true, ..ask("hello", 1, ReleaseStrategy::AllAtOnce) };
    let with = Ask { stage_config: Some(Arc::new(config("one", &[]))), ..with };
    assert_eq!(world.deploy(with).version, v(2));
}

#[test]
fn a_release_that_does_not_say_keeps_what_stable_has() {
    let mut world = World::default();
    world.deploy(staged("live", config("live", &["/a"])));
    let silent = |component| Ask { stage_config: None, component, ..staged("live", StageConfig::default()) };
    assert_eq!(world.deploy(silent(1)).change, None);
    let second = world.deploy(silent(2));
    assert_eq!(
        (second.version, world.api("live", 2), world.routes("live")),
        (v(2), "live".into(), vec!["/a".into()])
    );
    // One that says that there is nothing takes it away.
    assert_eq!(world.deploy(Ask { component: 2, ..staged("live", StageConfig::default()) }).version, v(3));
    assert_eq!((world.api("live", 3), world.routes("live")), ("own".into(), vec!["/hello/*".into()]));
}

#[test]
fn only_deployments_bring_a_version_to_a_stage_with_a_configuration() {
    let mut world = World::default();
    world.deploy(staged("live", config("live", &[])));
    world.deploy(Ask { component: 2, ..staged("staging", config("staging", &[])) });
    let refused = ChangeError::NotDeployedThere(Box::new(NotDeployedThere {
        function: hello(),
        stage: StageName::live(),
        version: v(2),
        stable: v(1),
    }));
    assert_eq!(world.traffic(&[("v2", "10%"), ("v1", "90%")]), Err(refused.clone()));
    assert_eq!(world.rollback(Some("v2")), Err(refused));
    world.deploy(Ask { component: 2, ..staged("live", config("live", &[])) });
    world.traffic(&[("v2", "10%"), ("v1", "90%")]).unwrap();

    // A stage without one takes any version, and it stays as it is there.
    let mut world = deployed(1);
    world.deploy(Ask { component: 2, ..staged("staging", config("staging", &[])) });
    world.traffic(&[("v2", "100%")]).unwrap();
    assert_eq!(world.api("live", 2), "own");
    let later = Ask { component: 2, allow_new: true, ..staged("live", config("live", &[])) };
    assert_eq!(world.deploy(later).version, v(3));
}

#[test]
fn names_of_the_stage_are_part_of_what_a_version_can_do_more() {
    let mut world = deployed(1);
    let mut more = Ask { component: 2, ..staged("live", config("live", &[])) };
    more.config.env.clear();
    let Err(ChangeError::Grows(grows)) = world.plan(&more) else { panic!("it is refused") };
    assert_eq!(grows.growth.texts(), ["env API"]);
    world.deploy(Ask { allow_new: true, ..more });
    // Stable has the name now, by the stage, and it does not matter from where the next one has it.
    let own = Ask { component: 3, ..staged("live", StageConfig::default()) };
    assert_eq!(world.deploy(own).growth, Growth::default());
}

#[test]
fn what_does_not_fit_the_configuration_is_refused() {
    let world = World::default();
    let env = [("A=B".to_owned(), String::new())].into();
    let error = world.plan(&staged("live", StageConfig { env, routes: Vec::new() })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `live` of `hello`: env: found \"A=B\", expected a name without `=` and no NUL characters"
    );
}

#[test]
fn routes_of_a_stage_clash_like_any_others() {
    let mut world = World::default();
    world.deploy(staged("live", config("live", &["/a", "/b"])));
    let clash = |world: &World, ask: &Ask| match world.plan(ask) {
        Err(ChangeError::Clash(clash)) => clash.to_string(),
        other => panic!("{other:?}"),
    };
    let same = clash(&world, &staged("staging", config("staging", &["/b"])));
    assert_eq!(
        same,
        "route /b is claimed by `hello` (stage `live`) and by `hello` (stage `staging`), expected one claim"
    );
    let other = Ask { function: "other".parse().unwrap(), ..staged("staging", config("x", &["/a"])) };
    let of_another = clash(&world, &other);
    assert!(of_another.contains("`hello` (stage `live`) and by `other` (stage `staging`)"), "{of_another}");
    world.deploy(staged("staging", config("staging", &["/s"])));
    let third = ask("third", 7, ReleaseStrategy::AllAtOnce).routes(&["/s"]);
    assert!(clash(&world, &third).contains("`hello` (stage `staging`) and by `third` (stage `live`)"));
}

#[test]
fn a_deleted_stage_leaves_nothing_on_versions() {
    let mut world = World::default();
    world.deploy(staged("live", config("live", &[])));
    world.deploy(staged("staging", config("staging", &[])));
    let staging: StageName = "staging".parse().unwrap();
    let change = world.state.plan_delete_stage(&hello(), &staging).unwrap();
    world.carry_out(change);
    assert_eq!((world.api("staging", 1), world.api("live", 1)), ("own".to_owned(), "live".to_owned()));
    assert_eq!(world.deploy(staged("staging", config("other", &[]))).version, v(1), "it begins anew");
}

#[test]
fn stages_without_traffic_count_too() {
    let mut world = World::default();
    let quiet = |number: u32| Ask {
        strategy: ReleaseStrategy::NoTraffic,
        ..staged(&format!("s{number}"), config("x", &[]))
    };
    (0..32).for_each(|number| drop(world.deploy(quiet(number))));
    assert!(matches!(world.plan(&quiet(32)), Err(ChangeError::TooManyStages { found: 32, .. })));
    world.plan(&quiet(31)).unwrap();
}

#[test]
fn versions_stored_before_stages_had_configurations_are_pinned_where_they_are() {
    let mut world = deployed(2);
    world.deploy(Ask { strategy: ReleaseStrategy::NoTraffic, ..ask("hello", 3, canary()) });
    let mut json = serde_json::to_value(crate::stored::StoredFunction::from(world.hello())).unwrap();
    for version in json["versions"].as_object_mut().unwrap().values_mut() {
        version.as_object_mut().unwrap().remove("stage_configs").unwrap();
    }
    let read = serde_json::from_value::<crate::stored::StoredFunction>(json).unwrap();
    let function = Function::try_from(read).unwrap();
    let pinned = |no| function.versions[&v(no)].stage_configs.contains_key(&StageName::live());
    assert_eq!([1, 2, 3].map(pinned), [true, true, false]);
}
