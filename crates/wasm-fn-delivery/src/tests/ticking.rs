//! Schedules that tick.

use std::num::NonZeroU32;

use wasm_fn_events::{Overlap, Pause, PausedBy, ScheduleOptions};
use wasm_fn_store::{EventPage, Inbox};

use super::{NOON, Node, eventually, id, minutely, trigger, triggers};
use crate::{EventOperations, Triggers};

fn schedule(overlap: Overlap) -> Triggers {
    triggers(vec![("nightly", trigger("nightly", minutely(overlap), 3))])
}

#[tokio::test]
async fn a_tick_is_an_event_to_the_function() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    node.set_time(59);
    node.set_time(60);
    let tick = node.next().await;
    assert_eq!((tick.request.method().as_str(), tick.request.uri().path()), ("POST", "/_events/nightly"));
    assert_eq!(tick.header("ce-type"), "wasm-fn.schedule.tick");
    assert_eq!(tick.header("ce-id"), "2026-11-30T12:01:00Z");
    assert_eq!(tick.header("ce-source"), "/functions/hello/stages/live/triggers/nightly");
    assert_eq!((tick.header("wasm-fn-trigger"), tick.header("wasm-fn-attempt")), ("nightly", "1"));
    assert_eq!((tick.destination.function.as_str(), tick.destination.stage.as_str()), ("hello", "live"));
    tick.answer(204);
    node.idle("hello/live/nightly").await;
    node.set_time(120);
    let tick = node.next().await;
    assert_eq!(tick.header("ce-id"), "2026-11-30T12:02:00Z");
    tick.answer(200);
    let stats = || async { node.events.stats("hello/live/nightly") };
    eventually(|| async { stats().await.versions.values().any(|of| of.acknowledged == 2) }).await;
    node.stop().await;
}

#[tokio::test]
async fn a_tick_during_a_run_is_skipped_and_counted() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    node.set_time(60);
    let first = node.next().await;
    node.set_time(120);
    eventually(|| async { node.events.stats("hello/live/nightly").skipped == 1 }).await;
    first.answer(200);
    node.idle("hello/live/nightly").await;
    node.set_time(180);
    let next = node.next().await;
    assert_eq!(next.header("ce-id"), "2026-11-30T12:03:00Z");
    next.answer(200);
    node.stop().await;
}

#[tokio::test]
async fn one_tick_is_buffered() {
    let node = Node::start(schedule(Overlap::BufferOne)).await;
    node.set_time(60);
    let first = node.next().await;
    node.set_time(120);
    let waiting = || node.events.inbox().waiting("hello/live/nightly", EventPage { after: None, limit: 10 });
    eventually(|| async { waiting().await.unwrap().len() == 2 }).await;
    node.set_time(180);
    eventually(|| async { node.events.stats("hello/live/nightly").skipped == 1 }).await;
    node.nothing_more();
    first.answer(200);
    let buffered = node.next().await;
    assert_eq!(buffered.header("ce-id"), "2026-11-30T12:02:00Z");
    buffered.answer(200);
    node.stop().await;
}

#[tokio::test]
async fn runs_may_be_side_by_side() {
    let node = Node::start(schedule(Overlap::AllowAll)).await;
    node.set_time(60);
    let first = node.next().await;
    node.set_time(120);
    let second = node.next().await;
    assert_eq!(second.header("ce-id"), "2026-11-30T12:02:00Z");
    first.answer(200);
    second.answer(200);
    node.stop().await;
}

#[tokio::test]
async fn a_run_may_break_off_the_one_before_and_its_retries() {
    let node = Node::start(schedule(Overlap::CancelOther)).await;
    node.set_time(60);
    let first = node.next().await;
    node.set_time(120);
    let second = node.next().await;
    assert_eq!(second.header("ce-id"), "2026-11-30T12:02:00Z");
    assert!(first.end.is_closed());
    // It is to be tried again.
    second.answer(500);
    eventually(|| async {
        node.events.stats("hello/live/nightly").versions.values().any(|of| of.retried == 1)
    })
    .await;
    node.set_time(180);
    // Its retry is due as well, and is broken off if it begins before the third tick is there.
    let mut third = node.next().await;
    let mut cancelled = 1;
    if third.header("ce-id") == "2026-11-30T12:02:00Z" {
        let retry = std::mem::replace(&mut third, node.next().await);
        assert!(retry.end.is_closed());
        cancelled += 1;
    }
    assert_eq!(third.header("ce-id"), "2026-11-30T12:03:00Z");
    third.answer(200);
    eventually(|| async {
        node.events.counts().await.unwrap().iter().all(|counts| counts.waiting + counts.in_flight == 0)
    })
    .await;
    assert_eq!(node.events.stats("hello/live/nightly").cancelled, cancelled);
    node.stop().await;
}

