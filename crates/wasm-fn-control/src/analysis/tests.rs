//! What responses make of a rollout, through the observer that the data plane is given.

use std::sync::{Arc, OnceLock};

use wasm_fn_core::{TrafficSplit, Trap};
use wasm_fn_rollout::{self as rollout, Bad, Phase, PlanSpec, Time, WAIT_MAX};
use wasm_fn_router::InvocationRecord;

use super::*;
use crate::state::RolloutSpec;

mod order;
mod past;

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

/// The same for all observations, unless a test says otherwise.
static EPOCH: OnceLock<Instant> = OnceLock::new();

fn epoch() -> Instant {
    *EPOCH.get_or_init(clock::instant)
}

struct Fixture {
    analysis: Arc<Analysis>,
    observer: Arc<TableObserver>,
    changed: Arc<Notify>,
}

/// What versions did before.
#[derive(Clone, Default)]
struct Before {
    base: Arc<Tally>,
    cohort: Arc<Tally>,
}

impl Before {
    /// A stable that answered so many requests well, of them so many of a cohort.
    fn good(base: u64, cohort: u64) -> Self {
        let before = Self::default();
        (0..base).for_each(|_| before.base.record(ended(Outcome::Success)));
        (0..cohort).for_each(|_| before.cohort.record(ended(Outcome::Success)));
        before
    }
}

fn fixture(rollout: &Rollout) -> Fixture {
    fixture_after(rollout, Before::default())
}

fn fixture_after(rollout: &Rollout, before: Before) -> Fixture {
    fixture_of(rollout, before, |analysis| analysis)
}

fn fixture_with(rollout: &Rollout, change: impl FnOnce(Analysis) -> Analysis) -> Fixture {
    fixture_of(rollout, Before::default(), change)
}

fn fixture_of(rollout: &Rollout, before: Before, change: impl FnOnce(Analysis) -> Analysis) -> Fixture {
    let changed = Arc::new(Notify::new());
    let tallies = Tallies::new(Arc::default(), before.base, before.cohort);
    let analysis = Arc::new(change(Analysis::new(rollout, tallies, Arc::clone(&changed))));
    let place = rollout.phase.place().unwrap();
    let share = rollout.spec.plan().share(place);
    let observer = observer(&analysis, share, Some(Duration::from_secs(9)));
    analysis.activate(&observer, place);
    Fixture { analysis, observer, changed }
}

/// A table in which the canary has `share`, and the baseline as much of the rest.
fn observer(analysis: &Arc<Analysis>, share: Weight, late: Option<Duration>) -> Arc<TableObserver> {
    Arc::new(analysis.observer(share, share.min(share.complement()), late))
}

fn ended(outcome: Outcome) -> InvocationRecord {
    InvocationRecord {
        outcome,
        latency: Duration::from_millis(1),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 1,
    }
}

fn observation(side: Side, outcome: Outcome) -> Observation<'static> {
    Observation {
        ticket: ObservationTicket::default(),
        side,
        placement: Placement::Chance,
        record: ended(outcome),
        abandoned: false,
        at: epoch(),
        user: None,
        request_id: 7,
        trap: None,
    }
}

