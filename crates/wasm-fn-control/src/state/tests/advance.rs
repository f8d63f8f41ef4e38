//! Tests of what a rollout does by itself and by command, and what happens to its versions.

use wasm_fn_rollout::{Decision, HoldCause, Phase, Place, Verdict, advance, failed};

use super::*;

impl World {
    fn decide(&mut self, decision: Decision) {
        let change = self.state.plan_decision(&hello(), &StageName::live(), decision, facts()).unwrap();
        change.into_iter().for_each(|change| self.carry_out(change));
    }

    /// The decision of the plan when the gate passes and the time is over.
    fn pass(&mut self) {
        let rollout = self.rollout();
        let later = Time(5).after(Duration::from_secs(100_000));
        let decision = advance(rollout.spec.plan(), &rollout.phase, &Verdict::Pass, later);
        self.decide(decision);
    }

    fn fail(&mut self) {
        let rollout = self.rollout();
        let place = rollout.phase.place().unwrap();
        let decision = failed(rollout.spec.plan(), place, HoldCause::Gate("it is worse".to_owned()));
        self.decide(decision);
    }

    fn ended(&self) -> Option<(RolloutOutcome, &str)> {
        let ended = self.hello().ended.get(&StageName::live())?;
        Some((ended.outcome, ended.reason.as_str()))
    }
}

#[test]
fn canary_goes_through_its_steps_to_everybody_and_is_watched() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, steps(&["1%", "50%"], |_| ())));
    for expected in [
        "v2=1% v1=99%, stable v1, canary v2",
        "v2=50% v1=50%, stable v1, canary v2",
        "v2=100%, stable v2, previous v1",
    ] {
        assert_eq!(world.show(), expected);
        world.pass();
    }
    assert_eq!(world.live().rollout, None);
    assert_eq!(world.ended().unwrap().0, RolloutOutcome::Promoted);
    let words: Vec<_> = world.changes.iter().map(|change| change.action.as_str()).collect();
    assert_eq!(words, ["deploy", "deploy", "step", "promote", "settle"]);
}

#[test]
fn linear_rollout_grows_by_the_same_share() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, linear()));
    let mut shares = vec![world.live().split.weight(v(2)).to_string()];
    while world.live().canary().is_some() {
        world.pass();
        shares.push(world.live().split.weight(v(2)).to_string());
    }
    assert_eq!(shares, ["30%", "60%", "90%", "100%"]);
}

#[test]
fn everybody_at_once_is_watched_and_taken_back_to_where_they_were() {
    let mut world = deployed(2);
    world.deploy(ask("hello", 3, watched()));
    assert_eq!(world.show(), "v3=100%, stable v3, previous v1 v2");
    assert!(world.rollout().is_watch());
    world.fail();
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
    assert_eq!(world.fate(3), Some(Fate::RolledBack));
    assert_eq!(world.ended().unwrap().0, RolloutOutcome::RolledBack);
}

#[test]
fn watch_stands_in_nobodys_way() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, watched()));
    world.deploy(ask("hello", 3, watched()));
    assert_eq!(world.show(), "v3=100%, stable v3, previous v1 v2");
    assert_eq!(world.ended(), Some((RolloutOutcome::Promoted, "followed by the deployment of v3")));
    world.traffic(&[("v3", "50%"), ("v2", "50%")]).unwrap();
    assert_eq!(world.live().rollout, None);
    assert_eq!(world.ended(), Some((RolloutOutcome::Promoted, "the weights were set by hand")));
    world.deploy(ask("hello", 4, watched()));
    world.rollback(None).unwrap();
    assert_eq!(world.ended().unwrap().0, RolloutOutcome::RolledBack);
}

#[test]
fn failing_canary_loses_its_traffic_or_stands_still_as_asked() {
    let expected = [
        (rollout::OnFail::Rollback, "v1=100%, stable v1", None),
        (rollout::OnFail::Pause, "v2=10% v1=90%, stable v1, canary v2", Some("paused")),
        (rollout::OnFail::Freeze, "v2=10% v1=90%, stable v1, canary v2", Some("frozen")),
    ];
    for (on_fail, split, phase) in expected {
        let mut world = deployed(1);
        world.deploy(ask("hello", 2, steps(&["10%"], |plan| plan.on_fail = on_fail)));
        world.fail();
        assert_eq!(world.show(), split);
        assert_eq!(world.live().rollout.as_ref().map(|rollout| rollout.phase.as_str()), phase);
    }
}

