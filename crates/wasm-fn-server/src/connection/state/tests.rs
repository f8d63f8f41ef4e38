//! Tests of when a connection is overdue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{CloseReason, ConnectionState, Order};
use crate::{ServerOptions, clock, draw_at_random};

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(1);

fn connection() -> (Arc<ConnectionState>, Instant, ServerOptions) {
    let options = ServerOptions {
        connections_max: 1,
        connections_per_address: 1,
        headers_max: 1,
        head_bytes_max: 8192,
        body_bytes_max: 1,
        head_timeout: HEAD,
        idle_timeout: IDLE,
        stall_timeout: STALL,
        drain_grace: GRACE,
        schedule_delay_max: Duration::MAX,
        shield_body_bytes_max: 0,
        show_shielded: false,
        trusted_proxies: Vec::new(),
        tls: None,
        proxy_protocol: false,
        preview_domain: None,
        receiver: None,
        recording: None,
        draw: draw_at_random,
    };
    let opened = clock::now();
    (Arc::new(ConnectionState::new(opened, Order::Serve)), opened, options)
}

#[test]
fn first_request_has_the_heads_time() {
    let (connection, opened, options) = connection();
    assert_eq!(connection.due(&options, None), Some((opened + HEAD, CloseReason::SlowHead)));
}

#[test]
fn guests_may_work_and_then_the_connection_may_idle() {
    let (connection, opened, options) = connection();
    let in_flight = connection.begin();
    assert_eq!(connection.due(&options, None), None);
    let ended = opened + Duration::from_secs(5);
    in_flight.end(ended);
    assert_eq!(connection.due(&options, None), Some((ended + IDLE, CloseReason::Idle)));
    let received = ended + Duration::from_secs(1);
    connection.timing.polled(received, Duration::ZERO);
    connection.received(b"G");
    assert_eq!(connection.due(&options, None), Some((received + HEAD, CloseReason::SlowHead)));
    drop(connection.begin());
    assert_eq!(connection.due(&options, None).unwrap().1, CloseReason::Idle, "the head is complete");
}

#[test]
fn work_on_a_request_begins_with_its_poll_or_the_end_of_the_one_before() {
    let (connection, opened, _) = connection();
    let polled = opened + Duration::from_secs(1);
    connection.timing.polled(polled, Duration::ZERO);
    assert_eq!(connection.moment(), polled);
    let ended = polled + Duration::from_secs(5);
    connection.begin().end(ended);
    assert_eq!(connection.moment(), ended, "the second of two that arrived together");
    let polled = ended + Duration::from_secs(60);
    connection.timing.polled(polled, Duration::ZERO);
    assert_eq!(connection.moment(), polled);
}

#[test]
fn streams_of_http2_begin_when_they_do() {
    let (connection, opened, _) = connection();
    connection.timing.polled(opened, Duration::ZERO);
    connection.flags.set_http2();
    let before = clock::now();
    assert!(connection.moment() >= before);
}

#[test]
fn frames_of_http2_are_no_head() {
    let (connection, opened, options) = connection();
    connection.flags.set_http2();
    connection.begin().end(opened);
    connection.received(b"G");
    assert_eq!(connection.due(&options, None), Some((opened + IDLE, CloseReason::Idle)));
}

#[test]
fn oldest_unread_answer_is_what_stalls() {
    let (connection, _, options) = connection();
    let _in_flight = connection.begin();
    let first = connection.wait_for_reader();
    let (at, why) = connection.due(&options, None).unwrap();
    assert_eq!(why, CloseReason::Stalled);
    let second = connection.wait_for_reader();
    assert_eq!(connection.due(&options, None), Some((at, why)));
    drop(first);
    assert!(connection.due(&options, None).unwrap().0 >= at);
    drop(second);
    assert_eq!(connection.due(&options, None), None);
}

#[test]
fn drain_leaves_its_grace_after_the_last_request() {
    let (connection, opened, options) = connection();
    assert_eq!(connection.due(&options, Some(opened)), Some((opened + GRACE, CloseReason::Idle)));
    let ended = opened + Duration::from_secs(5);
    connection.begin().end(ended);
    assert_eq!(connection.due(&options, Some(opened)), Some((ended + GRACE, CloseReason::Idle)));
    let drained = ended + Duration::from_secs(5);
    assert_eq!(connection.due(&options, Some(drained)), Some((drained + GRACE, CloseReason::Idle)));
    connection.orders.tell(Order::Cut);
    connection.orders.tell(Order::Drain);
    assert_eq!(connection.orders.current(), Order::Cut, "an order is never taken back");
}
