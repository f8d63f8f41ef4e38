//! What responses make of a rollout, through the very trial that the data plane is given.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use wasm_fn_core::TrafficSplit;
use wasm_fn_rollout::{self as rollout, Phase, PlanSpec, Time};

use super::*;
use crate::state::RolloutSpec;

fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

fn rollout(change: impl FnOnce(&mut PlanSpec, &mut GateSpec)) -> Rollout {
    let mut plan = PlanSpec::usual(rollout::Strategy::Canary { steps: vec!["10%".parse().unwrap()] });
    let mut gate = GateSpec::default();
    change(&mut plan, &mut gate);
    let spec = RolloutSpec::new(plan, gate, true, Duration::ZERO, Vec::new()).unwrap();
    Rollout {
        canary: v(2),
        base: v(1),
        phase: Phase::start(spec.plan(), Time(0)),
        spec: Arc::new(spec),
        started_ms: 0,
        from_split: TrafficSplit::all(v(1)),
        gate_no: 1,
        gate: None,
        past: None,
    }
}

/// The same for all that is heard, unless a test says otherwise.
static EPOCH: OnceLock<Instant> = OnceLock::new();

struct Court {
    judge: Arc<Judge>,
    hearing: Arc<Hearing>,
    changed: Arc<Notify>,
}

fn court(rollout: &Rollout) -> Court {
    court_of(rollout, Arc::default())
}

fn court_of(rollout: &Rollout, base: Arc<Tally>) -> Court {
    let changed = Arc::new(Notify::new());
    let judge = Judge::new(rollout, Tallies::new(Arc::default(), base), Arc::clone(&changed));
    let judge = Arc::new(judge);
    let place = rollout.phase.place().unwrap();
    let share = rollout.spec.plan().share(place);
    let hearing = Arc::new(judge.hearing(share, rollout.spec.gate(), Some(Duration::from_secs(9))));
    judge.convene(&hearing, place);
    Court { judge, hearing, changed }
}

fn ended(outcome: Outcome) -> Ended {
    Ended { outcome, latency: Duration::from_millis(1), queue_wait: Duration::ZERO, memory_peak_bytes: 1 }
}

fn heard(side: Side, outcome: Outcome) -> Heard<'static> {
    let at = *EPOCH.get_or_init(|| tokio::time::Instant::now().into_std());
    Heard { side, placed: true, ended: ended(outcome), at, user: None, request_id: 7, trap: None }
}

impl Court {
    fn hear(&self, count: usize, heard: &Heard<'_>) {
        (0..count).for_each(|_| self.hearing.hear(heard));
    }

    fn is_told(&self) -> bool {
        let notified = std::pin::pin!(self.changed.notified());
        futures_util::FutureExt::now_or_never(notified).is_some()
    }
}

#[test]
fn broken_canary_is_withheld_with_the_response_that_proves_it() {
    let court = court(&rollout(|_, _| ()));
    court.hear(40, &heard(Side::Stable, Outcome::Success));
    court.hear(3, &heard(Side::Canary, Outcome::ServerError));
    assert!(!court.hearing.is_withheld() && !court.is_told());
    court.hear(3, &heard(Side::Canary, Outcome::ServerError));
    assert!(court.hearing.is_withheld() && court.is_told());
    let report = court.judge.report("why".to_owned());
    assert_eq!((report.canary.requests, report.canary.failures), (6, 6));
    assert_eq!(report.stable.requests, 40);
    assert_eq!(report.failed_requests.len(), FAILED_MAX);
    assert_eq!(report.signals[0].signal, "errors");
    assert!(report.signals[0].log_e_thousandths >= report.signals[0].log_threshold_thousandths);
}

#[test]
fn failure_that_is_only_to_pause_withholds_nothing() {
    let court = court(&rollout(|plan, _| plan.on_fail = OnFail::Pause));
    court.hear(20, &heard(Side::Canary, Outcome::Trap));
    assert!(matches!(court.judge.verdict(), Verdict::Fail(_)));
    assert!(!court.hearing.is_withheld() && court.is_told());
}