/// The same after so long.
fn taking(latency: Duration, observation: Observation<'_>) -> Observation<'_> {
    Observation { record: InvocationRecord { latency, ..observation.record }, ..observation }
}

impl TableObserver {
    /// The request that ends as `observation` begins at `at`.
    fn begins(&self, observation: &Observation<'_>, at: Instant) -> ObservationTicket {
        let Observation { side, placement, user, .. } = *observation;
        self.request_began(&Assignment { side, placement, user, fallback_after: None }, at)
    }

    /// A request of `ticket` ends so.
    fn ends(&self, ticket: ObservationTicket, observation: &Observation<'_>) {
        self.request_ended(&Observation { ticket, ..observation.clone() });
    }

    /// A request from its beginning to its end.
    fn hear_whole(&self, observation: &Observation<'_>) {
        let ticket = self.begins(observation, observation.at);
        self.ends(ticket, observation);
    }
}

impl Fixture {
    /// So many requests, one after the other.
    fn observe(&self, count: u64, observation: &Observation<'_>) {
        (0..count).for_each(|_| self.observer.hear_whole(observation));
    }

    /// With how many more of `observation`, one after the other, the canary is withheld; `None` when 1000 do
    /// not do it.
    fn withheld_after(&self, observation: &Observation<'_>) -> Option<u64> {
        (0..=1000).find(|_| {
            let withheld = self.observer.is_withheld();
            if !withheld {
                self.observe(1, observation);
            }
            withheld
        })
    }

    fn is_told(&self) -> bool {
        let notified = std::pin::pin!(self.changed.notified());
        futures_util::FutureExt::now_or_never(notified).is_some()
    }
}

fn trap() -> Trap {
    Trap { fingerprint: 0xabc, backtrace: "unreachable\n  a\n  b".into() }
}

#[test]
fn broken_canary_is_withheld_with_the_response_that_proves_it() {
    let fixture = fixture(&rollout(|_, _| ()));
    fixture.observe(30, &observation(Side::Stable, Outcome::Success));
    fixture.observe(10, &observation(Side::Baseline, Outcome::Success));
    assert!(!fixture.is_told());
    assert_eq!(fixture.withheld_after(&observation(Side::Canary, Outcome::ServerError)), Some(5));
    assert!(fixture.is_told());
    let report = fixture.analysis.report("why".to_owned());
    assert_eq!((report.canary.requests, report.canary.failures), (5, 5));
    assert_eq!(report.stable.requests, 40, "the baseline is stable's");
    assert_eq!(report.baseline_side.unwrap().requests, 10);
    assert_eq!(report.failed_requests.len(), FAILED_MAX);
    assert_eq!(report.signals[0].signal, "errors");
    assert!(report.signals[0].log_e_thousandths >= report.signals[0].log_threshold_thousandths);
}

#[test]
fn failures_of_the_baseline_are_stable_s() {
    let fixture = fixture(&rollout(|_, _| ()));
    fixture.observe(50, &observation(Side::Baseline, Outcome::ServerError));
    fixture.observe(50, &observation(Side::Canary, Outcome::ServerError));
    // A share of a tenth, and as many failures as nine tenths: still too many, but each counts.
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.stable.failures, report.canary.failures), (50, 50));
}

#[test]
fn failure_that_is_only_to_pause_withholds_nothing() {
    let fixture = fixture(&rollout(|plan, _| plan.on_fail = OnFail::Pause));
    fixture.observe(20, &observation(Side::Canary, Outcome::Trap));
    assert!(matches!(fixture.analysis.verdict(), Verdict::Fail(_)));
    assert!(!fixture.observer.is_withheld() && fixture.is_told());
}

#[test]
fn who_asked_for_a_version_is_judged_by_nobody() {
    let fixture = fixture_after(&rollout(|_, _| ()), Before::good(1000, 1000));
    let trap = trap();
    for side in [Side::Canary, Side::Stable] {
        let asked = Observation { placement: Placement::Request, ..observation(side, Outcome::ServerError) };
        fixture.observe(100, &asked);
        fixture.observe(100, &Observation { record: ended(Outcome::Trap), trap: Some(&trap), ..asked });
    }
    let report = fixture.analysis.report(String::new());
    assert_eq!((fixture.analysis.step_requests(), report.stable.requests, report.cohort), (0, 0, None));
    assert!(!fixture.observer.is_withheld() && report.traps.is_empty() && report.failed_requests.is_empty());
}

#[test]
fn what_the_node_or_the_client_did_counts_for_nothing() {
    let fixture = fixture(&rollout(|_, _| ()));
    for outcome in [Outcome::Shed, Outcome::Cancelled, Outcome::Internal] {
        for side in [Side::Canary, Side::Baseline, Side::Stable] {
            fixture.observe(100, &observation(side, outcome));
            fixture.observe(100, &Observation { placement: Placement::Rule, ..observation(side, outcome) });
        }
    }
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.canary.requests, report.stable.requests), (0, 0));
    assert_eq!((report.baseline_side, report.cohort), (None, None));
    assert_eq!(fixture.analysis.step_requests(), 0);
    assert!(!fixture.observer.is_withheld());
}

