//! Schedules of hostile deployers: each is refused, or its times come one after the other, in bounded work.

use super::*;
use crate::fuzzing;

#[test]
fn any_schedule_is_refused_or_goes_on() {
    let now = at("2026-02-28T23:59:59Z");
    fuzzing::fuzz("schedules", &fuzzing::corpus("tests/corpus/schedules"), |case| {
        let text = String::from_utf8_lossy(case);
        let (expression, rest) = text.split_once('\n').unwrap_or((&text, "UTC"));
        let Ok(zone) = rest.trim().parse::<Zone>() else { return };
        let Ok(cron) = CronTimes::parse(expression, zone) else { return };
        let schedule = schedule(&[ScheduleTime::Cron(cron)]);
        let times = schedule.next_times(5, now);
        assert!(times.is_sorted_by(|before, after| before < after), "{expression:?}: {times:?}");
        assert!(times.iter().all(|&time| time > now), "{expression:?}: {times:?}");
        let due = schedule.due(&trigger("t"), Timestamp::MIN, now);
        assert!(due.ticks.len() <= DUE_MAX && due.until <= now, "{expression:?}");
        let _ = schedule.backfill(Timestamp::MIN, Timestamp::MAX, 3);
        assert_eq!(schedule.next_after(Timestamp::MAX), None);
    });
}
