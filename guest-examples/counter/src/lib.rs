//! Counts the requests that its instance has seen, in a static of its linear memory: always 1,
//! unless requests share an instance. Tests of isolation read it.

use std::sync::atomic::{AtomicU64, Ordering};
use support::respond;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

static SEEN: AtomicU64 = AtomicU64::new(0);

struct Counter;

wasip2::http::proxy::export!(Counter);

impl Guest for Counter {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let count = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
        respond(out, 200, &format!("{count}\n"));
    }
}