#[test]
fn split_by_hand_over_three_versions_returns_after_an_abort() {
    for by_gate in [true, false] {
        let mut world = deployed(3);
        world.traffic(&[("v3", "50%"), ("v2", "30%"), ("v1", "20%")]).unwrap();
        let (before, salt) = (world.show(), world.live().salt);
        world.deploy(ask("hello", 4, canary()));
        assert_eq!(world.show(), "v4=10% v3=90%, stable v3, canary v4, previous v1 v2");
        if by_gate {
            world.fail()
        } else {
            world.abort().unwrap()
        }
        assert_eq!((world.show(), world.live().salt), (before, salt), "users are where they were");
        assert_eq!(world.live().rollout, None);
    }
}

#[test]
fn share_that_the_canary_had_by_hand_goes_to_stable() {
    let mut world = deployed(3);
    world.traffic(&[("v3", "50%"), ("v2", "30%"), ("v1", "20%")]).unwrap();
    world.deploy(ask("hello", 1, canary()));
    world.fail();
    assert_eq!(world.show(), "v3=70% v2=30%, stable v3, previous v1 v2");
}

#[test]
fn versions_of_the_split_before_are_kept_for_an_abort() {
    let mut world = deployed(30);
    world.deploy(ask("hello", 31, ReleaseStrategy::NoTraffic));
    world.traffic(&[("v31", "10%"), ("v30", "90%")]).unwrap();
    world.deploy(ask("hello", 32, canary()));
    for component in 33..=100 {
        world.deploy(ask("hello", component, ReleaseStrategy::NoTraffic));
    }
    assert!(world.hello().versions.contains_key(&v(31)));
    world.abort().unwrap();
    assert!(world.show().starts_with("v31=10% v30=90%, stable v30"), "{}", world.show());
}

#[test]
fn share_of_a_version_that_is_gone_goes_to_stable() {
    let mut world = deployed(2);
    world.deploy(ask("hello", 3, ReleaseStrategy::NoTraffic));
    world.traffic(&[("v3", "10%"), ("v2", "90%")]).unwrap();
    world.deploy(ask("hello", 4, canary()));
    // As stored by a program that did not keep the versions of the split before the rollout.
    let mut function = world.hello().clone();
    function.versions.remove(&v(3));
    let stored = crate::stored::StoredFunction::from(&function);
    let function = Function::try_from(stored).unwrap();
    world.state = State::new(
        world.state.revision(),
        BTreeMap::from([(hello(), Arc::new(function))]),
        Arc::default(),
        Arc::default(),
    );
    world.abort().unwrap();
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
}

#[test]
fn rollout_that_replaces_another_comes_from_the_split_before_both() {
    let mut world = deployed(2);
    world.traffic(&[("v2", "60%"), ("v1", "40%")]).unwrap();
    let before = world.show();
    world.deploy(ask("hello", 3, canary()));
    world.deploy(ask("hello", 4, canary()).replace());
    world.abort().unwrap();
    assert_eq!(world.show(), before);
}

#[test]
fn going_on_after_a_failure_takes_a_new_gate() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, steps(&["10%", "20%"], |plan| plan.on_fail = rollout::OnFail::Pause)));
    world.fail();
    assert_eq!(world.rollout().gate_no, 1);
    world.command(Command::Resume).unwrap();
    assert_eq!((world.rollout().gate_no, world.rollout().phase.as_str()), (2, "progressing"));
    world.fail();
    world.command(Command::Promote).unwrap();
    assert_eq!((world.rollout().gate_no, world.rollout().phase.place()), (3, Some(Place::Step(1))));
}

#[test]
fn manual_steps_wait_for_a_person() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, steps(&["10%"], |plan| plan.manual = true)));
    world.pass();
    assert_eq!(world.rollout().phase.as_str(), "awaiting promotion");
    world.command(Command::Promote).unwrap();
    assert_eq!(world.show(), "v2=100%, stable v2, previous v1");
}

#[test]
fn blue_green_without_checks_waits_for_a_person() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, blue_green()));
    world.pass();
    assert_eq!(world.rollout().phase.as_str(), "awaiting promotion");
    assert_eq!(world.show(), "v1=100%, stable v1, canary v2");
}