#[tokio::test]
async fn a_schedule_goes_on_where_it_was_when_the_node_stopped() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    node.set_time(60);
    node.next().await.answer(200);
    let folder = node.stop().await;
    // Thirty seconds late is within the catch-up window, and what ran does not run again.
    let now = NOON.saturating_add(std::time::Duration::from_secs(150));
    let node = Node::in_folder(folder, now, schedule(Overlap::Skip)).await;
    let late = node.next().await;
    assert_eq!(late.header("ce-id"), "2026-11-30T12:02:00Z");
    late.answer(200);
    let folder = node.stop().await;
    // An hour later, all but the last minute is missed.
    let now = NOON.saturating_add(std::time::Duration::from_secs(3600 + 30));
    let node = Node::in_folder(folder, now, schedule(Overlap::Skip)).await;
    let late = node.next().await;
    assert_eq!(late.header("ce-id"), "2026-11-30T13:00:00Z");
    late.answer(200);
    eventually(|| async { node.events.stats("hello/live/nightly").missed == 57 }).await;
    node.stop().await;
}

#[tokio::test]
async fn ticks_of_a_paused_schedule_do_not_run_later() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    let mut paused = trigger("nightly", minutely(Overlap::Skip), 3);
    paused.paused = Some(Pause { since: NOON, by: PausedBy::Command, note: None });
    node.triggers.send_replace(triggers(vec![("nightly", paused)]).into());
    node.set_time(90);
    // Resumed at 1:30, so the tick of 1:00 is none of it.
    let mut resumed = schedule(Overlap::Skip);
    let nightly = resumed.triggers.get_mut(&id("nightly")).unwrap();
    nightly.since = NOON.saturating_add(std::time::Duration::from_secs(90));
    node.triggers.send_replace(resumed.into());
    node.set_time(120);
    let tick = node.next().await;
    assert_eq!(tick.header("ce-id"), "2026-11-30T12:02:00Z");
    tick.answer(200);
    node.nothing_more();
    node.stop().await;
}

#[tokio::test]
async fn a_schedule_is_paused_when_its_runs_fail() {
    let options = ScheduleOptions { pause_on_failure: NonZeroU32::new(2), ..minutely(Overlap::Skip) };
    let node = Node::start(triggers(vec![("nightly", trigger("nightly", options, 1))])).await;
    for (minute, paused) in [(1_u32, 0), (2, 1)] {
        node.set_time(u64::from(minute) * 60);
        node.next().await.answer(500);
        eventually(|| async { node.events.stats("hello/live/nightly").failures_in_a_row == minute }).await;
        eventually(|| async { node.paused.0.lock().unwrap().len() == paused }).await;
        node.idle("hello/live/nightly").await;
    }
    assert_eq!(node.paused.0.lock().unwrap()[..], [(id("nightly"), 2)]);
    node.stop().await;
}

#[tokio::test]
async fn a_schedule_runs_when_somebody_says_so() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    let asked = node.events.run_now(&id("nightly")).await.unwrap();
    let run = node.next().await;
    assert_eq!(run.header("ce-id"), asked);
    run.answer(200);
    let error = node.events.run_now(&id("gone")).await.unwrap_err();
    assert_eq!(error.to_string(), "function `hello` has no trigger `gone` in stage `live`");
    node.stop().await;
}

#[tokio::test]
async fn a_backfill_runs_the_times_of_a_range_once() {
    let node = Node::start(schedule(Overlap::Skip)).await;
    let before = |minutes: u64| NOON.saturating_sub(std::time::Duration::from_secs(minutes * 60));
    let backfilled = node.events.backfill(&id("nightly"), before(3), before(1)).await.unwrap();
    assert_eq!((backfilled.runs, backfilled.rest), (3, None));
    for at in ["2026-11-30T11:57:00Z", "2026-11-30T11:58:00Z", "2026-11-30T11:59:00Z"] {
        let run = node.next().await;
        assert_eq!(run.header("ce-id"), at);
        node.nothing_more();
        run.answer(200);
    }
    let again = node.events.backfill(&id("nightly"), before(3), before(1)).await.unwrap();
    assert_eq!(again.runs, 0);
    let none = node.events.backfill(&id("nightly"), before(1), before(3)).await.unwrap_err();
    assert!(none.to_string().contains("has no ticks from"), "{none}");
    node.stop().await;
}

#[tokio::test]
async fn a_run_that_somebody_asks_for_is_not_broken_off_by_an_earlier_tick() {
    let node = Node::start(schedule(Overlap::CancelOther)).await;
    node.set_time(60);
    let first = node.next().await;
    node.set_time(120);
    let second = node.next().await;
    assert!(first.end.is_closed());
    // It comes after the second, which is not over.
    node.set_time(130);
    let asked = node.events.run_now(&id("nightly")).await.unwrap();
    second.answer(200);
    let run = node.next().await;
    assert_eq!(run.header("ce-id"), asked);
    run.answer(200);
    node.stop().await;
}
