//! Triggers and events as people see them.

use expect_test::expect;
use serde_json::json;

use super::*;

/// 2026-11-22T10:00:00Z.
const NOW_MS: u64 = 1_795_341_600_000;

fn nightly() -> api::TriggerView {
    api::TriggerView {
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        name: "nightly".to_owned(),
        source: api::SourceSpec::Schedule(api::ScheduleSpec {
            cron: vec!["0 3 * * *".to_owned()],
            every_ms: vec![90_000],
            time_zone: Some("Europe/Berlin".to_owned()),
            overlap: Some("skip".to_owned()),
            catch_up_ms: Some(60_000),
            jitter_ms: Some(10_000),
            pause_on_failure: Some(3),
            canary_runs: Some(5),
            start_ms: None,
            end_ms: None,
        }),
        path: "/_events/nightly".to_owned(),
        url_path: None,
        retry: api::RetrySpec {
            attempts_max: Some(20),
            age_max_ms: Some(86_400_000),
            backoff_min_ms: Some(1000),
            backoff_max_ms: Some(3_600_000),
        },
        concurrency_max: 10,
        rate: Some("5/s".to_owned()),
        ordered_by: Some("ce-subject".to_owned()),
        redeliver: Some("effect-free".to_owned()),
        created_ms: NOW_MS,
        created_by: "ana".to_owned(),
        paused: Some(api::PauseView {
            since_ms: NOW_MS,
            by: "failures".to_owned(),
            failures: Some(3),
            note: None,
        }),
        next_ms: vec![NOW_MS + 90_000, NOW_MS + 180_000],
        release: None,
        watch: None,
        inbox: api::InboxView {
            waiting: 2,
            dead: 1,
            oldest_ms: Some(NOW_MS - 300_000),
            ..Default::default()
        },
        queue: None,
        counts: api::TriggerCountsView {
            skipped: 4,
            versions: vec![api::TriggerVersionView {
                version: "v2".to_owned(),
                on_time: 5,
                late: 1,
                acknowledged: 3,
                retried: 2,
                failed: 1,
            }],
            canary_runs: vec![api::CanaryRunsView {
                version: "v3".to_owned(),
                passed: 2,
                failed: 0,
                unclear: 1,
            }],
            ..Default::default()
        },
        revision: 7,
    }
}

const PLAIN: Look = Look { columns: None, colours: false };

#[test]
fn a_trigger_is_shown_with_its_settings_and_numbers() {
    expect![[r#"
        hello  stage live  trigger nightly
        source   0 3 * * * Europe/Berlin, every 1m 30s
        request  POST /_events/nightly
        schedule overlap skip, catch-up 1m, jitter 10s, paused after 3 failed runs in a row, 5 ticks on a canary as well
        retry    20 deliveries at most, within 1day, waits of up to 1s, then up to 1h
        limits   10 at a time, 5/s at most, in order by ce-subject
        canary   an event that it fails goes to stable at once if it had no effect
        added    2026-11-22T10:00:00Z by ana
        paused   since 2026-11-22T10:00:00Z after 3 failed runs in a row
        inbox    2 waiting, 0 in flight, 1 dead, the oldest came 5m ago
        ticks    4 skipped, 0 missed, 0 broken off since the node started
        failures 0 events in a row; 0 deliveries failed in the node
        next
          2026-11-22T10:01:30Z
          2026-11-22T10:03:00Z

        since the node started:
        VERSION  ON TIME  LATE  ACKNOWLEDGED  RETRIED  FAILED
        v2             5     1             3        2       1

        ticks on a canary without effects, beside stable:
        VERSION  PASSED  FAILED  UNCLEAR
        v3            2       0        1"#]]
    .assert_eq(&trigger(&nightly(), NOW_MS, PLAIN));
}

#[test]
fn only_what_a_trigger_has_is_shown_and_a_tag_that_is_not_seen_is_failing() {
    let spec = json!({ "brokers": ["nats://broker:4222"], "stream": "ORDERS", "subject": "orders.>" });
    let queue = api::SourceSpec::Queue(serde_json::from_value(spec).unwrap());
    let shown = trigger(&api::TriggerView { source: queue, ..nightly() }, NOW_MS, PLAIN);
    assert!(shown.contains("retry    20 deliveries at most, waits of up to"), "{shown}");
    assert!(!shown.contains("\nticks    "), "{shown}");

    let spec = json!({ "artifact": "oci://registry.example.com/app:prod" });
    let watch: api::WatchView = serde_json::from_value(json!({ "failing": "no such tag" })).unwrap();
    let watched = api::TriggerView {
        source: api::SourceSpec::Watch(serde_json::from_value(spec).unwrap()),
        watch: Some(watch),
        paused: None,
        ..nightly()
    };
    assert!(triggers(&[watched], NOW_MS, PLAIN).contains("  failing  "));
}

#[test]
fn triggers_are_listed() {
    expect![[r#"
        FUNCTION  STAGE  TRIGGER  SOURCE                                 STATE   NEXT                  WAITING  DEAD  OLDEST
        hello     live   nightly  0 3 * * * Europe/Berlin, every 1m 30s  paused  2026-11-22T10:01:30Z        2     1      5m"#]].assert_eq(&triggers(&[nightly()], NOW_MS, PLAIN));
}

#[test]
fn who_adds_a_schedule_sees_when_it_ticks() {
    expect![[r#"
        trigger nightly of hello is added: POST /_events/nightly
        next times:
          2026-11-22T10:01:30Z
          2026-11-22T10:03:00Z"#]]
    .assert_eq(&added(&nightly()));
}

#[test]
fn an_event_is_shown_as_a_request_that_controls_no_terminal() {
    let header = |name: &str, value: Option<&str>| api::EventHeaderView {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let dead = api::EventStatus {
        function: "hello".to_owned(),
        stage: "live".to_owned(),
        trigger: "nightly".to_owned(),
        id: "1".to_owned(),
        state: api::EventStateView::Dead { at_ms: NOW_MS, attempts: 1, reason: "it was refused".to_owned() },
        arrived_ms: Some(NOW_MS),
        ordering_key: None,
        request: Some(api::EventRequestView {
            method: "POST".to_owned(),
            path: "/_events/nightly".to_owned(),
            headers: vec![header("ce-id", Some("1")), header("authorization", None)],
            body: Some("red: \u{1b}[31m".to_owned()),
            body_base64: None,
        }),
    };
    expect![[r#"
        event 1 of nightly: dead since 2026-11-22T10:00:00Z after 1 delivery: it was refused
        came at 2026-11-22T10:00:00.000Z

        POST /_events/nightly
        ce-id: 1
        authorization: (not shown)

        red: \u{1b}[31m"#]]
    .assert_eq(&event(&dead));
}
