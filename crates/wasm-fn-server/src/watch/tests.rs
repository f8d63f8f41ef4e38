//! Tests of when a connection is overdue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Order, Watch, Why};
use crate::{Options, clock, draw_at_random};

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(1);

fn watch() -> (Arc<Watch>, Instant, Options) {
    let options = Options {
        connections_max: 1,
        headers_max: 1,
        head_bytes_max: 8192,
        body_bytes_max: 1,
        head_timeout: HEAD,
        idle_timeout: IDLE,
        stall_timeout: STALL,
        drain_grace: GRACE,
        turn_wait_max: Duration::MAX,
        shield_body_bytes_max: 0,
        show_shielded: false,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        preview_domain: None,
        draw: draw_at_random,
    };
    let opened = clock::now();
    (Arc::new(Watch::new(opened, Order::Serve)), opened, options)
}

#[test]
fn first_request_has_the_heads_time() {
    let (watch, opened, options) = watch();
    assert_eq!(watch.due(&options, None), Some((opened + HEAD, Why::SlowHead)));
}

#[test]
fn guests_may_work_and_then_the_connection_may_idle() {
    let (watch, opened, options) = watch();
    let in_flight = watch.begin();
    assert_eq!(watch.due(&options, None), None);
    let ended = opened + Duration::from_secs(5);
    in_flight.end(ended);
    assert_eq!(watch.due(&options, None), Some((ended + IDLE, Why::Idle)));
    let received = ended + Duration::from_secs(1);
    watch.polled(received, Duration::ZERO);
    watch.received();
    assert_eq!(watch.due(&options, None), Some((received + HEAD, Why::SlowHead)));
    drop(watch.begin());
    assert_eq!(watch.due(&options, None).unwrap().1, Why::Idle, "the head is complete");
}

#[test]
fn work_on_a_request_begins_with_its_poll_or_the_end_of_the_one_before() {
    let (watch, opened, _) = watch();
    let polled = opened + Duration::from_secs(1);
    watch.polled(polled, Duration::ZERO);
    assert_eq!(watch.moment(), polled);
    let ended = polled + Duration::from_secs(5);
    watch.begin().end(ended);
    assert_eq!(watch.moment(), ended, "the second of two that arrived together");
    let polled = ended + Duration::from_secs(60);
    watch.polled(polled, Duration::ZERO);
    assert_eq!(watch.moment(), polled);
}

#[test]
fn streams_of_http2_begin_when_they_do() {
    let (watch, opened, _) = watch();
    watch.polled(opened, Duration::ZERO);
    watch.speaks_http2();
    let before = clock::now();
    assert!(watch.moment() >= before);
}

#[test]
fn frames_of_http2_are_no_head() {
    let (watch, opened, options) = watch();
    watch.speaks_http2();
    watch.begin().end(opened);
    watch.received();
    assert_eq!(watch.due(&options, None), Some((opened + IDLE, Why::Idle)));
}

#[test]
fn oldest_unread_answer_is_what_stalls() {
    let (watch, _, options) = watch();
    let _in_flight = watch.begin();
    let first = watch.wait_for_reader();
    let (at, why) = watch.due(&options, None).unwrap();
    assert_eq!(why, Why::Stalled);
    let second = watch.wait_for_reader();
    assert_eq!(watch.due(&options, None), Some((at, why)));
    drop(first);
    assert!(watch.due(&options, None).unwrap().0 >= at);
    drop(second);
    assert_eq!(watch.due(&options, None), None);
}

#[test]
fn drain_leaves_its_grace_after_the_last_request() {
    let (watch, opened, options) = watch();
    assert_eq!(watch.due(&options, Some(opened)), Some((opened + GRACE, Why::Idle)));
    let ended = opened + Duration::from_secs(5);
    watch.begin().end(ended);
    assert_eq!(watch.due(&options, Some(opened)), Some((ended + GRACE, Why::Idle)));
    let drained = ended + Duration::from_secs(5);
    assert_eq!(watch.due(&options, Some(drained)), Some((drained + GRACE, Why::Idle)));
    watch.tell(Order::Cut);
    watch.tell(Order::Drain);
    assert_eq!(watch.order(), Order::Cut, "an order is never taken back");
}
