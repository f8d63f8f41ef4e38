//! Misbehaves: a path ending in `/deep` recurses until the stack ends. Anything else answers 200.

use std::hint::black_box;
use support::{Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Deep;

wasip2::http::proxy::export!(Deep);

impl Guest for Deep {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if Target::of(&request).path.ends_with("/deep") {
            descend(0);
        }
        respond(out, 200, "ok\n");
    }
}

/// Uses its own frame after the call, so that no compiler turns it into a loop; the frame is small,
/// so that the call stack ends before the guest's own stack in linear memory.
fn descend(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    let below = descend(depth + 1);
    black_box(depth) ^ below
}
