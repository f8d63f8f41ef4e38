//! Which ticks are due, caught up on, missed and filled in.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

fn times(due: &Due) -> Vec<String> {
    due.ticks.iter().map(|tick| tick.at.to_string()).collect()
}

#[test]
fn tick_is_due_at_its_time_and_once() {
    let (schedule, trigger) = (schedule(&[every(60)]), trigger("t"));
    let since = at("2026-01-01T00:00:00Z");
    let early = schedule.due(&trigger, since, at("2026-01-01T00:00:59.999Z"));
    assert_eq!((times(&early), early.until), (vec![], since));
    let due = schedule.due(&trigger, since, at("2026-01-01T00:01:00Z"));
    assert_eq!(times(&due), ["2026-01-01T00:01:00Z"]);
    assert_eq!((due.missed, due.has_more), (Missed::default(), false));
    assert_eq!(due.next, schedule.next_tick(&trigger, due.until));
    let again = schedule.due(&trigger, due.until, at("2026-01-01T00:01:59Z"));
    assert_eq!(times(&again), [""; 0]);
}

#[test]
fn ticks_within_the_window_are_caught_up_on_and_others_missed() {
    let (schedule, trigger) = (schedule(&[every(30)]), trigger("t"));
    let due = schedule.due(&trigger, at("2026-01-01T00:00:00Z"), at("2026-01-01T00:05:10Z"));
    // The window is a minute.
    assert_eq!(times(&due), ["2026-01-01T00:04:30Z", "2026-01-01T00:05:00Z"]);
    assert_eq!(due.missed, Missed { count: 8, has_more: false });
    assert_eq!(due.until, at("2026-01-01T00:05:00Z"));
    let rest = schedule.due(&trigger, due.until, at("2026-01-01T00:05:10Z"));
    assert_eq!((times(&rest), rest.missed), (vec![], Missed::default()));
}

