//! Schedules where clocks change: against a table, and against a definition by brute force.

use std::collections::BTreeSet;

use chrono::{MappedLocalTime, TimeZone as _};
use croner::Cron;
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[track_caller]
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    check_next(&schedule(&[cron(expression, zone)]), after, expected);
}

#[test]
fn skipped_fixed_time_runs_once_right_after_the_gap() {
    // Berlin goes from 02:00 to 03:00 at 01:00 UTC on 29 March 2026.
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        &[
            "2026-03-28T01:30:00Z", // 02:30 in winter
            "2026-03-29T01:00:00Z", // 03:00, the first moment of summer
            "2026-03-30T00:30:00Z", // 02:30 in summer
        ],
    );
    // All that the gap skips runs together, and with what runs then anyway.
    check(
        "0,30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        &[
            "2026-03-29T01:00:00Z", // 02:00, 02:30 and 03:00
            "2026-03-29T01:30:00Z",
            "2026-03-30T00:00:00Z",
        ],
    );
    // Lord Howe goes from 02:00 to 02:30 at 15:30 UTC on 3 October 2026.
    check(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T00:00:00Z",
        &["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    );
    check(
        "30 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T16:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:30:00Z"],
    );
}

#[test]
fn doubled_fixed_time_runs_once_the_first_time() {
    // Berlin goes from 03:00 to 02:00 at 01:00 UTC on 25 October 2026.
    let expected = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &expected);
    // So too if it is asked for between the two, or at the second.
    for after in
        ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:59:59Z"]
    {
        check("30 2 * * *", "Europe/Berlin", after, &expected[1..]);
    }
    check(
        "0 1-4 * * *",
        "Europe/Berlin",
        "2026-10-24T22:00:00Z",
        &[
            "2026-10-24T23:00:00Z",
            "2026-10-25T00:00:00Z",
            "2026-10-25T02:00:00Z", // 03:00: 02:00 comes again at 01:00 UTC, and does not run
            "2026-10-25T03:00:00Z",
        ],
    );
    // Lord Howe goes from 02:00 to 01:30 at 15:00 UTC on 4 April 2026.
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:15:00Z", &["2026-04-05T15:15:00Z"]);
}

#[test]
fn intervals_go_on_in_real_time() {
    check(
        "*/15 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:30:00Z",
        &[
            "2026-03-29T00:45:00Z",
            "2026-03-29T01:00:00Z", // 03:00
            "2026-03-29T01:15:00Z",
        ],
    );
    check(
        "*/15 * * * *",
        "Europe/Berlin",
        "2026-10-25T00:30:00Z",
        &[
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:00:00Z", // 02:00 again
            "2026-10-25T01:15:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T01:45:00Z",
            "2026-10-25T02:00:00Z",
        ],
    );
    check(
        "*/15 * * * *",
        "Australia/Lord_Howe",
        "2026-10-03T15:10:00Z",
        &[
            "2026-10-03T15:15:00Z",
            "2026-10-03T15:30:00Z", // 02:30
            "2026-10-03T15:45:00Z",
        ],
    );
    check(
        "*/15 * * * *",
        "Australia/Lord_Howe",
        "2026-04-04T14:40:00Z",
        &[
            "2026-04-04T14:45:00Z",
            "2026-04-04T15:00:00Z", // 01:30 again
            "2026-04-04T15:15:00Z",
            "2026-04-04T15:30:00Z",
        ],
    );
    // With a star, an hour that is skipped has no ticks, and an hour that comes twice has twice as many.
    check("*/30 2 * * *", "Europe/Berlin", "2026-03-28T01:30:00Z", &["2026-03-30T00:00:00Z"]);
    check(
        "*/30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    );
}

#[test]
fn day_that_a_zone_skips_is_one_long_gap() {
    // Samoa went from 29 to 31 December 2011, at 10:00 UTC on 30 December.
    check(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T00:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    );
}

#[test]
fn list_of_times_is_fixed_where_croner_alone_takes_it_for_an_interval() {
    let expression = "30 1,2 * * *";
    let zone = chrono_tz::Europe::Berlin;
    let alone: Cron = expression.parse().unwrap();
    let after = zone.with_ymd_and_hms(2026, 3, 29, 1, 45, 0).unwrap();
    let found = alone.find_next_occurrence(&after, false).unwrap();
    assert_eq!(found.to_rfc3339(), "2026-03-30T01:30:00+02:00");
    check(
        expression,
        "Europe/Berlin",
        "2026-03-29T00:45:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T23:30:00Z"],
    );
}

