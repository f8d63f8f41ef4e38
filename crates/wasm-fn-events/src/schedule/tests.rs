//! Tests for `schedule`.

mod clocks;
mod cron;
mod due;
mod fuzzing;

use super::*;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn cron(expression: &str, zone: &str) -> ScheduleTime {
    ScheduleTime::Cron(CronTimes::parse(expression, zone.parse().unwrap()).unwrap())
}

pub(super) fn every(seconds: u64) -> ScheduleTime {
    ScheduleTime::Every(Interval::new(Duration::from_secs(seconds), Duration::ZERO).unwrap())
}

pub(super) fn options(times: &[ScheduleTime]) -> ScheduleOptions {
    ScheduleOptions {
        times: times.to_vec(),
        overlap: Overlap::Skip,
        catch_up: CATCH_UP_DEFAULT,
        jitter: Duration::ZERO,
        pause_on_failure: None,
        canary_runs: 0,
        start: None,
        end: None,
    }
}

pub(super) fn schedule(times: &[ScheduleTime]) -> Schedule {
    Schedule::new(options(times)).unwrap()
}

pub(super) fn trigger(name: &str) -> TriggerId {
    TriggerId {
        function: "hello".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

#[track_caller]
pub(super) fn check_next(schedule: &Schedule, after: &str, expected: &[&str]) {
    let found: Vec<_> =
        schedule.next_times(expected.len(), at(after)).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn times_are_merged_without_doubles() {
    let schedule = schedule(&[cron("*/20 * * * *", "UTC"), every(1800), cron("0 * * * *", "UTC")]);
    let expected = ["00:20", "00:30", "00:40", "01:00", "01:20"].map(|time| format!("2026-01-01T{time}:00Z"));
    check_next(&schedule, "2026-01-01T00:00:00Z", &expected.each_ref().map(String::as_str));
}

#[test]
fn intervals_count_from_the_epoch_or_an_anchor() {
    check_next(
        &schedule(&[every(90)]),
        "2026-01-01T00:00:00.001Z",
        &["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"],
    );
    let day = Duration::from_secs(24 * 3600);
    let phase = Interval::new(day, Duration::from_secs(3600)).unwrap();
    check_next(
        &schedule(&[ScheduleTime::Every(phase)]),
        "2026-01-01T00:00:00Z",
        &["2026-01-01T01:00:00Z", "2026-01-02T01:00:00Z"],
    );
    let anchored = Interval::anchored(Duration::from_secs(45), at("2026-01-01T00:00:10Z")).unwrap();
    check_next(
        &schedule(&[ScheduleTime::Every(anchored)]),
        "2026-01-01T00:00:00Z",
        &["2026-01-01T00:00:10Z", "2026-01-01T00:00:55Z"],
    );
    check_next(
        &schedule(&[ScheduleTime::Every(anchored)]),
        "2026-01-01T00:00:10Z",
        &["2026-01-01T00:00:55Z"],
    );
    // The first of all times is in 1970.
    assert_eq!(phase.next_after(Timestamp::MIN), Some(at("1970-01-01T01:00:00Z")));
    assert_eq!(phase.next_after(Timestamp::MAX), None);
}

#[test]
fn start_and_end_bound_the_ticks() {
    let (start, end) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T03:00:00Z"));
    let schedule =
        Schedule::new(ScheduleOptions { start: Some(start), end: Some(end), ..options(&[every(3600)]) })
            .unwrap();
    let all: Vec<_> =
        schedule.next_times(10, at("2025-01-01T00:00:00Z")).iter().map(ToString::to_string).collect();
    assert_eq!(all, ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"]);
    assert_eq!(schedule.next_after(at("2026-01-01T03:00:00Z")), None);
    assert_eq!(schedule.next_after(at("2020-01-01T00:00:00Z")), Some(start));
}

#[test]
fn settings_out_of_bounds_are_no_schedule() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut ScheduleOptions), text: &str) {
        let mut options = options(&[every(60)]);
        change(&mut options);
        assert_eq!(Schedule::new(options).unwrap_err().to_string(), text);
    }
    let seconds = Duration::from_secs;
    check(
        |options| options.times.clear(),
        "schedule has no times, expected at least one cron expression or interval",
    );
    check(
        |options| options.times = vec![every(60); 17],
        "schedule has 17 cron expressions and intervals, expected at most 16",
    );
    check(
        |options| options.catch_up = seconds(9),
        "a catch-up window of 9 s is out of bounds, expected 10 s to 31536000 s",
    );
    check(
        |options| options.catch_up = seconds(31_536_001),
        "a catch-up window of 31536001 s is out of bounds, expected 10 s to 31536000 s",
    );
    check(
        |options| options.jitter = seconds(3601),
        "a jitter of 3601 s is too long, expected at most 3600 s",
    );
    check(
        |options| {
            (options.start, options.end) =
                (Some(at("2026-01-02T00:00:00Z")), Some(at("2026-01-01T00:00:00Z")))
        },
        "schedule ends at 2026-01-01T00:00:00Z, before it starts at 2026-01-02T00:00:00Z",
    );
}

#[test]
fn intervals_out_of_bounds_are_none() {
    let error = |every, phase| {
        Interval::new(Duration::from_millis(every), Duration::from_micros(phase)).unwrap_err().to_string()
    };
    assert_eq!(error(0, 0), "an interval of 0 ms is too short, expected at least 1 s");
    assert_eq!(error(999, 0), "an interval of 999 ms is too short, expected at least 1 s");
    assert_eq!(
        error(315_360_000_001, 0),
        "an interval of 315360000 s is too long, expected at most ten years"
    );
    assert_eq!(
        error(1000, 1_000_000),
        "a phase of 1000 ms is too long, expected less than the interval, 1000 ms"
    );
    assert_eq!(error(1000, 1), "an interval of 1µs has a part of a millisecond, expected whole milliseconds");
}

#[test]
fn overlap_policies_decide_by_runs_in_progress() {
    use OverlapDecision::{Buffer, CancelThenStart, Skip, Start};
    // No run, one waiting, one in progress, one of each, many.
    let cases = [(0, 0), (0, 1), (1, 0), (1, 1), (1000, 0)];
    for (policy, expected) in [
        (Overlap::Skip, [Start, Skip, Skip, Skip, Skip]),
        (Overlap::BufferOne, [Start, Skip, Buffer, Skip, Buffer]),
        (Overlap::AllowAll, [Start, Start, Start, Start, Skip]),
        (Overlap::CancelOther, [Start, CancelThenStart, CancelThenStart, CancelThenStart, CancelThenStart]),
    ] {
        assert_eq!(cases.map(|(running, buffered)| policy.decide(running, buffered)), expected, "{policy}");
        assert_eq!(policy.as_str().parse(), Ok(policy));
    }
    let error = "queue".parse::<Overlap>().unwrap_err().to_string();
    assert_eq!(
        error,
        r#"overlap policy "queue" is not known, expected skip, buffer-one, allow-all or cancel-other"#
    );
}

#[test]
fn failures_pause_only_where_that_is_asked_for() {
    let never = schedule(&[every(60)]);
    assert!(!never.pauses_after(u32::MAX));
    let third =
        Schedule::new(ScheduleOptions { pause_on_failure: NonZeroU32::new(3), ..options(&[every(60)]) });
    assert_eq!(
        [0, 2, 3, 4].map(|failures| third.as_ref().unwrap().pauses_after(failures)),
        [false, false, true, true]
    );
}

#[test]
fn runs_on_a_canary_are_bounded() {
    let with = |canary_runs| Schedule::new(ScheduleOptions { canary_runs, ..options(&[every(60)]) });
    assert_eq!(with(CANARY_RUNS_MAX).unwrap().options().canary_runs, 1000);
    assert_eq!(
        with(1001).unwrap_err().to_string(),
        "1001 runs on a canary are too many, expected at most 1000"
    );
}
