//! Sleeps for `?ms=N` milliseconds on the host's clock, without burning its own time, then answers.

use support::{Target, respond};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

const NANOS_PER_MILLI: u64 = 1_000_000;

struct Slow;

wasip2::http::proxy::export!(Slow);

impl Guest for Slow {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let ms = Target::of(&request).number("ms").unwrap_or(0);
        subscribe_duration(ms.saturating_mul(NANOS_PER_MILLI)).block();
        respond(out, 200, &format!("slept {ms} ms\n"));
    }
}
