//! A release gone wrong: traps at every request, in a function whose name its backtrace shows. With
//! `?authority=HOST:PORT` it sends a request there first, so that something has left the machine; with
//! `?ms=N` it sleeps first.

use core::arch::wasm32::unreachable;
use support::Target;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingRequest, ResponseOutparam, Scheme};

const NANOS_PER_MILLI: u64 = 1_000_000;

struct Broken;

wasip2::http::proxy::export!(Broken);

impl Guest for Broken {
    fn handle(request: IncomingRequest, _out: ResponseOutparam) {
        let target = Target::of(&request);
        if let Some(ms) = target.number("ms") {
            subscribe_duration(ms.saturating_mul(NANOS_PER_MILLI)).block();
        }
        if let Some(authority) = target.value("authority") {
            call(&authority);
        }
        apply_discount();
    }
}

/// Calls `authority` and waits until it has answered.
fn call(authority: &str) {
    let request = OutgoingRequest::new(Fields::new());
    let named = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some("/")));
    named.expect("an authority is HOST:PORT");
    let body = request.body().expect("a new request has its body");
    let pending = outgoing_handler::handle(request, None).expect("the host takes requests");
    OutgoingBody::finish(body, None).expect("an empty body ends");
    pending.subscribe().block();
}

/// The defect.
#[inline(never)]
fn apply_discount() {
    unreachable();
}
