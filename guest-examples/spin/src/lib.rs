//! Misbehaves: a path ending in `/loop` never returns and never calls the host. Anything else
//! answers 200.

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
        respond(out, 200, "ok\n");
    }
}

fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