#[test]
fn users_whom_a_rule_places_are_compared_with_their_own_past() {
    let placed =
        Observation { placement: Placement::Rule, ..observation(Side::Canary, Outcome::ServerError) };
    let known = fixture_after(&rollout(|_, _| ()), Before::good(1000, 1000));
    let found = known.withheld_after(&placed).unwrap();
    assert!((3..=20).contains(&found), "{found}");
    let report = known.analysis.report(String::new());
    let cohort = report.cohort.unwrap();
    assert_eq!((cohort.requests, cohort.failures), (found, found));
    assert_eq!(report.canary.requests, 0, "they have no share");
    // Where only the others' past is known it takes a few more.
    let like_others = fixture_after(&rollout(|_, _| ()), Before::good(1000, 0));
    assert!(like_others.withheld_after(&placed).unwrap() > found);
    // And where nothing is known, half of twenty.
    let floor = fixture(&rollout(|_, _| ()));
    assert_eq!(floor.withheld_after(&placed), Some(20));
    assert_eq!(floor.analysis.report(String::new()).cohort.unwrap().failures, 20);
}

#[test]
fn users_whom_a_rule_places_are_held_to_the_floor_beside_a_busy_stable_that_answers() {
    let placed =
        Observation { placement: Placement::Rule, ..observation(Side::Canary, Outcome::ServerError) };
    for (outcome, found) in [(Outcome::Success, Some(20)), (Outcome::ServerError, None)] {
        let fixture = fixture(&rollout(|_, _| ()));
        fixture.observe(200, &observation(Side::Stable, outcome));
        assert_eq!(fixture.withheld_after(&placed), found, "{outcome}");
    }
}

#[test]
fn users_whom_a_rule_keeps_on_stable_are_compared_with_nobody() {
    let fixture = fixture(&rollout(|_, _| ()));
    fixture.observe(
        100,
        &Observation { placement: Placement::Rule, ..observation(Side::Stable, Outcome::ServerError) },
    );
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.stable.requests, report.cohort), (0, None));
}

#[test]
fn past_of_cohorts_is_that_of_whom_a_rule_would_place() {
    let tally = Arc::new(Tally::new());
    let record = CohortRecord(Arc::clone(&tally));
    for placement in [Placement::Chance, Placement::Rule, Placement::Request] {
        record.request_ended(&Observation { placement, ..observation(Side::Stable, Outcome::Trap) });
    }
    assert_eq!((tally.snapshot().total(), tally.snapshot().count(Outcome::Trap)), (1, 1));
    assert!(!record.is_withheld());
}

#[test]
fn novel_trap_fails_as_soon_as_the_share_rules_chance_out() {
    let fixture = fixture(&rollout(|plan, gate| {
        gate.errors = Some(100.0);
        plan.strategy = rollout::Strategy::Canary { steps: vec!["1%".parse().unwrap()] };
    }));
    let trap = trap();
    let trapped = Observation { trap: Some(&trap), ..observation(Side::Canary, Outcome::Trap) };
    assert_eq!(fixture.withheld_after(&trapped), Some(3), "of a hundred such traps stable has ninety-nine");
    let traps = fixture.analysis.report(String::new()).traps;
    assert_eq!((traps[0].fingerprint.as_str(), traps[0].hits), ("0000000000000abc", 3));
    assert_eq!(traps[0].backtrace, "unreachable\n  a\n  b");
}

#[test]
fn trap_that_stable_had_before_the_rollout_is_not_novel() {
    let before = Before::default();
    before.base.trapped(0xabc);
    let fixture = fixture_after(&rollout(|_, gate| gate.errors = Some(100.0)), before);
    let trap = trap();
    fixture.observe(4, &Observation { trap: Some(&trap), ..observation(Side::Canary, Outcome::Trap) });
    assert!(!fixture.observer.is_withheld());
    assert!(fixture.analysis.report(String::new()).traps.is_empty());
}

