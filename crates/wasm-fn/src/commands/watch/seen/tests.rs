//! What changes between two polls of a stage.

use wasm_fn_api::{
    EndedRolloutView, EvidenceView, GateView, RolloutChange, RolloutOutcomeView, RolloutView, SideView,
    StrategySpec,
};

use super::Seen;
use crate::output::rollout::{Actual, change};

pub(in crate::commands::watch) fn rollout(canary: &str, started_ms: u64) -> RolloutView {
    RolloutView {
        stable: "v1".to_owned(),
        canary: canary.to_owned(),
        weight: "1%".to_owned(),
        strategy: StrategySpec::Canary { steps: vec!["1%".to_owned(), "10%".to_owned()] },
        started_ms,
        from_split: vec![],
        phase: "progressing".to_owned(),
        step: Some(1),
        steps: ["1%", "10%", "100%"].map(str::to_owned).to_vec(),
        lasted_ms: 0,
        lasts_ms: 60_000,
        reason: None,
        gate: None,
        provenance: None,
    }
}

pub(in crate::commands::watch) fn ended(
    canary: &str,
    started_ms: u64,
    outcome: RolloutOutcomeView,
) -> EndedRolloutView {
    EndedRolloutView {
        stable: "v1".to_owned(),
        canary: canary.to_owned(),
        outcome,
        started_ms,
        ended_ms: started_ms + 1000,
        reason: "because".to_owned(),
        evidence: None,
    }
}

fn gate(verdict: &str, canary: u64, stable: u64) -> Option<GateView> {
    let side = |version: &str, requests| SideView {
        version: version.to_owned(),
        role: None,
        requests,
        failures: 0,
        latency_p50_ms: None,
        latency_p99_ms: None,
    };
    Some(GateView {
        verdict: verdict.to_owned(),
        reason: format!("{canary} requests"),
        requests: canary,
        requests_needed: 100,
        evidence: EvidenceView {
            baseline: "concurrent".to_owned(),
            canary: side("v2", canary),
            stable: side("v1", stable),
            baseline_side: None,
            cohort: None,
            signals: vec![],
            traps: vec![],
            failed_requests: vec![],
            nodes: vec![],
        },
    })
}

fn words(changes: &[RolloutChange]) -> Vec<String> {
    changes.iter().map(change).collect()
}

/// The changes reported when the rollout `before` has become `after`.
fn between(before: &RolloutView, after: &RolloutView) -> Vec<String> {
    words(&Seen::first(Some(before), None).look(Some(after), None))
}

#[test]
fn nothing_is_told_when_only_time_and_numbers_move() {
    let before = RolloutView { gate: gate("wait", 3, 300), ..rollout("v2", 5) };
    let after = RolloutView { lasted_ms: 500, gate: gate("wait", 4, 400), ..before.clone() };
    assert!(between(&before, &after).is_empty());
    assert!(Seen::first(None, None).look(None, None).is_empty());
}

#[test]
fn step_phase_and_verdict_are_told_once_each() {
    let before = RolloutView { gate: gate("wait", 3, 300), ..rollout("v2", 5) };
    let step = RolloutView { step: Some(2), weight: "10%".to_owned(), ..before.clone() };
    assert_eq!(between(&before, &step), ["v2 is at step 2 of 3, 10%"]);
    let everybody =
        RolloutView { step: None, weight: "100%".to_owned(), phase: "watching".to_owned(), ..before.clone() };
    assert_eq!(between(&before, &everybody), ["v2 has 100%", "v2 is watching"]);
    let paused =
        RolloutView { phase: "paused".to_owned(), reason: Some("by command".to_owned()), ..before.clone() };
    assert_eq!(between(&before, &paused), ["v2 is paused: by command"]);
    let passed = RolloutView { gate: gate("pass", 100, 900), ..before.clone() };
    assert_eq!(between(&before, &passed), ["v2 gate says pass: 100 requests"]);
    assert_eq!(between(&rollout("v2", 5), &before), ["v2 gate says wait: 3 requests"]);
}

