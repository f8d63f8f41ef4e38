//! What cron expressions mean, and what is wrong with other texts.

use super::*;

#[track_caller]
fn check_error(expression: &str, text: &str) {
    assert_eq!(CronTimes::parse(expression, Zone::UTC).unwrap_err().to_string(), text);
}

#[test]
fn expressions_match_as_cron_users_know_them() {
    for (expression, after, expected) in [
        ("0 3 * * *", "2026-01-01T03:00:00Z", ["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
        ("*/10 * * * * *", "2026-01-01T00:00:55.5Z", ["2026-01-01T00:01:00Z", "2026-01-01T00:01:10Z"]),
        ("* * * * * *", "2026-01-01T00:00:00.999Z", ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"]),
        ("30 0 3 * * * 2030", "2026-01-01T00:00:00Z", ["2030-01-01T03:00:30Z", "2030-01-02T03:00:30Z"]),
        ("0 0 L * *", "2026-01-31T00:00:00Z", ["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]),
        ("0 0 * * FRI#2", "2026-01-01T00:00:00Z", ["2026-01-09T00:00:00Z", "2026-02-13T00:00:00Z"]),
        ("0 0 * * 5L", "2026-01-01T00:00:00Z", ["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"]),
        ("0 0 15W * *", "2026-02-01T00:00:00Z", ["2026-02-16T00:00:00Z", "2026-03-16T00:00:00Z"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        // Of two day fields one suffices, with + both are asked for.
        ("0 0 13 * FRI", "2026-01-30T00:00:00Z", ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"]),
        ("0 0 13 * +FRI", "2026-01-30T00:00:00Z", ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]),
        ("0 0 * JAN-FEB 7", "2026-02-20T00:00:00Z", ["2026-02-22T00:00:00Z", "2027-01-03T00:00:00Z"]),
        ("@daily", "2026-01-01T00:00:00Z", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
        ("@Hourly", "2026-01-01T00:00:00Z", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
        ("  0   3 * *   * ", "2026-01-01T00:00:00Z", ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]),
    ] {
        let ScheduleTime::Cron(times) = cron(expression, "UTC") else { unreachable!() };
        check_next(&schedule(&[ScheduleTime::Cron(times)]), after, &expected);
    }
}

#[test]
fn expression_of_years_that_are_over_has_no_next_time() {
    let schedule = schedule(&[cron("0 0 0 1 1 * 2020", "Europe/Berlin")]);
    assert_eq!(schedule.next_after(at("2019-01-01T00:00:00Z")), Some(at("2019-12-31T23:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn errors_name_the_field_and_its_column() {
    check_error(
        "61 * * * *",
        r#"cron expression "61 * * * *" has "61" as its minute at column 1: number out of bounds, expected 0 to 59, with *, -, / or commas"#,
    );
    check_error(
        "0  24 * * *",
        r#"cron expression "0  24 * * *" has "24" as its hour at column 4: number out of bounds, expected 0 to 23, with *, -, / or commas"#,
    );
    check_error(
        "MON * * * *",
        r#"cron expression "MON * * * *" has "MON" as its minute at column 1: 'M' has no meaning there, expected 0 to 59, with *, -, / or commas"#,
    );
    check_error(
        "0 0 0 * * Ä",
        r#"cron expression "0 0 0 * * Ä" has "Ä" as its day of week at column 11: 'Ä' has no meaning there, expected 0 to 7 or SUN to SAT, with # or L, with *, -, / or commas"#,
    );
    for (expression, field) in [
        ("0 0 32 * *", "day of month"),
        ("0 0 * * 8", "day of week"),
        ("0 0 * * XYZ", "day of week"),
        ("60 0 0 * * *", "second"),
        ("0 0 0 * * * 99999", "year"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("0/15 * * * *", "minute"),
        ("0 0 * * MON#6", "day of week"),
        ("0 0 L-3X * *", "day of month"),
        ("-1 * * * *", "minute"),
        (", * * * *", "minute"),
        ("0 1,,2 * * *", "hour"),
        ("99999999999999999999 * * * *", "minute"),
    ] {
        match CronTimes::parse(expression, Zone::UTC) {
            Err(CronError::Field { field: found, .. }) => assert_eq!(found, field, "{expression}"),
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn other_texts_are_no_expressions() {
    let fields = "fields, expected 5 (minute, hour, day of month, month, day of week), 6 with the second before them, or 7 with the year behind them";
    check_error("", &format!(r#"cron expression "" has 0 {fields}"#));
    check_error(
        "nightly",
        &format!(r#"cron expression "nightly" has 1 {}"#, fields.replacen("fields", "field", 1)),
    );
    check_error("* * * *", &format!(r#"cron expression "* * * *" has 4 {fields}"#));
    check_error("* * * * * * * *", &format!(r#"cron expression "* * * * * * * *" has 8 {fields}"#));
    let known = "expected one of @yearly, @annually, @monthly, @weekly, @daily, @hourly";
    check_error("@reboot", &format!(r#"cron expression "@reboot" is not known, {known}"#));
    check_error("@every 5m", &format!(r#"cron expression "@every 5m" is not known, {known}"#));
    check_error(&"*".repeat(257), "cron expression is 257 bytes long, expected at most 256");
}

#[test]
fn expressions_that_never_match_are_refused() {
    for expression in ["0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 ?", "0 0 0 1 1 * 1960"] {
        let text = format!("cron expression {expression:?} never matches a time");
        check_error(expression, &text);
    }
}

#[test]
fn unknown_zones_are_named_with_a_suggestion() {
    let error = |name: &str| name.parse::<Zone>().unwrap_err().to_string();
    assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
    assert_eq!(
        error("europe/berlin"),
        r#"there is no time zone "europe/berlin", did you mean Europe/Berlin?"#
    );
    assert_eq!(error("Berlin"), r#"there is no time zone "Berlin", did you mean Europe/Berlin?"#);
    assert_eq!(error("New York"), r#"there is no time zone "New York", did you mean America/New_York?"#);
    assert_eq!(error("Europe/Berln"), r#"there is no time zone "Europe/Berln", did you mean Europe/Berlin?"#);
    let none =
        r#"there is no time zone "Middle-earth", expected a name of the IANA database such as Europe/Berlin"#;
    assert_eq!(error("Middle-earth"), none);
    assert!(error(&"x".repeat(10_000)).len() < 200);
}
