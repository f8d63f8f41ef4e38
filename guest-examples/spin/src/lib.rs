//! Takes time: a path ending in `/loop` never returns and never calls the host. Anything else computes for as many
//! rounds as the variable `ROUNDS` says, none without it, and answers 200: two versions of this component can take
//! different times by their configuration alone.

use std::hint::black_box;
use support::{Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Spin;

wasip2::http::proxy::export!(Spin);

impl Guest for Spin {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if Target::of(&request).path.ends_with("/loop") {
            spin();
        }
        match rounds() {
            Some(rounds) => {
                compute(rounds);
                respond(out, 200, "ok\n");
            }
            None => respond(out, 500, "ROUNDS is no whole number\n"),
        }
    }
}

fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// How many were configured; `None` when that is no number.
fn rounds() -> Option<u64> {
    std::env::var("ROUNDS").map_or(Some(0), |rounds| rounds.parse().ok())
}

/// Each round waits for the one before, so that neither the compiler nor the processor can take them together.
fn compute(rounds: u64) {
    let mut state = black_box(1_u64);
    for _ in 0..rounds {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
}
