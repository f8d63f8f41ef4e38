//! Misbehaves: a path ending in `/before` traps before the headers, one ending in `/after` traps
//! when headers and the first bytes have left. Anything else answers 200.

use core::arch::wasm32::unreachable;
use support::{Answer, Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Trap;

wasip2::http::proxy::export!(Trap);

impl Guest for Trap {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = Target::of(&request).path;
        if path.ends_with("/before") {
            unreachable();
        }
        if path.ends_with("/after") {
            let answer = Answer::start_text(out, 200);
            // Trap even when the client has left before the first bytes.
            let _gone = answer.write(b"first bytes\n").and_then(|()| answer.stream().blocking_flush());
            unreachable();
        }
        respond(out, 200, "ok\n");
    }
}
