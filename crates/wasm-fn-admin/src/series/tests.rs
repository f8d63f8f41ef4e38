//! Facts about numbers over time.

use wasm_fn_control::report::{Report, SideReport, SignalReport};

use super::{rollouts::Course, traffic};

fn side(requests: u64) -> SideReport {
    let latency = Some(requests + 1000);
    let version = "v1".to_owned();
    SideReport { version, requests, failures: 1, latency_p50_us: latency, latency_p99_us: latency }
}

fn report(requests: u64) -> Report {
    let signal = |signal: &str| SignalReport {
        signal: signal.to_owned(),
        canary: (1, requests),
        stable: (0, requests),
        log_e_thousandths: i64::try_from(requests).unwrap() * 1000,
        log_threshold_thousandths: 3_500,
        text: String::new(),
    };
    // The strongest evidence comes first, so the order changes.
    let signals = if requests.is_multiple_of(2) { ["errors", "traps"] } else { ["traps", "errors"] };
    Report {
        reason: String::new(),
        baseline: "concurrent".to_owned(),
        canary: side(requests),
        stable: side(2 * requests),
        baseline_side: None,
        cohort: None,
        signals: signals.map(signal).to_vec(),
        traps: Vec::new(),
        failed_requests: Vec::new(),
        nodes: Vec::new(),
    }
}

#[test]
fn course_of_a_rollout_reaches_from_its_beginning_to_its_end_within_a_bound() {
    let version = |text: &str| text.parse().unwrap();
    let mut course = Course::new(version("v1"), version("v2"), 0);
    let (mut added, mut now_ms) = (0, 0);
    // A day, looked at each second.
    while now_ms < 24 * 3_600_000 {
        if course.is_due(now_ms) {
            course.add(&report(now_ms / 1000), 0.1, now_ms);
            added += 1;
        }
        now_ms += 1000;
        assert!(course.moments.len() <= 240);
    }
    assert!(added < 2000, "{added}");
    assert!(course.moments.len() >= 120);
    assert_eq!(course.moments[0].at_ms, 0);
    assert!(course.moments.is_sorted_by_key(|moment| moment.at_ms));
    assert!(now_ms - course.moments.last().unwrap().at_ms <= 24 * 3_600_000 / 100);
    assert_eq!(course.signals[0], ("errors".to_owned(), 3.5));
    for moment in &course.moments {
        let seconds = (moment.at_ms / 1000) as f32;
        assert_eq!(moment.log_e[..], [seconds, seconds], "each under its name");
        assert_eq!(moment.stable.requests, 2 * moment.canary.requests);
    }
}

#[test]
fn steps_of_ten_thousand_busy_functions_stay_within_32_mib() {
    assert_eq!(traffic::POINT_BYTES, 16);
    const { assert!(traffic::POINTS_MAX * traffic::POINT_BYTES <= 32 << 20) };
}
