//! Misbehaves: `?mb=N` takes N MiB, touches every page and answers with N; `?pages=N` writes to N pages of what it has
//! from the start, none beside another, as interpreters do, and answers with N; without a query it takes memory until
//! the host refuses, and aborts as any guest without memory does.

use std::hint::black_box;
use std::sync::Mutex;
use support::{Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

const MIB: usize = 1024 * 1024;

/// Bytes of two pages.
const STRIDE: usize = 8192;

static GROUND: Mutex<[u8; MIB]> = Mutex::new([0; MIB]);

struct Hog;

wasip2::http::proxy::export!(Hog);

impl Guest for Hog {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        if target.query.is_empty() {
            take_all();
        }
        let number = |key| target.number(key).and_then(|number| usize::try_from(number).ok());
        if let Some((mb, bytes)) = number("mb").and_then(|mb| Some((mb, mb.checked_mul(MIB)?))) {
            // Not zero: zeroed memory would come untouched from the host.
            black_box(vec![1_u8; bytes]);
            respond(out, 200, &format!("{mb}\n"));
        } else if let Some(pages) = number("pages").filter(|&pages| pages <= MIB / STRIDE) {
            write_to(pages);
            respond(out, 200, &format!("{pages}\n"));
        } else {
            respond(out, 400, "query has no usable number, expected ?mb=<MiB below 4096> or ?pages=<at most 128>\n");
        }
    }
}

fn write_to(pages: usize) {
    let mut ground = GROUND.lock().expect("an instance serves one request");
    for page in ground.chunks_mut(STRIDE).take(pages) {
        page[0] = 1;
    }
    black_box(&ground);
}

fn take_all() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; MIB]);
        black_box(&taken);
    }
}
