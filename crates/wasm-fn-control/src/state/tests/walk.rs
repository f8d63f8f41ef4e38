//! Random walks: after any actions the invariants hold, and the journal replays to the same state.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wasm_fn_core::Weight;
use wasm_fn_rollout::{HoldCause, advance, failed};

use super::*;
use crate::stored;

#[test]
fn random_walks_replay_to_the_same_state_and_keep_the_invariants() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::default();
        for _ in 0..60 {
            step(&mut world, &mut random);
            check_invariants(&world, seed);
        }
        let mut replayed = State::default();
        for (at, change) in world.changes.iter().enumerate() {
            let json = serde_json::to_string(&stored::StoredChange::from(&change.clone().into())).unwrap();
            let read: stored::StoredChange = serde_json::from_str(&json).unwrap();
            replayed.apply(&Change::try_from(read).unwrap(), &meta_of(at));
        }
        assert_eq!(replayed, world.state, "seed {seed}");
    }
}

fn step(world: &mut World, random: &mut StdRng) {
    let function = ["hello", "other"][random.random_range(0..2)];
    let name: FunctionName = function.parse().unwrap();
    let live = StageName::live();
    let to = VersionRef::No(v(random.random_range(1..8)));
    let weight = |points| Weight::from_basis_points(points).unwrap();
    let planned = match random.random_range(0..12) {
        0..=4 => {
            let strategy = [
                ReleaseStrategy::AllAtOnce,
                ReleaseStrategy::NoTraffic,
                canary(),
                blue_green(),
                watched(),
                linear(),
            ];
            let route = ["/a", "/b", "/c/*"][random.random_range(0..3)];
            let mut ask =
                ask(function, random.random_range(0..6), strategy[random.random_range(0..6)].clone())
                    .routes(&[route]);
            ask.replace = random.random_bool(0.3);
            ask.allow_new = true;
            ask.stage_config = match random.random_range(0..4) {
                0 => None,
                1 => Some(Arc::default()),
                value => {
                    let routes = [vec![], vec!["/d".parse().unwrap()]][random.random_range(0..2)].clone();
                    let env = [("A".to_owned(), value.to_string())].into();
                    Some(Arc::new(StageConfig { routes, env }))
                }
            };
            world.plan(&ask).map(|plan| plan.change)
        }
        5 | 6 => {
            let commands =
                [Command::Promote, Command::PromoteFully, Command::Pause, Command::Resume, Command::Abort];
            let command = commands[random.random_range(0..commands.len())];
            world.state.plan_command(&name, &live, command, facts()).map(Some)
        }
        7 => {
            let Some(rollout) = world.state.rollout(&(name.clone(), live.clone())) else { return };
            let failure = HoldCause::Gate("it is worse".to_owned());
            let later = Time(5).after(Duration::from_secs(random.random_range(0..1000)));
            let decision = match random.random_bool(0.3) {
                true => failed(rollout.spec.plan(), rollout.phase.place().unwrap(), failure),
                false => advance(rollout.spec.plan(), &rollout.phase, &rollout::Verdict::Pass, later),
            };
            world.state.plan_decision(&name, &live, decision, Facts::at(later))
        }
        8 => world.state.plan_rollback(&name, &live, None, facts()),
        9 => world.state.plan_rollback(&name, &live, Some(to), facts()),
        10 => {
            let points = random.random_range(0..=10_000);
            let shares = [(VersionRef::Stable, weight(points)), (to, weight(10_000 - points))];
            world.state.plan_traffic(&name, &live, &shares, Salt([world.changes.len() as u64, 7]))
        }
        _ if random.random_bool(0.1) => world.state.plan_delete(&name).map(Some),
        _ => return,
    };
    if let Ok(Some(change)) = planned {
        world.carry_out(change);
    }
}

fn check_invariants(world: &World, seed: u64) {
    assert_eq!(world.state.revision().0, world.changes.len() as u64);
    world.state.functions.check_indexes();
    for (name, function) in world.state.functions() {
        for stage in function.stages.values() {
            for version in stage.references() {
                assert!(function.versions.contains_key(&version), "seed {seed}: {name} {version}");
            }
            assert!(stage.canary() != Some(stage.stable), "seed {seed}");
            if let Some(rollout) = &stage.rollout {
                let (plan, place) = (rollout.spec.plan(), rollout.phase.place().unwrap());
                assert_eq!(rollout.is_watch(), stage.stable == rollout.canary, "seed {seed}");
                assert!(plan.share(place) > Weight::ZERO || place == rollout::Place::Check, "seed {seed}");
            }
            assert!(!stage.previous.contains(&stage.stable), "seed {seed}");
            assert!(stage.keep.is_none_or(|keep| keep.version != stage.stable), "seed {seed}");
        }
        let stored = stored::StoredFunction::from(&**function);
        let read = serde_json::from_str::<stored::StoredFunction>(&serde_json::to_string(&stored).unwrap());
        assert_eq!(Function::try_from(read.unwrap()).unwrap(), **function, "seed {seed}");
        // No planned change causes clashing claims, and neither does promoting or rolling back after it.
        let delete_nothing = FunctionChange { function: "nobody".parse().unwrap(), action: Action::Delete };
        world.state.check_claims(&delete_nothing).unwrap();
        let live = StageName::live();
        for outcome in [
            world.state.plan_command(name, &live, Command::PromoteFully, facts()).map(Some),
            world.state.plan_rollback(name, &live, None, facts()),
        ] {
            assert!(!matches!(outcome, Err(ChangeError::Clash(_))), "seed {seed}: {outcome:?}");
        }
    }
}
