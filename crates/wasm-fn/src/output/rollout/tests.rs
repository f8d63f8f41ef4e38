//! Rollouts as people and programs see them.

use expect_test::{Expect, expect};
use wasm_fn_api::{self as api, RolloutChange, RolloutOutcomeView};

use super::{Actual, Drawn, change, evidence, last, line, span, standing, ways_out};

/// 2026-11-22T10:00:00Z.
const NOW_MS: u64 = 1_795_341_600_000;

fn check(found: &str, expected: &Expect) {
    expected.assert_eq(found);
}

fn numbers() -> api::EvidenceView {
    let side = |version: &str, requests, failures| api::SideView {
        version: version.to_owned(),
        role: None,
        requests,
        failures,
        latency_p50_ms: Some(0.84),
        latency_p99_ms: Some(12.3),
    };
    let signal = |signal: &str, canary: u32, e_value, progress| api::SignalEvidenceView {
        signal: signal.to_owned(),
        canary: canary.into(),
        stable: 3,
        canary_rate: f64::from(canary) / 340.0,
        stable_rate: 3.0 / 3060.0,
        e_value,
        threshold: 2000.0,
        progress,
        text: format!("{signal}: {canary} of 340 requests"),
    };
    api::EvidenceView {
        baseline: "concurrent".to_owned(),
        canary: side("v2", 340, 4),
        stable: side("v1", 3060, 3),
        baseline_side: None,
        cohort: None,
        signals: vec![signal("errors", 4, 12.4, 0.33), signal("latency_p99", 1, 0.8, 0.0)],
        traps: vec![api::TrapEvidenceView {
            fingerprint: "00112233aabbccdd".to_owned(),
            hits: 2,
            backtrace:
                "wasm trap: unreachable\n0: hello!a\n1: hello!b\u{1b}[2J\n2: hello!c\n3: hello!d\n4: e"
                    .to_owned(),
        }],
        failed_requests: vec!["req-1".to_owned(), "req-2".to_owned()],
        nodes: vec![],
    }
}

fn rollout() -> api::RolloutView {
    api::RolloutView {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        weight: "10%".to_owned(),
        strategy: api::StrategySpec::Canary { steps: vec!["1%".to_owned(), "10%".to_owned()] },
        started_ms: NOW_MS - 185_000,
        from_split: vec![],
        phase: "progressing".to_owned(),
        step: Some(2),
        steps: ["1%", "10%", "50%", "100%"].map(str::to_owned).to_vec(),
        lasted_ms: 34_567,
        lasts_ms: 60_000,
        reason: None,
        provenance: None,
        gate: Some(api::GateView {
            verdict: "wait".to_owned(),
            reason: "34 requests on the canary and 306 on stable, 100 needed of each".to_owned(),
            requests: 34,
            requests_needed: 100,
            evidence: numbers(),
        }),
    }
}

fn share(version: &str, weight: &str) -> api::SplitShare {
    api::SplitShare { version: version.to_owned(), weight: weight.to_owned() }
}

