//! Which traces stay.

use std::time::Instant;

use wasm_fn_core::{
    FinishedRequest, InvocationTrigger, OutgoingRequest, RequestHead, Scheme, SpanRecord, TraceParent,
};

use super::*;

/// A request that began at `began`, took so many milliseconds and was answered with `status`.
fn request(began: Instant, took_ms: u64, status: u16) -> FinishedRequest {
    let head = RequestHead {
        request_id: u128::from(took_ms),
        began,
        method: "GET".into(),
        path: "/".into(),
        scheme: Scheme::Http,
        host: None,
        client: None,
        protocol: "1.1",
        user_agent: None,
        target: None,
        route: None,
        trigger: InvocationTrigger::Http,
        is_canary: false,
        is_logged: false,
    };
    FinishedRequest {
        head,
        trace: None,
        spans: Vec::new(),
        spans_dropped: 0,
        runs: Vec::new(),
        status: Some(status),
        is_cold_start: false,
        ended: began + Duration::from_millis(took_ms),
    }
}

#[expect(clippy::disallowed_methods, reason = "requests have times of the real clock")]
fn now() -> Instant {
    Instant::now()
}

/// How long each took, milliseconds, and its status.
fn listed(kept: &KeptTraces) -> Vec<(u128, Option<u16>)> {
    kept.list().iter().map(|one| (one.request.head.request_id, one.request.status)).collect()
}

#[test]
fn newest_failures_and_slowest_requests_stay() {
    let (kept, began) = (KeptTraces::default(), now());
    for took_ms in 1..=300 {
        kept.offer(&Arc::new(request(began, took_ms, 500)));
        kept.offer(&Arc::new(request(began, 301 - took_ms, 200)));
    }
    let failed = (101..=300).rev().map(|ms| (ms, Some(500)));
    let slow = (251..=300).rev().map(|ms| (ms, Some(200)));
    assert_eq!(listed(&kept), failed.chain(slow).collect::<Vec<_>>());
}

#[test]
fn slow_request_is_forgotten_after_an_hour() {
    let (kept, began) = (KeptTraces::default(), now());
    kept.offer(&Arc::new(request(began, 900, 200)));
    kept.offer(&Arc::new(request(began + SLOW_FOR, 800, 200)));
    assert_eq!(listed(&kept).len(), 2);
    kept.offer(&Arc::new(request(began + SLOW_FOR * 2, 1, 200)));
    assert_eq!(listed(&kept), [(800, Some(200)), (1, Some(200))]);
}

#[test]
fn what_guests_send_does_not_fill_the_memory() {
    let (kept, began) = (KeptTraces::default(), now());
    for _ in 0..FAILED_MAX {
        let mut large = request(began, 1, 500);
        let outgoing = OutgoingRequest {
            method: "GET".into(),
            scheme: Scheme::Http,
            host: "a.test".into(),
            port: 80,
            path: "x".repeat(BYTES_MAX / 10).into(),
            end: Ok(200),
        };
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = TraceParent::parse(parent).unwrap().span;
        let detail = SpanDetail::Outgoing(Box::new(outgoing));
        large.spans.push(SpanRecord { id, parent: id, from: began, to: began, detail });
        kept.offer(&Arc::new(large));
    }
    assert_eq!(listed(&kept).len(), 9);
    // Small ones find room again.
    kept.offer(&Arc::new(request(began, 2, 500)));
    assert_eq!(listed(&kept)[0], (2, Some(500)));
    assert!(kept.lock().bytes <= BYTES_MAX);
}