#[test]
fn trap_of_the_baseline_is_stable_s() {
    let fixture = fixture(&rollout(|_, gate| gate.errors = Some(100.0)));
    let trap = trap();
    fixture.observe(1, &Observation { trap: Some(&trap), ..observation(Side::Baseline, Outcome::Trap) });
    fixture.observe(10, &Observation { trap: Some(&trap), ..observation(Side::Canary, Outcome::Trap) });
    assert!(fixture.analysis.report(String::new()).traps.is_empty());
}

const SLOW: Duration = Duration::from_millis(20);

#[test]
fn canary_is_held_to_what_stable_did_before_and_compared_with_the_baseline() {
    let slow = |side| taking(SLOW, observation(side, Outcome::Success));
    let fixture = fixture_after(&rollout(|_, _| ()), Before::good(PERCENTILE_MIN, 0));
    let found = fixture.withheld_after(&slow(Side::Canary)).unwrap();
    assert!((10..40).contains(&found), "{found} of {found} above 1.2 times the p99");
    assert_eq!(fixture.analysis.report(String::new()).signals[0].signal, "latency_p99");
    // A baseline that is as slow says that it is not the version.
    let fixture = fixture_after(&rollout(|_, _| ()), Before::good(PERCENTILE_MIN, 0));
    for _ in 0..PERCENTILE_MIN / 2 {
        fixture.observe(1, &slow(Side::Baseline));
        fixture.observe(1, &slow(Side::Canary));
    }
    assert!(!fixture.observer.is_withheld());
}

#[test]
fn percentiles_are_the_baseline_s_once_it_has_answered_enough() {
    let fixture = fixture_after(&rollout(|_, _| ()), Before::good(PERCENTILE_MIN, 0));
    let slow = |side| taking(SLOW, observation(side, Outcome::Success));
    fixture.observe(PERCENTILE_MIN, &slow(Side::Baseline));
    let before = fixture.analysis.report(String::new());
    fixture.observe(1000, &slow(Side::Canary));
    assert!(!fixture.observer.is_withheld());
    let after = fixture.analysis.report(String::new());
    let hits = |report: &Report| {
        report.signals.iter().find(|signal| signal.signal == "latency_p99").unwrap().canary.0
    };
    assert_eq!((hits(&before), hits(&after)), (0, 0), "20 ms is what the baseline takes");
    let slower = taking(2 * SLOW, observation(Side::Canary, Outcome::Success));
    assert!(fixture.withheld_after(&slower).is_some());
}

/// A stable of which most answers took 1 ms, and some 50.
fn some_slow() -> Before {
    let before = Before::good(1_000, 0);
    let slow = taking(Duration::from_millis(50), observation(Side::Stable, Outcome::Success)).record;
    (0..100).for_each(|_| before.base.record(slow));
    before
}

#[test]
fn canary_that_is_slower_throughout_is_found_at_the_median() {
    let slower = taking(Duration::from_millis(2), observation(Side::Canary, Outcome::Success));
    // Ten a second.
    let withheld_after = |fixture: &Fixture| {
        (1..1_000).find(|&number| {
            fixture.observe(
                1,
                &Observation { at: slower.at + Duration::from_millis(100) * number, ..slower.clone() },
            );
            fixture.observer.is_withheld()
        })
    };
    let fixture = fixture_after(&rollout(|_, _| ()), some_slow());
    let found = withheld_after(&fixture);
    assert!(found.is_some_and(|found| (10..40).contains(&found)), "{found:?} above 1.2 times the median");
    let report = fixture.analysis.report(String::new());
    assert_eq!(report.signals[0].signal, "latency_p50");
    assert!(report.signals[0].text.contains("above the median"), "{}", report.signals[0].text);
    // Not of a version that everybody has: that the load has changed is no fault of its.
    let mut watched = rollout(|_, _| ());
    watched.phase = Phase::Running { place: Place::Watch, since: Time(0) };
    watched.past = Some(super::past(watched.spec.gate(), &some_slow().base.snapshot()));
    let fixture = fixture_after(&watched, some_slow());
    assert_eq!(withheld_after(&fixture), None);
    let signals = fixture.analysis.report(String::new()).signals;
    assert!(signals.iter().all(|signal| signal.signal != "latency_p50"));
}