#[test]
fn a_step_by_cohort_is_told_by_its_cohort() {
    let steps = ["beta", "50% of vip", "10%", "100%"].map(str::to_owned).to_vec();
    let before = RolloutView { steps, weight: "0%".to_owned(), ..rollout("v2", 5) };
    let step = RolloutView { step: Some(2), ..before.clone() };
    assert_eq!(between(&before, &step), ["v2 is at step 2 of 4, 50% of cohort vip"]);
    let share = RolloutView { step: Some(3), weight: "10%".to_owned(), ..before.clone() };
    assert_eq!(between(&step, &share), ["v2 is at step 3 of 4, 10%"]);
    let mut seen = Seen::first(None, None);
    let begun = words(&seen.look(Some(&before), None));
    assert_eq!(begun, ["canary from v1 to v2: progressing at step 1 of 4: cohort beta"]);
}

#[test]
fn an_end_is_told_with_its_reason() {
    for (outcome, word) in [
        (RolloutOutcomeView::Promoted, "promoted"),
        (RolloutOutcomeView::Aborted, "aborted"),
        (RolloutOutcomeView::RolledBack, "rolled back"),
    ] {
        let mut seen = Seen::first(Some(&rollout("v2", 5)), None);
        let changes = seen.look(None, Some(&ended("v2", 5, outcome)));
        assert_eq!(words(&changes), [format!("v2 is {word}: because")]);
        assert!(seen.look(None, Some(&ended("v2", 5, outcome))).is_empty(), "it is reported once");
    }
}

#[test]
fn the_next_rollout_begins_after_the_end_of_the_one_before() {
    let mut seen = Seen::first(Some(&rollout("v2", 5)), None);
    let last = ended("v2", 5, RolloutOutcomeView::Aborted);
    let changes = seen.look(Some(&rollout("v3", 9)), Some(&last));
    assert_eq!(
        words(&changes),
        ["v2 is aborted: because", "canary from v1 to v3: progressing at step 1 of 3, 1%"]
    );
}

#[test]
fn the_same_version_again_is_another_rollout() {
    let mut seen = Seen::first(Some(&rollout("v2", 5)), None);
    let changes = seen.look(Some(&rollout("v2", 9)), Some(&ended("v2", 5, RolloutOutcomeView::Aborted)));
    assert_eq!(changes.len(), 2);
    assert!(matches!(changes[0], RolloutChange::Ended { .. }), "{changes:?}");
}

#[test]
fn an_end_that_was_missed_is_not_guessed() {
    let mut seen = Seen::first(Some(&rollout("v2", 5)), None);
    let changes = seen.look(None, Some(&ended("v3", 7, RolloutOutcomeView::Promoted)));
    assert_eq!(changes, [RolloutChange::Gone { canary: "v2".to_owned() }]);
    let mut seen = Seen::first(Some(&rollout("v2", 5)), None);
    assert_eq!(seen.look(None, None), [RolloutChange::Gone { canary: "v2".to_owned() }]);
}

#[test]
fn a_rollout_that_came_and_went_between_two_looks_is_told() {
    let before = ended("v2", 5, RolloutOutcomeView::Promoted);
    let mut seen = Seen::first(None, Some(&before));
    assert!(seen.look(None, Some(&before)).is_empty());
    let changes = seen.look(None, Some(&ended("v3", 9, RolloutOutcomeView::Aborted)));
    assert_eq!(words(&changes), ["v3 is aborted: because"]);
}

#[test]
fn the_actual_share_is_that_of_the_step() {
    let at = |step, canary, stable| RolloutView {
        step: Some(step),
        gate: gate("wait", canary, stable),
        ..rollout("v2", 5)
    };
    let mut seen = Seen::first(Some(&at(1, 10, 990)), None);
    assert_eq!(seen.actual(), Actual::Step(None));
    seen.look(Some(&at(1, 12, 1088)), None);
    assert_eq!(seen.actual(), Actual::Step(Some(0.02)));
    seen.look(Some(&at(2, 20, 1280)), None);
    assert_eq!(seen.actual(), Actual::Step(None));
    seen.look(Some(&at(2, 30, 1370)), None);
    assert_eq!(seen.actual(), Actual::Step(Some(0.1)));
    // A new gate.
    seen.look(Some(&at(2, 1, 9)), None);
    seen.look(Some(&at(2, 2, 10)), None);
    assert_eq!(seen.actual(), Actual::Step(Some(0.5)));
}