#[test]
fn who_was_not_placed_by_chance_does_not_count() {
    let court = court(&rollout(|_, _| ()));
    let unplaced = Heard { placed: false, ..heard(Side::Canary, Outcome::ServerError) };
    court.hear(100, &unplaced);
    for outcome in [Outcome::Shed, Outcome::Cancelled, Outcome::Internal] {
        court.hear(100, &heard(Side::Canary, outcome));
    }
    assert_eq!(court.judge.step_requests(), 0);
    assert!(!court.hearing.is_withheld());
}

#[test]
fn novel_trap_fails_at_its_third_hit_whoever_asked() {
    let court = court(&rollout(|_, _| ()));
    let trap = Trap { fingerprint: 0xabc, backtrace: "unreachable\n  a\n  b".into() };
    let trapped = Heard { placed: false, trap: Some(&trap), ..heard(Side::Canary, Outcome::Trap) };
    court.hear(2, &trapped);
    assert!(!court.hearing.is_withheld());
    court.hear(1, &trapped);
    assert!(court.hearing.is_withheld());
    let traps = court.judge.report(String::new()).traps;
    assert_eq!((traps[0].fingerprint.as_str(), traps[0].hits), ("0000000000000abc", 3));
    assert_eq!(traps[0].backtrace, "unreachable\n  a\n  b");
}

#[test]
fn trap_that_stable_had_before_the_rollout_is_not_novel() {
    let base = Arc::new(Tally::new());
    base.trapped(0xabc);
    let court = court_of(&rollout(|_, _| ()), base);
    let trap = Trap { fingerprint: 0xabc, backtrace: "unreachable".into() };
    court.hear(3, &Heard { placed: false, trap: Some(&trap), ..heard(Side::Canary, Outcome::Trap) });
    assert!(!court.hearing.is_withheld());
}

#[test]
fn percentiles_come_from_what_stable_did_before() {
    let base = Arc::new(Tally::new());
    (0..PERCENTILE_MIN).for_each(|_| base.record(ended(Outcome::Success)));
    let court = court_of(&rollout(|_, _| ()), base);
    let slow = |side| {
        let ended = Ended { latency: Duration::from_millis(20), ..ended(Outcome::Success) };
        Heard { ended, ..heard(side, Outcome::Success) }
    };
    court.hear(60, &slow(Side::Canary));
    assert!(court.hearing.is_withheld(), "60 of 60 above 1.2 times the p99");
    let report = court.judge.report(String::new());
    assert_eq!(report.signals[0].signal, "latency_p99");
}

/// Whether a version that everybody has is taken back for slow responses, one each so much after the other.
fn taken_back(responses: u32, apart: Duration, change: impl FnOnce(&mut GateSpec)) -> bool {
    let base = Arc::new(Tally::new());
    (0..10_000).for_each(|_| base.record(ended(Outcome::Success)));
    let slow = Ended { latency: Duration::from_millis(20), ..ended(Outcome::Success) };
    (0..60).for_each(|_| base.record(slow));
    let mut watched = rollout(|_, gate| change(gate));
    watched.phase = Phase::Running { place: Place::Watch, since: Time(0) };
    watched.past = Some(past(watched.spec.gate(), &base.snapshot()));
    let court = court_of(&watched, base);
    for number in 0..responses {
        let first = heard(Side::Canary, Outcome::Success);
        court.hear(1, &Heard { ended: slow, at: first.at + apart * number, ..first });
    }
    court.hearing.is_withheld()
}

#[test]
fn one_stall_of_the_machine_takes_nothing_back_and_slowness_does() {
    let none = |_: &mut GateSpec| ();
    assert!(!taken_back(1_000, Duration::ZERO, none));
    assert!(!taken_back(1_000, cluster::LENGTH / 1_000, none));
    assert_eq!((1..20).find(|&moments| taken_back(moments, cluster::LENGTH, none)), Some(4));
    assert!(taken_back(10_000, cluster::LENGTH / 1_000, none));
}