#[test]
fn a_rollout_stands_in_words_and_numbers() {
    let rollout = rollout();
    check(
        &standing(&rollout, Actual::of(&rollout), Drawn::Plain, NOW_MS),
        &expect![[r#"
            rollout  canary from v1 to v2, progressing, began 3m ago
            step     2 of 4: 10% set, 10.00% of all requests since it began
            time     34s of 1m in this step
            requests 34 of 100 needed in this step
            gate     wait: 34 requests on the canary and 306 on stable, 100 needed of each
            evidence e-value 12, fails at 2000; errors: 4 (1.18%) on v2, 3 (0.10%) on v1
            trap     00112233aabbccdd hit v2 2 times, never v1
                     wasm trap: unreachable
                     0: hello!a
                     1: hello!b\u{1b}[2J
                     2: hello!c
                     (2 more lines with -o json)
            failed   req-1 req-2

            in the rollout, since its gate began:
            ROLE    VERSION  REQUESTS   FAILURES      P50      P99
            canary  v2            340  4 (1.18%)  0.84 ms  12.3 ms
            stable  v1           3060  3 (0.10%)  0.84 ms  12.3 ms
        "#]],
    );
}

#[test]
fn a_picture_has_bars() {
    check(
        &standing(&rollout(), Actual::Step(Some(0.098)), Drawn::Bars, NOW_MS),
        &expect![[r#"
            rollout  canary from v1 to v2, progressing, began 3m ago
            step     2 of 4: 10% set, 9.80% actual
            time     [============>           ] 34s of 1m in this step
            requests [=======>                ] 34 of 100 needed in this step
            gate     wait: 34 requests on the canary and 306 on stable, 100 needed of each
            evidence [======>                 ] e-value 12, fails at 2000; errors: 4 (1.18%) on v2, 3 (0.10%) on v1
            trap     00112233aabbccdd hit v2 2 times, never v1
                     wasm trap: unreachable
                     0: hello!a
                     1: hello!b\u{1b}[2J
                     2: hello!c
                     (2 more lines with -o json)
            failed   req-1 req-2

            in the rollout, since its gate began:
            ROLE    VERSION  REQUESTS   FAILURES      P50      P99
            canary  v2            340  4 (1.18%)  0.84 ms  12.3 ms
            stable  v1           3060  3 (0.10%)  0.84 ms  12.3 ms
        "#]],
    );
}

#[test]
fn a_step_by_cohort_shows_the_cohorts_numbers() {
    let side = |version: &str, requests, failures| {
        let times = (None, None);
        let version = version.to_owned();
        api::SideView {
            version,
            role: None,
            requests,
            failures,
            latency_p50_ms: times.0,
            latency_p99_ms: times.1,
        }
    };
    let evidence = api::EvidenceView {
        canary: side("v2", 0, 0),
        stable: side("v1", 900, 2),
        baseline_side: Some(side("v1", 90, 1)),
        cohort: Some(side("v2", 37, 3)),
        signals: vec![],
        traps: vec![],
        failed_requests: vec![],
        nodes: vec![],
        ..numbers()
    };
    let gate = api::GateView {
        verdict: "wait".to_owned(),
        reason: "37 requests of the cohort, 100 needed".to_owned(),
        requests: 37,
        requests_needed: 100,
        evidence,
    };
    let rollout = api::RolloutView {
        weight: "0%".to_owned(),
        step: Some(1),
        steps: ["10% of beta", "10%", "100%"].map(str::to_owned).to_vec(),
        gate: Some(gate),
        ..rollout()
    };
    check(
        &standing(&rollout, Actual::of(&rollout), Drawn::Bars, NOW_MS),
        &expect![[r#"
        rollout  canary from v1 to v2, progressing, began 3m ago
        step     1 of 3: 10% of cohort beta
        time     [============>           ] 34s of 1m in this step
        requests [=======>                ] 37 of 100 needed in this step
        gate     wait: 37 requests of the cohort, 100 needed

        in the rollout, since its gate began:
        ROLE      VERSION  REQUESTS   FAILURES  P50  P99
        canary    v2              0          0    -    -
        stable    v1            900  2 (0.22%)    -    -
        baseline  v1             90  1 (1.11%)    -    -
        cohort    v2             37  3 (8.11%)    -    -
    "#]],
    );
    check(
        &line(&rollout, &[share("v1", "100%")], Actual::Step(None)),
        &expect![
            "v2 progressing, step 1 of 3: 10% of cohort beta, v1=100%, 34s of 1m | v2: 0 requests, 0 failures, p99 - | v1: 900 requests, 2 failures, p99 - | cohort on v2: 37 requests, 3 failures | gate wait, 37 of 100 requests in this step"
        ],
    );
    let by_hand = api::RolloutView { weight: "5%".to_owned(), gate: None, ..rollout };
    check(
        &line(&by_hand, &[share("v1", "95%"), share("v2", "5%")], Actual::Step(None)),
        &expect!["v2 progressing, step 1 of 3: 10% of cohort beta, v1=95% v2=5%, 34s of 1m"],
    );
}

#[test]
fn a_rollout_that_stands_still_says_why() {
    let paused = api::RolloutView {
        phase: "paused".to_owned(),
        reason: Some("errors: 9 of 340".to_owned()),
        gate: None,
        ..rollout()
    };
    check(
        &standing(&paused, Actual::of(&paused), Drawn::Plain, NOW_MS),
        &expect![[r#"
            rollout  canary from v1 to v2, paused, began 3m ago
            reason   errors: 9 of 340
            step     2 of 4: 10% set
            time     34s of 1m in this step
        "#]],
    );
    check(&line(&paused, &[], Actual::Step(None)), &expect!["v2 paused, step 2 of 4, -, 34s of 1m"]);
}

#[test]
fn everybody_is_compared_with_the_past() {
    let mut watching = api::RolloutView {
        strategy: api::StrategySpec::AllAtOnce,
        phase: "watching".to_owned(),
        step: None,
        weight: "100%".to_owned(),
        steps: vec![],
        lasts_ms: 300_000,
        ..rollout()
    };
    if let Some(gate) = &mut watching.gate {
        gate.evidence = api::EvidenceView {
            baseline: "past".to_owned(),
            canary: api::SideView { role: Some(api::VersionRole::Stable), ..numbers().canary },
            stable: api::SideView { role: Some(api::VersionRole::Previous), ..numbers().stable },
            baseline_side: None,
            cohort: None,
            traps: vec![],
            failed_requests: vec![],
            nodes: vec![],
            signals: vec![],
        };
    }
    check(
        &standing(&watching, Actual::of(&watching), Drawn::Plain, NOW_MS),
        &expect![[r#"
            rollout  all-at-once from v1 to v2, watching, began 3m ago
            share    100%
            time     34s of 5m in this phase
            gate     wait: 34 requests on the canary and 306 on stable, 100 needed of each

            in the rollout: v2 since it has had all traffic, v1 before that
            ROLE      VERSION  REQUESTS   FAILURES      P50      P99
            stable    v2            340  4 (1.18%)  0.84 ms  12.3 ms
            previous  v1           3060  3 (0.10%)  0.84 ms  12.3 ms
        "#]],
    );
}

#[test]
fn the_last_rollout_says_why_it_ended() {
    let ended = |outcome| api::EndedRolloutView {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        outcome,
        started_ms: NOW_MS - 400_000,
        ended_ms: NOW_MS - 300_000,
        reason: "trap 00112233aabbccdd hit the canary 3 times, and stable never".to_owned(),
        evidence: Some(numbers()),
    };
    check(
        &last(&ended(RolloutOutcomeView::Aborted), true, NOW_MS),
        &expect![[r#"
            last     v2 was aborted 5m ago, from v1: trap 00112233aabbccdd hit the canary 3 times, and stable never
            evidence e-value 12, fails at 2000; errors: 4 (1.18%) on v2, 3 (0.10%) on v1
            trap     00112233aabbccdd hit v2 2 times, never v1
                     wasm trap: unreachable
                     0: hello!a
                     1: hello!b\u{1b}[2J
                     2: hello!c
                     (2 more lines with -o json)
            failed   req-1 req-2
        "#]],
    );
    check(
        &last(&ended(RolloutOutcomeView::RolledBack), false, NOW_MS),
        &expect![[r#"
        last     v2 was rolled back 5m ago: trap 00112233aabbccdd hit the canary 3 times, and stable never
    "#]],
    );
    check(
        &last(&ended(RolloutOutcomeView::Promoted), true, NOW_MS),
        &expect![[r#"
        last     v2 was promoted 5m ago, from v1: trap 00112233aabbccdd hit the canary 3 times, and stable never
    "#]],
    );
}

#[test]
fn evidence_has_every_signal_and_the_whole_backtrace() {
    check(
        &evidence(&numbers()),
        &expect![[r#"
            ROLE    VERSION  REQUESTS   FAILURES      P50      P99
            canary  v2            340  4 (1.18%)  0.84 ms  12.3 ms
            stable  v1           3060  3 (0.10%)  0.84 ms  12.3 ms
            evidence errors: 4 of 340 requests
            evidence latency_p99: 1 of 340 requests
            trap     00112233aabbccdd hit v2 2 times, never v1
                     wasm trap: unreachable
                     0: hello!a
                     1: hello!b\u{1b}[2J
                     2: hello!c
                     3: hello!d
                     4: e
            failed   req-1 req-2
        "#]],
    );
}

#[test]
fn changes_are_one_line_each() {
    let v2 = || "v2".to_owned();
    let lines = [
        RolloutChange::Idle { split: vec![api::SplitShare { version: v2(), weight: "100%".to_owned() }] },
        RolloutChange::Begun { rollout: rollout() },
        RolloutChange::Step { canary: v2(), step: Some(3), steps: 4, weight: "50%".to_owned(), cohort: None },
        RolloutChange::Phase { canary: v2(), phase: "awaiting promotion".to_owned(), reason: None },
        RolloutChange::Inconclusive { canary: v2(), because: "timeout".to_owned() },
        RolloutChange::Gone { canary: v2() },
    ];
    check(
        &lines.iter().map(change).collect::<Vec<_>>().join("\n"),
        &expect![[r#"
        no rollout, traffic is v2=100%
        canary from v1 to v2: progressing at step 2 of 4, 10%
        v2 is at step 3 of 4, 50%
        v2 is awaiting promotion
        v2 is inconclusive (timeout): the rollout continues unwatched
        the rollout of v2 is over, but its end was not seen"#]],
    );
    let split = [share("v2", "10%"), share("v1", "90%")];
    check(
        &line(&rollout(), &split, Actual::Step(Some(0.098))),
        &expect![
            "v2 progressing, step 2 of 4, v2=10% v1=90% (v2 actual 9.80%), 34s of 1m | v2: 340 requests, 4 failures, p99 12.3 ms | v1: 3060 requests, 3 failures, p99 12.3 ms | gate wait, 34 of 100 requests in this step | evidence 12 of 2000: errors"
        ],
    );
}

#[test]
fn an_event_is_one_flat_object() {
    let event = |change| {
        let (function, stage) = ("hello".to_owned(), "live".to_owned());
        serde_json::to_string(&api::RolloutEvent { at_ms: NOW_MS, function, stage, change }).unwrap()
    };
    let canary = || "v2".to_owned();
    let reason = "all steps passed".to_owned();
    let ended = RolloutChange::Ended {
        canary: canary(),
        outcome: RolloutOutcomeView::RolledBack,
        reason,
        evidence: None,
    };
    check(
        &event(ended),
        &expect![[
            r#"{"at_ms":1795341600000,"function":"hello","stage":"live","event":"ended","canary":"v2","outcome":"rolled-back","reason":"all steps passed"}"#
        ]],
    );
    let step = RolloutChange::Step {
        canary: canary(),
        step: Some(2),
        steps: 4,
        weight: "10%".to_owned(),
        cohort: None,
    };
    check(
        &event(step.clone()),
        &expect![[
            r#"{"at_ms":1795341600000,"function":"hello","stage":"live","event":"step","canary":"v2","step":2,"steps":4,"weight":"10%"}"#
        ]],
    );
    let read: api::RolloutEvent = serde_json::from_str(&event(step.clone())).unwrap();
    assert_eq!(read.change, step);
}

#[test]
fn numbers_are_short() {
    assert_eq!([0, 250, 999, 1000, 65_400, 300_000].map(span), ["0s", "250ms", "999ms", "1s", "1m 5s", "5m"]);
}

#[test]
fn bars_end_at_both_ends() {
    let bars = [0.0, 0.04, 0.5, 0.99, 1.0, 7.0, -1.0, f64::NAN].map(|part| super::bar(Drawn::Bars, part));
    check(
        &bars.join("\n"),
        &expect![[r#"
        [                        ] 
        [                        ] 
        [===========>            ] 
        [======================> ] 
        [========================] 
        [========================] 
        [                        ] 
        [                        ] "#]],
    );
    assert_eq!(super::bar(Drawn::Plain, 0.5), "");
}

#[test]
fn what_stands_still_has_ways_out() {
    let commands =
        |phase| ways_out(phase, "hello -s a").into_iter().map(|(command, _)| command).collect::<Vec<_>>();
    let abort = "wasm-fn abort hello -s a";
    assert_eq!(commands("awaiting promotion"), ["wasm-fn promote hello -s a", abort]);
    assert_eq!(commands("paused"), ["wasm-fn resume hello -s a", abort]);
    assert_eq!(commands("frozen"), [abort, "wasm-fn promote hello -s a --full"]);
    assert!(commands("progressing").is_empty());
}