/// Minutes of a range that match, by the definition: for an interval those whose time on the wall matches,
/// for fixed times the moments of all times on the wall that match.
fn by_definition(expression: &str, zone: chrono_tz::Tz, from: i64, to: i64) -> BTreeSet<i64> {
    let cron: Cron = expression.parse().unwrap();
    let wall = |moment: i64| zone.from_utc_datetime(&zone::utc(moment).naive_utc()).naive_local().and_utc();
    let minutes = |from: i64, to: i64| (from / 60..=to / 60).map(|minute| minute * 60);
    if expression.contains("*/") || expression.starts_with('*') {
        let matching = |moment: &i64| cron.is_time_matching(&wall(*moment)).unwrap();
        return minutes(from, to).filter(|&moment| moment > from).filter(matching).collect();
    }
    let day = 24 * 3600;
    let times =
        minutes(from - day, to + day).filter(|&wall| cron.is_time_matching(&zone::utc(wall)).unwrap());
    let first = |wall: i64| {
        let moment = |wall: i64| match zone.from_local_datetime(&zone::utc(wall).naive_utc()) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => {
                Some(moment.timestamp())
            }
            MappedLocalTime::None => None,
        };
        (0..).find_map(|later| moment(wall + later * 60)).unwrap()
    };
    times.map(first).filter(|&moment| moment > from && moment <= to).collect()
}

/// Moments at which clocks change in these zones, and an ordinary one.
const CHANGES: [(&str, i64); 9] = [
    ("Europe/Berlin", 1_774_746_000),       // 29 March 2026
    ("Europe/Berlin", 1_792_890_000),       // 25 October 2026
    ("Australia/Lord_Howe", 1_791_041_400), // 3 October 2026
    ("Australia/Lord_Howe", 1_775_314_800), // 4 April 2026
    ("America/New_York", 1_772_953_200),    // 8 March 2026
    ("America/Santiago", 1_775_358_000),    // 5 April 2026, at midnight
    ("Africa/Casablanca", 1_771_120_800),   // 15 February 2026
    ("Asia/Kathmandu", 1_774_746_000),
    ("UTC", 1_774_746_000),
];

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn ticks_around_a_change_are_those_of_the_definition(
        change in 0..CHANGES.len(),
        before_s in 0_i64..7 * 3600,
        expression in prop::sample::select(vec![
            "30 2 * * *", "0 3 * * *", "15,45 1-3 * * *", "0-59 0-3 * * *", "30 23,0 * * *", "0 0 * * *",
            "*/15 * * * *", "*/20 2 * * *", "* 1,2 * * *", "*/7 */3 * * *", "*/30 0-4 * * SUN",
        ]),
    ) {
        let (zone, at) = CHANGES[change];
        let schedule = schedule(&[cron(expression, zone)]);
        let (from, to) = (at - before_s, at + 7 * 3600);
        let expected = by_definition(expression, zone.parse().unwrap(), from, to);
        let found: BTreeSet<_> =
            schedule.ticks(Timestamp::at_seconds(from)).map(Timestamp::seconds).take_while(|&at| at <= to).collect();
        prop_assert_eq!(found, expected, "{} in {}", expression, zone);
    }

    #[test]
    fn next_time_is_later_and_nothing_lies_between(
        change in 0..CHANGES.len(),
        offset_ms in -100_000_000_i64..100_000_000,
        expression in prop::sample::select(vec!["* * * * * *", "*/7 * 2 * * *", "5,10 0-59 2 * * *", "0 0 2 * * *"]),
    ) {
        let (zone, at) = CHANGES[change];
        let schedule = schedule(&[cron(expression, zone)]);
        let after = Timestamp::from_unix_ms(u64::try_from(at * 1000 + offset_ms).unwrap());
        let next = schedule.next_after(after).unwrap();
        prop_assert!(next > after);
        let between = after.unix_ms() + (next.unix_ms() - after.unix_ms()) / 2;
        prop_assert_eq!(schedule.next_after(Timestamp::from_unix_ms(between)), Some(next));
    }
}