#[test]
fn year_of_missed_seconds_is_counted_at_once() {
    let trigger = trigger("t");
    let (since, now) = (at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
    let interval = schedule(&[every(1)]).due(&trigger, since, now);
    assert_eq!(interval.missed, Missed { count: 365 * 24 * 3600 - 61, has_more: false });
    assert_eq!((interval.ticks.len(), interval.has_more), (61, false));
    // With a cron expression the number is a lower bound.
    let cron = schedule(&[cron("* * * * * *", "Europe/Berlin")]).due(&trigger, since, now);
    assert_eq!(cron.missed, Missed { count: MISSED_COUNTED_MAX, has_more: true });
    assert_eq!(cron.ticks, interval.ticks);
}

#[test]
fn long_catching_up_comes_in_batches() {
    let schedule =
        Schedule::new(ScheduleOptions { catch_up: Duration::from_secs(250), ..options(&[every(1)]) })
            .unwrap();
    let (mut since, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"));
    let mut batches = Vec::new();
    loop {
        let due = schedule.due(&trigger("t"), since, now);
        batches.push((due.ticks.len(), due.missed.count));
        since = due.until;
        let next = due.next.unwrap();
        assert_eq!(
            (due.has_more, Some(next)),
            (next.run_at <= now, schedule.next_tick(&trigger("t"), since))
        );
        if !due.has_more {
            break;
        }
    }
    assert_eq!(batches, [(100, 3349), (100, 0), (51, 0)]);
}

#[test]
fn clock_that_is_set_back_runs_no_tick_twice() {
    let due =
        schedule(&[every(1)]).due(&trigger("t"), at("2026-01-01T00:10:00Z"), at("2026-01-01T00:00:00Z"));
    assert_eq!((times(&due), due.until), (vec![], at("2026-01-01T00:10:00Z")));
}

#[test]
fn ended_schedule_has_missed_only_what_it_had() {
    let end = Some(at("2026-01-01T00:01:00Z"));
    let schedule = Schedule::new(ScheduleOptions { end, ..options(&[every(10)]) }).unwrap();
    let due = schedule.due(&trigger("t"), at("2026-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    assert_eq!((times(&due), due.missed), (vec![], Missed { count: 6, has_more: false }));
}

#[test]
fn jitter_is_the_triggers_own_and_ends_before_the_next_tick() {
    let jittered = |seconds| {
        Schedule::new(ScheduleOptions { jitter: Duration::from_secs(3600), ..options(&[every(seconds)]) })
            .unwrap()
    };
    let since = at("2026-01-01T00:00:00Z");
    let tick = |name: &str, schedule: &Schedule| schedule.next_tick(&trigger(name), since).unwrap();
    let (daily, minutely) = (jittered(24 * 3600), jittered(60));
    assert_eq!(tick("a", &daily), tick("a", &daily));
    assert_ne!(tick("a", &daily), tick("b", &daily));
    for name in ["a", "b", "c", "d"] {
        assert!(tick(name, &daily).run_at.since(tick(name, &daily).at) < Duration::from_secs(3600));
        assert!(tick(name, &minutely).run_at.since(tick(name, &minutely).at) < Duration::from_secs(60));
    }
    let tick = tick("a", &daily);
    let before = tick.run_at.saturating_sub(Duration::from_millis(1));
    assert_eq!(daily.due(&trigger("a"), since, before).ticks, []);
    // It is not missed because it ran long after its time.
    assert_eq!(daily.due(&trigger("a"), since, tick.run_at).ticks, [tick]);
}

#[test]
fn backfill_has_both_ends_and_says_where_it_stopped() {
    let schedule = schedule(&[cron("0 * * * *", "UTC")]);
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T05:00:00Z"));
    let all = schedule.backfill(from, to, 100);
    assert_eq!((all.times.len(), all.times[0], all.times[5], all.rest), (6, from, to, None));
    let some = schedule.backfill(from, to, 2);
    assert_eq!((some.times.len(), some.rest), (2, Some(at("2026-01-01T02:00:00Z"))));
    assert_eq!(schedule.backfill(some.rest.unwrap(), to, 100).times, all.times[2..]);
    assert_eq!(schedule.backfill(to, from, 100), Backfill { times: vec![], rest: None });
    let bounded = schedule.backfill(from, Timestamp::MAX, usize::MAX);
    assert_eq!(bounded.times.len(), BACKFILL_MAX);
}

#[test]
fn list_of_next_times_is_bounded() {
    assert_eq!(schedule(&[every(1)]).next_times(usize::MAX, Timestamp::MIN).len(), NEXT_TIMES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    /// However often a node looks, each tick runs once or is missed, in order, and never before its time.
    #[test]
    fn every_tick_runs_once_or_is_missed(
        looks in prop::collection::vec(0_u64..90_000, 1..40),
        intervals in prop::collection::vec(1_u64..40, 1..4),
        jitter_s in 0_u64..60,
    ) {
        let times: Vec<_> = intervals.into_iter().map(every).collect();
        let schedule =
            Schedule::new(ScheduleOptions { jitter: Duration::from_secs(jitter_s), ..options(&times) }).unwrap();
        let trigger = trigger("t");
        let begin = at("2026-01-01T00:00:00Z");
        let (mut since, mut now) = (begin, begin);
        let (mut ran, mut missed) = (Vec::new(), 0);
        for wait in looks {
            now = now.saturating_add(Duration::from_millis(wait));
            loop {
                let due = schedule.due(&trigger, since, now);
                for tick in &due.ticks {
                    prop_assert!(tick.run_at <= now && now.since(tick.run_at) <= CATCH_UP_DEFAULT);
                }
                ran.extend(due.ticks.iter().map(|tick| tick.at));
                prop_assert!(!due.missed.has_more);
                missed += due.missed.count;
                since = due.until;
                if !due.has_more {
                    break;
                }
            }
        }
        prop_assert!(ran.is_sorted_by(|a, b| a < b));
        let until = schedule.ticks(begin).take_while(|&at| {
            schedule.next_tick(&trigger, at.saturating_sub(Duration::from_millis(1))).unwrap().run_at <= now
        });
        prop_assert_eq!(u64::try_from(until.count()).unwrap(), u64::try_from(ran.len()).unwrap() + missed);
    }
}
