//! Misbehaves: `?mb=N` takes N MiB, touches every page and answers with N; without a query it takes
//! memory until the host refuses, and aborts as any guest without memory does.

use std::hint::black_box;
use support::{Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

const MIB: usize = 1024 * 1024;

struct Hog;

wasip2::http::proxy::export!(Hog);

impl Guest for Hog {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        if target.query.is_empty() {
            take_all();
        }
        let asked = target.number("mb").and_then(|mb| usize::try_from(mb).ok());
        match asked.and_then(|mb| Some((mb, mb.checked_mul(MIB)?))) {
            Some((mb, bytes)) => {
                // Not zero: zeroed memory would come untouched from the host.
                black_box(vec![1_u8; bytes]);
                respond(out, 200, &format!("{mb}\n"));
            }
            None => respond(out, 400, "query has no usable `mb`, expected ?mb=<MiB below 4096>\n"),
        }
    }
}

fn take_all() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; MIB]);
        black_box(&taken);
    }
}
