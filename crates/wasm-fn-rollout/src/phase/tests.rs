//! Tests of the phase machine: a table, then whole rollouts.

use std::time::Duration;

use wasm_fn_core::Weight;

use super::{
    Command, CommandError, Decision, HoldCause, Phase, Place, Time, advance, apply, command, failed,
};
use crate::{GateFailure, OnFail, OnNoData, Plan, PlanSpec, Strategy, Verdict, Waiting};

const START: Time = Time(1_000_000);

fn plan(change: impl FnOnce(&mut PlanSpec)) -> Plan {
    let mut spec = PlanSpec::usual(Strategy::canary());
    change(&mut spec);
    Plan::new(spec).unwrap()
}

fn after(seconds: u64) -> Time {
    Time(START.0 + seconds * 1000)
}

fn share(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

fn failure() -> GateFailure {
    GateFailure::NovelTrap { fingerprint: 7, hits: 3 }
}

fn gate_cause() -> HoldCause {
    HoldCause::Gate(failure().to_string())
}

fn fail() -> Verdict {
    Verdict::Fail(failure())
}

fn wait() -> Verdict {
    Verdict::Wait(Waiting { canary: 0, stable: 0, needed: 100, voices: None, by_cohort: false, failed: None })
}

fn running(place: Place) -> Phase {
    Phase::Running { place, since: START }
}

fn paused(cause: HoldCause) -> Phase {
    Phase::Paused { place: Place::Step(1), served: Duration::from_secs(20), cause }
}

fn ended() -> [Phase; 3] {
    let cause = HoldCause::Operator;
    [Phase::Promoted { at: START }, Phase::Aborted { cause: cause.clone() }, Phase::RolledBack { cause }]
}

#[test]
fn every_phase_and_verdict_has_its_decision() {
    let usual = plan(|_| ());
    let no_data = plan(|spec| spec.on_no_data = OnNoData::Pass);
    let manual = plan(|spec| spec.manual = true);
    let pause = plan(|spec| spec.on_fail = OnFail::Pause);
    let freeze = plan(|spec| spec.on_fail = OnFail::Freeze);
    let green = plan(|spec| spec.strategy = Strategy::BlueGreen);
    let step = |step| running(Place::Step(step));
    let awaiting = Phase::Awaiting { place: Place::Step(0), since: START };
    let second = Decision::Step(1, share(1000));
    let cases = [
        (&usual, step(0), Verdict::Pass, 59, Decision::Hold),
        (&usual, step(0), Verdict::Pass, 60, second.clone()),
        (&usual, step(0), wait(), 100_000, Decision::Hold),
        (&no_data, step(0), wait(), 59, Decision::Hold),
        (&no_data, step(0), wait(), 60, second.clone()),
        (&usual, step(2), Verdict::Pass, 60, Decision::Promote),
        (&usual, step(0), fail(), 0, Decision::Abort(gate_cause())),
        (&pause, step(0), fail(), 0, Decision::Pause(gate_cause())),
        (&freeze, step(0), fail(), 0, Decision::Freeze(gate_cause())),
        (&manual, step(0), Verdict::Pass, 60, Decision::Await),
        (&manual, step(0), Verdict::Pass, 59, Decision::Hold),
        (&manual, awaiting.clone(), Verdict::Pass, 600, Decision::Hold),
        (&manual, awaiting, fail(), 600, Decision::Abort(gate_cause())),
        (&green, running(Place::Check), wait(), 600, Decision::Hold),
        (&green, running(Place::Check), Verdict::Pass, 0, Decision::Promote),
        (&usual, running(Place::Watch), wait(), 299, Decision::Hold),
        (&usual, running(Place::Watch), wait(), 300, Decision::Settle),
        (&usual, running(Place::Watch), fail(), 10, Decision::Rollback(gate_cause())),
        (&freeze, running(Place::Watch), fail(), 10, Decision::Freeze(gate_cause())),
        (&usual, paused(HoldCause::Operator), Verdict::Pass, 600, Decision::Hold),
        (&usual, paused(HoldCause::Operator), fail(), 600, Decision::Abort(gate_cause())),
        (&pause, paused(HoldCause::Operator), fail(), 600, Decision::Hold),
        (&usual, paused(gate_cause()), fail(), 600, Decision::Hold),
    ];
    for (plan, phase, verdict, seconds, expected) in cases {
        let decision = advance(plan, &phase, &verdict, after(seconds));
        assert_eq!(decision, expected, "{phase:?} {verdict:?} after {seconds} s");
    }
    for phase in ended() {
        assert_eq!(advance(&usual, &phase, &fail(), after(600)), Decision::Hold);
    }
}

#[test]
fn every_command_is_obeyed_or_refused_with_the_reason() {
    let plan = plan(|_| ());
    let frozen = Phase::Frozen { place: Place::Step(1), cause: gate_cause() };
    let by_command = || HoldCause::Operator;
    let cases = [
        (running(Place::Step(0)), Command::Promote, Ok(Decision::Step(1, share(1000)))),
        (running(Place::Step(2)), Command::Promote, Ok(Decision::Promote)),
        (running(Place::Step(0)), Command::PromoteFully, Ok(Decision::Promote)),
        (running(Place::Step(0)), Command::Pause, Ok(Decision::Pause(by_command()))),
        (running(Place::Step(0)), Command::Resume, Err(CommandError::NotPaused("progressing"))),
        (running(Place::Step(0)), Command::Abort, Ok(Decision::Abort(by_command()))),
        (running(Place::Step(0)), Command::Replace, Ok(Decision::Abort(HoldCause::Replaced))),
        (running(Place::Watch), Command::Promote, Err(CommandError::NothingToPromote)),
        (running(Place::Watch), Command::PromoteFully, Err(CommandError::NothingToPromote)),
        (running(Place::Watch), Command::Abort, Ok(Decision::Rollback(by_command()))),
        (paused(HoldCause::Operator), Command::Resume, Ok(Decision::Resume)),
        (paused(gate_cause()), Command::Promote, Ok(Decision::Step(2, share(5000)))),
        (paused(HoldCause::Operator), Command::Pause, Err(CommandError::Held("paused"))),
        (paused(HoldCause::Operator), Command::Abort, Ok(Decision::Abort(by_command()))),
        (frozen.clone(), Command::Resume, Err(CommandError::NotPaused("frozen"))),
        (frozen.clone(), Command::Pause, Err(CommandError::Held("frozen"))),
        (frozen.clone(), Command::Promote, Err(CommandError::Held("frozen"))),
        (frozen.clone(), Command::PromoteFully, Ok(Decision::Promote)),
        (frozen, Command::Abort, Ok(Decision::Abort(by_command()))),
    ];
    for (phase, wanted, expected) in cases {
        assert_eq!(command(&plan, &phase, wanted), expected, "{wanted:?} in {phase:?}");
    }
    let all = [Command::Promote, Command::PromoteFully, Command::Pause, Command::Resume, Command::Abort];
    for (phase, wanted) in ended().iter().flat_map(|phase| all.map(|wanted| (phase, wanted))) {
        assert_eq!(command(&plan, phase, wanted), Err(CommandError::Ended(phase.as_str())));
    }
}

/// Goes through a rollout whose gate always passes, asked every second; when each split came.
fn roll(plan: &Plan, mut clock: impl FnMut(u64) -> Time) -> (Vec<(u64, Weight)>, Phase) {
    let mut phase = Phase::start(plan, START);
    let mut splits = vec![(0, plan.share(plan.first()))];
    for second in 1..2_000 {
        let now = clock(second);
        let decision = advance(plan, &phase, &Verdict::Pass, now);
        match &decision {
            Decision::Step(_, share) => splits.push((second, *share)),
            Decision::Promote => splits.push((second, Weight::FULL)),
            _ => {}
        }
        phase = apply(&phase, decision, now);
    }
    (splits, phase)
}

#[test]
fn a_good_canary_passes_each_step_and_is_promoted() {
    let (splits, phase) = roll(&plan(|_| ()), after);
    let expected = [(0, share(100)), (60, share(1000)), (120, share(5000)), (180, Weight::FULL)];
    assert_eq!(splits, expected);
    assert_eq!(phase, Phase::Promoted { at: after(480) });
}

#[test]
fn a_clock_that_steps_back_never_shortens_a_step() {
    for back_at in [1, 30, 59, 60, 61, 100, 179, 200] {
        let clock = |second: u64| {
            if second < back_at { after(second) } else { Time(after(second).0.saturating_sub(500_000)) }
        };
        let (splits, _) = roll(&plan(|_| ()), clock);
        let held = splits.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(held.into_iter().all(|seconds| seconds >= 60), "{back_at}: {splits:?}");
    }
}

#[test]
fn a_pause_keeps_the_time_that_was_served() {
    let plan = plan(|_| ());
    let phase = running(Place::Step(1));
    let phase = apply(&phase, command(&plan, &phase, Command::Pause).unwrap(), after(20));
    assert_eq!(phase, paused(HoldCause::Operator));
    let phase = apply(&phase, command(&plan, &phase, Command::Resume).unwrap(), after(1_000));
    assert_eq!(advance(&plan, &phase, &Verdict::Pass, after(1_039)), Decision::Hold);
    assert_eq!(advance(&plan, &phase, &Verdict::Pass, after(1_040)), Decision::Step(2, share(5000)));
}

#[test]
fn resuming_near_the_beginning_of_time_does_not_underflow() {
    let phase = Phase::Paused { place: Place::Step(0), served: Duration::MAX, cause: HoldCause::Operator };
    let resumed = apply(&phase, Decision::Resume, Time(5));
    assert_eq!(resumed, Phase::Running { place: Place::Step(0), since: Time(0) });
}

#[test]
fn a_manual_rollout_waits_for_a_person_at_each_step() {
    let plan = plan(|spec| spec.manual = true);
    let (splits, phase) = roll(&plan, after);
    assert_eq!(splits.len(), 1);
    assert_eq!(phase, Phase::Awaiting { place: Place::Step(0), since: START });
    assert_eq!(command(&plan, &phase, Command::Promote), Ok(Decision::Step(1, share(1000))));
}

#[test]
fn a_failed_check_leaves_everybody_on_blue() {
    let plan = plan(|spec| spec.strategy = Strategy::BlueGreen);
    let phase = Phase::start(&plan, START);
    let cause = HoldCause::Check("GET / answered 500, expected 200".to_owned());
    let decision = failed(&plan, Place::Check, cause.clone());
    assert_eq!(apply(&phase, decision, after(1)), Phase::Aborted { cause });
}

#[test]
fn nothing_moves_a_rollout_that_has_ended() {
    for phase in ended() {
        for decision in [Decision::Promote, Decision::Resume, Decision::Abort(HoldCause::Operator)] {
            assert_eq!(apply(&phase, decision, after(1)), phase);
        }
    }
}