#[test]
fn client_that_left_unanswered_has_waited_so_long_at_least() {
    let left = |latency, abandoned| {
        let fixture = fixture_after(&rollout(|_, _| ()), Before::good(PERCENTILE_MIN, 0));
        let observation = taking(latency, observation(Side::Canary, Outcome::Cancelled));
        fixture.observe(100, &Observation { abandoned, ..observation });
        (fixture.observer.is_withheld(), fixture.analysis.report(String::new()).canary.requests > 0)
    };
    assert_eq!(left(SLOW, true), (true, true), "longer than it may take");
    assert_eq!(left(Duration::from_millis(1), true), (false, false), "nobody knows what would have come");
    assert_eq!(left(SLOW, false), (false, false), "the client was not waiting for the version");
}

#[test]
fn whoever_waits_for_requests_is_told_with_the_last_one_needed() {
    let fixture = fixture(&rollout(|_, gate| gate.min_requests = 10));
    fixture.analysis.await_verdict(true);
    fixture.observe(10, &observation(Side::Stable, Outcome::Success));
    fixture.observe(9, &observation(Side::Canary, Outcome::Success));
    assert!(!fixture.is_told());
    fixture.observe(1, &observation(Side::Canary, Outcome::Success));
    assert!(fixture.is_told());
    assert_eq!(fixture.analysis.verdict(), Verdict::Pass);
}

#[test]
fn requests_of_too_few_users_pass_nothing() {
    let fixture = fixture(&rollout(|_, gate| gate.min_requests = 10));
    fixture.observe(100, &observation(Side::Stable, Outcome::Success));
    for user in 0..4 {
        fixture.observe(25, &Observation { user: Some(user), ..observation(Side::Canary, Outcome::Success) });
    }
    let Verdict::Wait(waiting) = fixture.analysis.verdict() else { panic!("four users cannot fail it") };
    assert_eq!((waiting.canary, waiting.voices), (100, Some((4, 5))));
    fixture.observe(1, &Observation { user: Some(4), ..observation(Side::Canary, Outcome::Success) });
    assert_eq!(fixture.analysis.verdict(), Verdict::Pass);
}

#[test]
fn answers_of_either_side_in_the_last_tenth_of_the_time_count_as_none() {
    let fixture = fixture(&rollout(|_, _| ()));
    for side in [Side::Canary, Side::Stable, Side::Baseline] {
        fixture.observe(1, &taking(Duration::from_secs(10), observation(side, Outcome::Success)));
    }
    let report = fixture.analysis.report(String::new());
    assert_eq!((report.canary.failures, report.stable.failures), (1, 2));
}

#[test]
fn kept_gate_goes_on_with_its_evidence() {
    let mut rollout = rollout(|_, _| ());
    let before = fixture(&rollout);
    before.observe(40, &observation(Side::Stable, Outcome::Success));
    before.observe(3, &observation(Side::Canary, Outcome::ServerError));
    rollout.gate = Some(before.analysis.state());
    let after = fixture(&rollout);
    let (was, is) = (before.analysis.state(), after.analysis.state());
    assert_eq!((is.canary, is.stable), (was.canary, was.stable));
    assert_eq!(after.analysis.step_requests(), 0);
    assert_eq!(after.withheld_after(&observation(Side::Canary, Outcome::ServerError)), Some(2));
}

#[test]
fn gate_that_is_kept_without_evidence_begins_anew() {
    let mut rollout = rollout(|_, _| ());
    let before = fixture(&rollout);
    before.observe(4, &observation(Side::Canary, Outcome::ServerError));
    rollout.gate = Some(GateState { checks: Vec::new(), ..before.analysis.state() });
    let after = fixture(&rollout);
    assert_eq!(after.analysis.report(String::new()).canary.requests, 0);
    assert_eq!(after.withheld_after(&observation(Side::Canary, Outcome::ServerError)), Some(5));
}