#[test]
fn one_stall_is_no_breach_of_a_ceiling() {
    let only_ceiling = |gate: &mut GateSpec| {
        *gate =
            GateSpec { max_latency_p99: Some(Duration::from_millis(10)), latency_p99: None, ..gate.clone() };
    };
    assert!(!taken_back(1_000, Duration::ZERO, only_ceiling));
    assert!(taken_back(10, cluster::LENGTH, only_ceiling));
}

#[test]
fn whoever_waits_for_requests_is_told_with_the_last_one_needed() {
    let court = court(&rollout(|_, gate| gate.min_requests = 10));
    court.judge.await_verdict(true);
    court.hear(10, &heard(Side::Stable, Outcome::Success));
    court.hear(9, &heard(Side::Canary, Outcome::Success));
    assert!(!court.is_told());
    court.hear(1, &heard(Side::Canary, Outcome::Success));
    assert!(court.is_told());
    assert_eq!(court.judge.verdict(), Verdict::Pass);
}

#[test]
fn answers_of_either_side_in_the_last_tenth_of_the_time_count_as_none() {
    let court = court(&rollout(|_, _| ()));
    for side in [Side::Canary, Side::Stable] {
        let ended = Ended { latency: Duration::from_secs(10), ..ended(Outcome::Success) };
        court.hear(1, &Heard { ended, ..heard(side, Outcome::Success) });
    }
    let report = court.judge.report(String::new());
    assert_eq!((report.canary.failures, report.stable.failures), (1, 1));
}

#[test]
fn requests_that_began_under_an_earlier_share_count_under_it() {
    let rollout = rollout(|plan, _| {
        plan.strategy =
            rollout::Strategy::Canary { steps: vec!["1%".parse().unwrap(), "50%".parse().unwrap()] };
    });
    let court = court(&rollout);
    let later = Arc::new(court.judge.hearing("50%".parse().unwrap(), rollout.spec.gate(), None));
    court.judge.convene(&later, Place::Step(1));
    assert_eq!(court.judge.step_requests(), 0);
    // Five failures in a row are no wonder at a half, and are at a hundredth.
    (0..4).for_each(|_| later.hear(&heard(Side::Canary, Outcome::ServerError)));
    assert!(!later.is_withheld());
    (0..4).for_each(|_| court.hearing.hear(&heard(Side::Canary, Outcome::ServerError)));
    assert!(later.is_withheld());
    assert_eq!(court.judge.step_requests(), 8);
}

#[test]
fn kept_gate_goes_on_with_its_evidence() {
    let mut rollout = rollout(|_, _| ());
    let before = court(&rollout);
    before.hear(40, &heard(Side::Stable, Outcome::Success));
    before.hear(3, &heard(Side::Canary, Outcome::ServerError));
    rollout.gate = Some(before.judge.state());
    let after = court(&rollout);
    assert_eq!(after.judge.state(), before.judge.state());
    after.hear(3, &heard(Side::Canary, Outcome::ServerError));
    assert!(after.hearing.is_withheld());
}

#[test]
fn past_has_the_same_failures_and_as_many_slow_answers_as_the_tally() {
    let tally = Tally::new();
    (0..990).for_each(|_| tally.record(ended(Outcome::Success)));
    let slow = Ended { latency: Duration::from_secs(1), ..ended(Outcome::Trap) };
    (0..5).for_each(|_| tally.record(slow));
    let counts = past(&GateSpec::default(), &tally.snapshot());
    assert_eq!(counts.requests, 995);
    assert_eq!(counts.bad(Event::FailedAtAll), Bad::each(5));
    assert_eq!(counts.bad(Event::Failed(Class::Trap)), Bad::each(5));
    assert_eq!(counts.bad(Event::Slow), Bad::each(5));
}
