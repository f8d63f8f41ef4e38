//! Tests that the state of a rollout's gate survives every change and its JSON.

use wasm_fn_core::Outcome;
use wasm_fn_rollout::{
    Arm, Bad, Baseline, Batch, CheckState, Counts, Decision, Event, Gate, GateState, HoldCause, Response,
    SideLimits, Thresholds, Trapped,
};

use super::*;
use crate::stored;

/// The state of a gate that has seen some of everything.
fn seen() -> GateState {
    let half = "50%".parse().unwrap();
    let mut gate = Gate::new(GateSpec::default(), 1, Baseline::Concurrent(Box::default())).unwrap();
    for (round, arm) in [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort].into_iter().enumerate() {
        let mut batch = Batch::new("10%".parse().unwrap(), "10%".parse().unwrap());
        for outcome in [Outcome::Success, Outcome::ServerError, Outcome::Trap] {
            let latency = Duration::from_millis(3);
            let (user, clustered, sampled) = (None, false, true);
            let response = Response { arm, outcome, latency, memory_peak_bytes: 1, user, clustered, sampled };
            let median_above = Some(SideLimits { canary: latency / 2, baseline: latency / 3 });
            let thresholds = Thresholds { median_above, ..Thresholds::default() };
            (0..=round).for_each(|_| batch.add(&response, &thresholds));
        }
        gate.observe(&batch);
        gate.step();
    }
    gate.trap(&Trapped { arm: Arm::Stable, fingerprint: 0xabc, user: None, share: half, begun: 1 });
    gate.state()
}

/// A world whose rollout has this gate state.
fn judged() -> World {
    let mut world = deployed(1);
    world.deploy(ask("hello", 2, steps(&["10%", "50%"], |_| ())));
    let facts = Facts { gate: Some(seen()), ..facts() };
    let change = world.state.plan_decision(&hello(), &StageName::live(), Decision::Await, facts).unwrap();
    world.carry_out(change.unwrap());
    world
}

fn json(world: &World) -> serde_json::Value {
    serde_json::to_value(stored::StoredFunction::from(world.hello())).unwrap()
}

/// The gate of the only rollout in `function`.
fn gate_of(function: serde_json::Value) -> GateState {
    let read: stored::StoredFunction = serde_json::from_value(function).unwrap();
    let function = Function::try_from(read).unwrap();
    function.stages[&StageName::live()].rollout.clone().unwrap().gate.unwrap()
}

#[test]
fn evidence_survives_its_json_bit_by_bit() {
    let kept = gate_of(json(&judged()));
    assert_eq!(kept, seen());
    assert!(kept.checks.iter().any(|check| check.runs.len() > 1 && check.runs[0].hits > 0));
    assert_eq!((kept.baseline.requests, kept.cohort.requests), (9, 12));
    assert_eq!((kept.baseline.sampled, kept.baseline.bad(Event::AboveMedian)), (9, Bad::each(9)));
}

#[test]
fn gate_of_a_program_without_the_test_at_the_median_has_nothing_of_it() {
    let mut function = json(&judged());
    let gate = function.pointer_mut("/stages/live/rollout/gate").unwrap();
    for side in ["canary", "stable", "baseline", "cohort"] {
        let counts = gate.get_mut(side).unwrap().as_object_mut().unwrap();
        counts.remove("sampled").unwrap();
        counts.get_mut("bad").unwrap().as_array_mut().unwrap().pop().unwrap();
    }
    let checks = gate.get_mut("checks").unwrap().as_array_mut().unwrap();
    checks.retain(|check| check["signal"] != "latency_p50");
    let kept = gate_of(function);
    assert_eq!((kept.baseline.sampled, kept.baseline.bad(Event::AboveMedian)), (0, Bad::default()));
    assert_eq!(kept.baseline.bad(Event::FailedAtAll), seen().baseline.bad(Event::FailedAtAll));
    let gate = Gate::new(GateSpec::default(), 1, Baseline::Concurrent(Box::default())).unwrap();
    let checks = gate.resume(kept).unwrap().state().checks;
    let hits = |checks: &[CheckState]| checks.iter().map(|check| check.runs[0].hits).sum::<u64>();
    assert_eq!(checks.len(), seen().checks.len());
    assert!(hits(&checks) > 0 && hits(&checks) < hits(&seen().checks));
}

#[test]
fn gate_of_a_program_that_ordered_responses_by_their_ends_has_no_evidence() {
    let mut function = json(&judged());
    let gate = function.pointer_mut("/stages/live/rollout/gate").unwrap().as_object_mut().unwrap();
    for added in ["baseline", "cohort", "start", "checks"] {
        gate.remove(added).unwrap();
    }
    gate.insert("step_requests".to_owned(), 12.into());
    let logs = vec![vec!["0".repeat(16); 5]; 2];
    gate.insert("signals".to_owned(), serde_json::json!([{ "signal": "errors", "logs": logs }]));
    let kept = gate_of(function);
    assert_eq!((kept.checks.len(), kept.start), (0, 0));
    assert_eq!((kept.baseline, kept.cohort), (Counts::default(), Counts::default()));
    let bad = Bad::each(2);
    assert_eq!((kept.canary.requests, kept.canary.bad(Event::FailedAtAll)), (3, bad));
    assert_eq!(kept.known_traps, [0xabc]);
}

#[test]
fn impossible_evidence_is_refused_by_name() {
    let refused = |path: &str, value: serde_json::Value| {
        let mut function = json(&judged());
        *function.pointer_mut(&format!("/stages/live/rollout/gate/{path}")).unwrap() = value;
        let read: stored::StoredFunction = serde_json::from_value(function).unwrap();
        Function::try_from(read).unwrap_err().to_string()
    };
    assert_eq!(refused("checks/0/runs/0/logs", serde_json::json!([])), "0 ratios, expected 5");
    assert_eq!(
        refused("cohort/bad", serde_json::json!([])),
        format!("counts of 0 events, expected {}", Event::COUNT)
    );
    assert!(refused("checks/0/signal", "moon".into()).contains("moon"));
}

#[test]
fn evidence_is_kept_while_the_gate_is_and_begins_anew_with_another() {
    let steps = |decision| {
        let mut world = judged();
        let facts = Facts { gate: Some(seen()), ..facts() };
        let change = world.state.plan_decision(&hello(), &StageName::live(), decision, facts).unwrap();
        world.carry_out(change.unwrap());
        let rollout = world.rollout();
        (rollout.gate_no, rollout.gate.is_some())
    };
    assert_eq!(steps(Decision::Step(1, "50%".parse().unwrap())), (1, true));
    assert_eq!(steps(Decision::Pause(HoldCause::Gate("it is worse".to_owned()))), (1, true));
    assert_eq!(steps(Decision::Resume), (2, false));
    assert_eq!(steps(Decision::Promote), (2, false));
}