#[test]
fn commands_that_mean_nothing_now_are_refused_with_what_was_found() {
    let mut world = deployed(1);
    for command in [Command::Promote, Command::PromoteFully, Command::Pause, Command::Resume, Command::Abort]
    {
        let error = world.command(command).unwrap_err();
        assert_eq!(error.to_string(), "stage `live` of `hello` has no rollout under way");
    }
    world.deploy(ask("hello", 2, canary()));
    let error = world.command(Command::Resume).unwrap_err().to_string();
    assert_eq!(error, "stage `live` of `hello`: the rollout is progressing, expected a paused one");
    world.command(Command::Pause).unwrap();
    let error = world.command(Command::Pause).unwrap_err().to_string();
    assert_eq!(error, "stage `live` of `hello`: the rollout is paused already, expected one that moves");
    world.command(Command::PromoteFully).unwrap();
    let error = world.command(Command::Promote).unwrap_err().to_string();
    let expected = "everybody is on the new version already, expected a step before that";
    assert_eq!(error, format!("stage `live` of `hello`: {expected}"));
}

#[test]
fn two_who_saw_the_same_step_take_one() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, steps(&["10%", "50%"], |_| ())));
    let seen = |world: &World| {
        let rollout = world.rollout();
        let held = matches!(rollout.phase, Phase::Paused { .. });
        SeenRollout { canary: rollout.canary, started_ms: rollout.started_ms, step: rollout.step(), held }
    };
    let promote = |world: &mut World, command, seen: &SeenRollout| {
        let stage = StageName::live();
        let change = world.state.plan_command_as_seen(&hello(), &stage, command, seen, facts());
        change.map(|change| world.carry_out(change)).map_err(|error| error.to_string())
    };
    let first = seen(&world);
    promote(&mut world, Command::Promote, &first).unwrap();
    assert_eq!(world.rollout().step(), Some(2));
    let refused = |found: &str| Err(format!("stage `live` of `hello` has {found}"));
    let moved = "the rollout to v2 at step 2, expected it at step 1";
    assert_eq!(promote(&mut world, Command::Promote, &first), refused(moved));
    // Only those who know that a rollout was stopped can continue it.
    let running = seen(&world);
    world.command(Command::Pause).unwrap();
    let held = "the rollout to v2 at step 2, on hold, expected it at step 2";
    assert_eq!(promote(&mut world, Command::Promote, &running), refused(held));
    let other = SeenRollout { started_ms: 1, ..seen(&world) };
    let later = "a later rollout to v2, expected the rollout to v2";
    assert_eq!(promote(&mut world, Command::PromoteFully, &other), refused(later));
    // Promoting fully applies at any step.
    promote(&mut world, Command::PromoteFully, &first).unwrap();
    let over =
        "stage `live` of `hello`: everybody is on the new version already, expected a step before that";
    assert_eq!(promote(&mut world, Command::Promote, &first), Err(over.to_owned()));
}

#[test]
fn canary_of_what_is_stable_is_refused() {
    let world = deployed(1);
    for strategy in [canary(), linear(), blue_green()] {
        let error = world.plan(&ask("hello", 1, strategy)).unwrap_err().to_string();
        let expected = "v1 of `hello` has this component and configuration and is already stable in stage `live`, expected another build";
        assert_eq!(error, expected);
    }
}

#[test]
fn what_was_taken_over_has_lasted_since_then_at_most() {
    let running = |since| Phase::Running { place: Place::Step(0), since: Time(since) };
    let (opened, now) = (Time(1000), Time(1500));
    assert_eq!(effective(&running(10), opened, now), running(1000), "nobody saw what happened before");
    assert_eq!(effective(&running(1200), opened, now), running(1200));
    assert_eq!(effective(&running(90_000), opened, now), running(1000), "the clock has stepped back");
}

#[test]
fn function_deleted_in_mid_rollout_leaves_nothing_to_decide() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, canary()));
    let change = world.state.plan_delete(&hello()).unwrap();
    world.carry_out(change);
    assert_eq!(world.state.rollout(&(hello(), StageName::live())), None);
    let error = world.state.plan_decision(&hello(), &StageName::live(), Decision::Promote, facts());
    assert_eq!(error, Err(ChangeError::NoSuchFunction(hello())));
}

#[test]
fn blue_green_switch_is_kept_from_a_state_that_does_not_say_for_how_long() {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, blue_green()));
    world.command(Command::Promote).unwrap();
    let keep = Keep { version: v(1), until_ms: 60_005 };
    assert_eq!(world.live().keep, Some(keep));
    let mut stored = serde_json::to_value(crate::stored::StoredFunction::from(world.hello())).unwrap();
    stored["stages"]["live"].as_object_mut().unwrap().remove("keep").unwrap();
    let read: crate::stored::StoredFunction = serde_json::from_value(stored).unwrap();
    assert_eq!(Function::try_from(read).unwrap(), *world.hello());
}
