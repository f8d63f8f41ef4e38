//! Answers as people see them.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use wasm_fn_api::{self as api, VersionRole};

use super::{Look, explain, lines, rollout::Actual, tables, time, visible};
use crate::fault::{Fault, Told};

mod fitting;

/// No terminal, no colours.
const PLAIN: Look = Look { columns: None, colours: false };

/// 2026-11-22T10:00:00Z.
const NOW_MS: u64 = 1_795_341_600_000;

fn check(found: &str, expected: &Expect) {
    expected.assert_eq(found);
}

fn split(text: &str) -> Vec<api::SplitShare> {
    let share =
        |(version, weight): (&str, &str)| api::SplitShare { version: version.into(), weight: weight.into() };
    text.split_whitespace().filter_map(|text| text.split_once('=')).map(share).collect()
}

fn rollout() -> api::RolloutView {
    api::RolloutView {
        stable: "v1".to_owned(),
        canary: "v2".to_owned(),
        weight: "10%".to_owned(),
        strategy: api::StrategySpec::Canary { steps: vec!["10%".to_owned()] },
        started_ms: NOW_MS - 185_000,
        from_split: split("v1=100%"),
        phase: "progressing".to_owned(),
        step: Some(1),
        steps: vec!["10%".to_owned(), "100%".to_owned()],
        lasted_ms: 0,
        lasts_ms: 60_000,
        reason: None,
        gate: None,
        provenance: None,
    }
}

fn tally(requests: u64, traps: u64) -> api::TallyView {
    let outcomes = [("success", requests - traps), ("trap", traps)].into_iter().filter(|&(_, n)| n > 0);
    let measured = (requests > 0).then_some(());
    api::TallyView {
        requests,
        failures: traps,
        outcomes: outcomes.map(|(outcome, n)| (outcome.to_owned(), n)).collect(),
        latency_p50_ms: measured.map(|()| 0.842),
        latency_p99_ms: measured.map(|()| 12.34),
        queue_wait_p99_ms: measured.map(|()| 1240.0),
        memory_peak_bytes: requests * 1024,
        shield: BTreeMap::new(),
    }
}

fn status() -> api::FunctionStatus {
    let version = |version: &str, role, weight: &str, tally| api::VersionStatus {
        version: version.to_owned(),
        role,
        weight: weight.to_owned(),
        tally,
        env: BTreeMap::new(),
        overrides: 0,
        instances: 0,
        nodes: vec![],
    };
    api::FunctionStatus {
        proposals: vec![],
        nodes: vec![],
        function: "hello".to_owned(),
        revision: 7,
        latest: "v2".to_owned(),
        stages: vec![api::StageStatus {
            stage: "live".to_owned(),
            stable: "v1".to_owned(),
            previous: None,
            split: split("v2=10% v1=90%"),
            rollout: Some(rollout()),
            last_rollout: None,
            routes: vec!["/hello/*".to_owned()],
            preview: "token".to_owned(),
            sticky: "cookie:sid".to_owned(),
            versions: vec![
                version("v2", Some(VersionRole::Canary), "10%", tally(0, 0)),
                version("v1", Some(VersionRole::Stable), "90%", tally(4000, 12)),
            ],
        }],
    }
}

fn list() -> api::FunctionList {
    let stage = |stage: &str, canary: Option<&str>, shares: &str, failures| api::StageSummary {
        stage: stage.to_owned(),
        stable: "v1".to_owned(),
        canary: canary.map(str::to_owned),
        previous: None,
        split: split(shares),
        routes: vec![format!("/hello@{stage}/*")],
        requests: 1000,
        failures,
    };
    let function = |function: &str, stages| api::FunctionSummary {
        revision: 7,
        function: function.to_owned(),
        latest: "v2".to_owned(),
        stages,
    };
    let stages = vec![stage("live", Some("v2"), "v2=10% v1=90%", 5), stage("staging", None, "v1=100%", 0)];
    api::FunctionList {
        revision: 7,
        functions: vec![function("hello", stages), function("idle", vec![])],
        more: false,
        nodes: vec![],
    }
}

#[test]
fn functions_are_a_table() {
    check(
        &tables::functions(&list(), PLAIN),
        &expect![[r#"
        FUNCTION  LATEST  STAGES        ROUTES
        hello     v2      live staging  /hello@live/* /hello@staging/*
        idle      v2      -             -"#]],
    );
    check(
        &tables::summaries(&list(), PLAIN),
        &expect![[r#"
            FUNCTION  STAGE    STABLE  CANARY  SPLIT          REQUESTS   FAILURES
            hello     live     v1      v2      v2=10% v1=90%      1000  5 (0.50%)
            hello     staging  v1      -       v1=100%            1000          0
            idle      -        -       -       -                     -          -"#]],
    );
    check(
        &lines::summary(&list().functions[0], NOW_MS),
        &expect![
            "2026-11-22T10:00:00.000Z hello | live v2=10% v1=90%: 1000 requests, 5 failures | staging v1=100%: 1000 requests, 0 failures"
        ],
    );
}

#[test]
fn a_status_compares_the_versions() {
    check(
        &tables::status(&status(), NOW_MS, PLAIN),
        &expect![[r#"
            hello  stage live  revision 7
            routes   /hello/*
            sticky   cookie:sid
            preview  /hello@v2, with a token: wasm-fn preview hello
            rollout  canary from v1 to v2, progressing, began 3m ago
            step     1 of 2: 10% set
            time     0s of 1m in this step

            since the node started:
            VERSION  ROLE    WEIGHT  REQUESTS    FAILURES      P50      P99   MEMORY
            v2       canary     10%         0           0        -        -      0 B
            v1       stable     90%      4000  12 (0.30%)  0.84 ms  12.3 ms  3.9 MiB
            outcomes v1: trap=12
            waiting  v1: 99% of the requests waited 1240 ms or less for their turn"#]],
    );
    check(
        &lines::stage("hello", &status().stages[0], Actual::Step(Some(0.098)), NOW_MS),
        &expect![
            "2026-11-22T10:00:00.000Z hello live v2 progressing, step 1 of 2, v2=10% v1=90% (v2 actual 9.80%), 0s of 1m | v2: 0 requests, 0 failures, p99 - | v1: 4000 requests, 12 failures, p99 12.3 ms"
        ],
    );
    let mut failing = status();
    failing.stages[0].versions[0].tally.shield = [("again", 12), ("had-effect", 2), ("response-begun", 1)]
        .map(|(met, count)| (met.to_owned(), count))
        .into();
    let text = tables::status(&failing, NOW_MS, PLAIN);
    check(
        text.lines().last().unwrap(),
        &expect![
            "shield   12 requests that failed on v2 were answered by a second run; not shielded: had-effect=2 response-begun=1"
        ],
    );
    let idle = api::FunctionStatus { stages: vec![], ..status() };
    check(
        &tables::status(&idle, NOW_MS, PLAIN),
        &expect!["hello has no traffic in any stage, its latest version is v2"],
    );
}

fn version_list() -> api::VersionList {
    let version = |version: &str, verdict, message: &str, stages| api::VersionInfo {
        version: version.to_owned(),
        component: "0123456789abcdef".repeat(4),
        kind: "wasi:http 0.2".to_owned(),
        config: api::ConfigSpec::default(),
        stage_configs: BTreeMap::new(),
        created_ms: NOW_MS - 7_200_000,
        created_by: "admin".to_owned(),
        message: (!message.is_empty()).then(|| message.to_owned()),
        provenance: None,
        verdict,
        stages,
    };
    let place = |stage: &str, role, weight: &str| api::VersionPlace {
        stage: stage.to_owned(),
        role,
        weight: weight.to_owned(),
    };
    let aborted = api::VersionVerdictView::Aborted {
        stage: "live".to_owned(),
        at_ms: NOW_MS,
        reason: Some("too many\ntraps".to_owned()),
    };
    let back =
        api::VersionVerdictView::RolledBack { stage: "staging".to_owned(), at_ms: NOW_MS, reason: None };
    api::VersionList {
        more: false,
        function: "hello".to_owned(),
        versions: vec![
            version("v3", Some(aborted), "faster\u{1b}[2J", vec![]),
            version("v2", Some(back), "", vec![]),
            version(
                "v1",
                None,
                "",
                vec![place("live", Some(VersionRole::Stable), "90%"), place("a", None, "5%")],
            ),
        ],
    }
}

#[test]
fn what_a_stage_lays_over_its_versions_is_shown() {
    let env = |names: &[&str]| names.iter().map(|&name| (name.to_owned(), "value".to_owned())).collect();
    let mut status = status();
    status.stages[0].rollout = None;
    status.stages[0].versions.truncate(1);
    status.stages[0].versions[0].env = env(&["API", "LOG\u{1b}"]);
    check(
        &tables::status(&status, NOW_MS, PLAIN),
        &expect![[r#"
        hello  stage live  revision 7
        routes   /hello/*
        env      v2: API, LOG\u{1b}
        sticky   cookie:sid
        rollout  none

        since the node started:
        VERSION  ROLE    WEIGHT  REQUESTS  FAILURES  P50  P99  MEMORY
        v2       canary     10%         0         0    -    -     0 B"#]],
    );
    let mut list = version_list();
    list.versions.truncate(1);
    let routes = vec!["staging.example.com/*".to_owned()];
    let staging = api::StageConfigSpec { env: env(&["API"]), routes };
    let live = api::StageConfigSpec { env: env(&["API", "LOG"]), routes: Vec::new() };
    list.versions[0].stage_configs = [("staging".to_owned(), staging), ("live".to_owned(), live)].into();
    check(
        &tables::versions(&list, NOW_MS, PLAIN),
        &expect![[r#"
        VERSION  WHERE  KIND           COMPONENT     AGE  BY
        v3       -      wasi:http 0.2  0123456789ab   2h  admin
                 aborted: too many traps
                 message: faster\u{1b}[2J
                 in live: env API, LOG
                 in staging: env API; routes staging.example.com/*"#]],
    );
}

#[test]
fn versions_show_where_they_are_and_what_became_of_them() {
    let list = version_list();
    check(
        &tables::versions(&list, NOW_MS, PLAIN),
        &expect![[r#"
            VERSION  WHERE                  KIND           COMPONENT     AGE  BY
            v3       -                      wasi:http 0.2  0123456789ab   2h  admin
                     aborted: too many traps
                     message: faster\u{1b}[2J
            v2       -                      wasi:http 0.2  0123456789ab   2h  admin
                     rolled back in staging
            v1       live stable 90%, a 5%  wasi:http 0.2  0123456789ab   2h  admin"#]],
    );
}

fn history_page() -> api::HistoryPage {
    let entry = |revision, action: &str, shares: &str, message: Option<&str>| api::HistoryEntry {
        revision,
        at_ms: NOW_MS,
        actor: "admin".to_owned(),
        origin: "127.0.0.1:50000".to_owned(),
        node: None,
        message: message.map(str::to_owned),
        reason: None,
        trigger: None,
        events: None,
        value: None,
        secrets: BTreeMap::new(),
        evidence: None,
        action: action.to_owned(),
        stage: (action != "delete").then(|| "live".to_owned()),
        version: (action != "delete").then(|| "v2".to_owned()),
        split: split(shares),
        step: None,
        growth: vec![],
        provenance: None,
        hash: "ab".repeat(32),
    };
    let side = |version: &str| api::SideView {
        version: version.to_owned(),
        role: None,
        requests: 30,
        failures: 3,
        latency_p50_ms: None,
        latency_p99_ms: None,
    };
    let evidence = api::EvidenceView {
        baseline: "concurrent".to_owned(),
        canary: side("v2"),
        stable: side("v1"),
        baseline_side: None,
        cohort: None,
        signals: vec![],
        traps: vec![],
        failed_requests: vec![],
        nodes: vec![],
    };
    let decided = api::HistoryEntry {
        reason: Some("3 of 30 failed".to_owned()),
        evidence: Some(evidence),
        ..entry(8, "abort", "v1=100%", None)
    };
    api::HistoryPage {
        function: "hello".to_owned(),
        entries: vec![
            entry(9, "delete", "", None),
            decided,
            entry(7, "deploy", "v2=10% v1=90%", Some("why not")),
            api::HistoryEntry { step: Some("beta".to_owned()), ..entry(6, "deploy", "v1=100%", None) },
        ],
        more: false,
    }
}

#[test]
fn history_says_who_what_when_whence_and_why() {
    let history = history_page();
    check(
        &tables::history(&history, false, PLAIN),
        &expect![[r#"
            REVISION  AT                    ACTION  VERSION  HASH          SPLIT
                   9  2026-11-22T10:00:00Z  delete  -        abababababab  -
                      by admin from 127.0.0.1:50000
                   8  2026-11-22T10:00:00Z  abort   v2       abababababab  v1=100%
                      by admin from 127.0.0.1:50000: 3 of 30 failed
                   7  2026-11-22T10:00:00Z  deploy  v2       abababababab  v2=10% v1=90%
                      by admin from 127.0.0.1:50000: why not
                   6  2026-11-22T10:00:00Z  deploy  v2       abababababab  v1=100%, cohort beta on v2
                      by admin from 127.0.0.1:50000"#]],
    );
    let with_evidence = tables::history(&history, true, PLAIN);
    let below = with_evidence.split_once("\n\n").map(|(_, below)| below);
    check(
        below.unwrap_or_default(),
        &expect![[r#"
            revision 8: abort v2
            ROLE    VERSION  REQUESTS    FAILURES  P50  P99
            canary  v2             30  3 (10.00%)    -    -
            stable  v1             30  3 (10.00%)    -    -"#]],
    );
}

#[test]
fn a_deployment_is_one_line() {
    let result = |shares: &str| api::DeployResult {
        proposal: None,
        needs_approval: false,
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        version: "v2".to_owned(),
        kind: "wasi:http 0.2".to_owned(),
        unchanged: false,
        first: false,
        optimising: false,
        split: split(shares),
        rollout: None,
        routes: vec!["/hello/*".to_owned()],
        pending: vec![],
        growth: vec![],
        revision: 3,
    };
    let canary = api::DeployResult { rollout: Some(rollout()), ..result("v2=10% v1=90%") };
    check(&lines::deployed(&canary), &expect!["hello v2 is canary at 10%, v1 keeps 90%: step 1 of 2"]);
    let all = api::RolloutView { phase: "watching".to_owned(), step: None, lasts_ms: 300_000, ..rollout() };
    let all = api::DeployResult { rollout: Some(all), ..result("v2=100%") };
    check(&lines::deployed(&all), &expect!["hello v2 is live at 100%, watched for 5m"]);
    let blue_green = api::RolloutView { step: None, phase: "checking".to_owned(), ..rollout() };
    let blue_green = api::DeployResult { rollout: Some(blue_green), ..result("v1=100%") };
    check(&lines::deployed(&blue_green), &expect!["hello v2 is canary at 0%, v1 keeps 100%"]);
    check(&lines::deployed(&result("v2=100%")), &expect!["hello v2 is live at 100%"]);
    check(&lines::deployed(&result("v1=100%")), &expect!["hello v2 has no traffic, v1 keeps 100%"]);
    assert_eq!(lines::pending(&all), None);
    let waiting = api::DeployResult { pending: vec!["routes".to_owned(), "cohorts".to_owned()], ..canary };
    check(
        &lines::pending(&waiting).unwrap(),
        &expect![
            "note: these settings of v2 apply once it is stable; until then, the stable version's apply: routes, cohorts"
        ],
    );
    let unchanged = api::DeployResult { unchanged: true, ..result("v2=100%") };
    check(
        &lines::deployed(&unchanged),
        &expect!["hello v2 is already deployed at 100%, nothing was changed"],
    );
    let first = api::DeployResult { first: true, stage: "staging".to_owned(), ..result("v2=100%") };
    check(
        &lines::deployed(&first),
        &expect!["hello v2 is live at 100% in stage staging: the first version has all traffic"],
    );
    assert_eq!(lines::optimising(&first), None);
    check(
        &lines::optimising(&api::DeployResult { optimising: true, ..first }).unwrap(),
        &expect!["note: v2 serves already, and gets faster in a while: it is still being optimised"],
    );
}

#[test]
fn a_change_is_one_line() {
    let changed = api::StageChanged {
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        stable: "v1".to_owned(),
        split: split("v2=10% v1=90%"),
        rollout: Some(rollout()),
        previous: None,
        split_before: vec![],
        revision: 8,
    };
    check(
        &lines::changed(&changed),
        &expect!["hello v1 is stable, v2 is canary at step 1 of 2, traffic is v2=10% v1=90%"],
    );
    let paused = api::RolloutView { phase: "paused".to_owned(), ..rollout() };
    let paused = api::StageChanged { rollout: Some(paused), ..changed.clone() };
    check(
        &lines::changed(&paused),
        &expect!["hello v1 is stable, v2 is canary at step 1 of 2, paused, traffic is v2=10% v1=90%"],
    );
    let watched = api::RolloutView { phase: "watching".to_owned(), step: None, ..rollout() };
    let watched = api::StageChanged { stable: "v2".to_owned(), rollout: Some(watched), ..changed.clone() };
    check(
        &lines::changed(&watched),
        &expect!["hello v2 is stable, v2 is watched for 1m, traffic is v2=10% v1=90%"],
    );
    let back = |before: &str| api::StageChanged {
        split: split("v1=100%"),
        split_before: split(before),
        ..changed.clone()
    };
    check(
        &lines::rolled_back(&back("v2=100%")),
        &expect!["hello rolled back from v2 to v1, traffic is v1=100%"],
    );
    check(
        &lines::rolled_back(&api::StageChanged { stage: "staging".to_owned(), ..back("v2=10% v1=90%") }),
        &expect!["hello rolled back from v2=10% v1=90% to v1 in stage staging, traffic is v1=100%"],
    );
    check(
        &lines::rolled_back(&back("v1=100%")),
        &expect!["hello v1 has all traffic already, nothing was changed"],
    );
    let settled =
        api::StageChanged { stage: "staging".to_owned(), split: split("v1=100%"), rollout: None, ..changed };
    check(&lines::changed(&settled), &expect!["hello v1 is stable in stage staging, traffic is v1=100%"]);
}

#[test]
fn a_log_line_cannot_steer_the_terminal() {
    let line = api::LogLineView {
        node: None,
        seq: 1,
        at_ms: NOW_MS + 123,
        request_id: "0123456789abcdef".repeat(2),
        stage: Some("live".to_owned()),
        version: "v2".to_owned(),
        stream: api::LogStreamView::Stderr,
        failed: true,
        status: None,
        request: None,
        text: "\u{1b}[2Jgone\u{202e}\rnot ".to_owned(),
    };
    check(
        &lines::log(&api::LogEvent::Line(line.clone()), PLAIN),
        &expect![[
            r#"2026-11-22T10:00:00.123Z v2 stderr 0123456789abcdef0123456789abcdef failed  \u{1b}[2Jgone\u{202e}\rnot "#
        ]],
    );
    let request = api::LogRequestView {
        method: "GET".to_owned(),
        path: "/hello/\u{1b}[2J".to_owned(),
        duration_ms: 12.34,
    };
    let answered = api::LogLineView {
        stream: api::LogStreamView::Host,
        stage: Some("staging".to_owned()),
        status: Some(503),
        request: Some(request),
        text: "guest answered 503 Service Unavailable".to_owned(),
        ..line
    };
    check(
        &lines::log(&api::LogEvent::Line(answered), PLAIN),
        &expect![[
            r#"2026-11-22T10:00:00.123Z v2 staging host 0123456789abcdef0123456789abcdef failed 503  GET /hello/\u{1b}[2J after 12.3 ms: guest answered 503 Service Unavailable"#
        ]],
    );
    check(
        &lines::log(&api::LogEvent::Lost { lines: 3, node: None }, PLAIN),
        &expect!["(3 lines were lost: they arrived too fast)"],
    );
}

fn told(fault: Fault) -> Told {
    match fault {
        Fault::Told(told) => *told,
        Fault::ReaderGone => panic!("expected a message"),
    }
}

#[test]
fn a_fault_is_three_lines_or_one_object() {
    let problem = api::Problem {
        title: "the state has changed meanwhile".to_owned(),
        status: 409,
        detail: "revision is 8, expected 7".to_owned(),
        code: "revision-conflict".to_owned(),
        help: Some("read the state again".to_owned()),
        revision: Some(8),
    };
    let told = told(Fault::refused("stage `live` of `hello` was not changed", problem));
    let plain = |_, word: &str| word.to_owned();
    check(
        &explain(&told, plain),
        &expect![[r#"
        error: stage `live` of `hello` was not changed
        cause: revision is 8, expected 7
        help:  read the state again"#]],
    );
    check(
        &serde_json::to_string(&told).unwrap(),
        &expect![[
            r#"{"code":"revision-conflict","title":"stage `live` of `hello` was not changed","detail":"revision is 8, expected 7","help":"read the state again","status":409,"revision":8}"#
        ]],
    );
}

#[test]
fn numbers_are_short() {
    let latencies = [None, Some(0.842), Some(12.34), Some(1240.4)].map(time::latency);
    assert_eq!(latencies, ["-", "0.84 ms", "12.3 ms", "1240 ms"]);
    let ages = [0, 59_999, 60_000, 7_200_000, 864_000_000].map(|ms| time::age(NOW_MS - ms, NOW_MS));
    assert_eq!(ages, ["0s", "59s", "1m", "2h", "10d"]);
    assert_eq!(time::age(NOW_MS + 5000, NOW_MS), "0s");
    assert_eq!([time::failures(0, 0), time::failures(5, 0), time::failures(1, 3)], ["0", "5", "1 (33.33%)"]);
    assert_eq!(time::instant(u64::MAX), "9999-12-31T23:59:59.000Z");
    let sizes = [0, 1536, 5 << 30].map(time::bytes);
    assert_eq!(sizes, ["0 B", "1.5 KiB", "5.0 GiB"]);
}

#[test]
fn ordinary_text_is_left_alone() {
    let text = "größe\t– 日本\n{\"a\": 1}";
    assert_eq!(visible(text), text);
    assert_eq!(visible("\u{7}\u{9b}\u{200f}"), "\\u{7}\\u{9b}\\u{200f}");
}
