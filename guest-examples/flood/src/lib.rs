//! Misbehaves: answers with a body that has no end, until the stream refuses it.

use support::Answer;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

static CHUNK: [u8; 16 * 1024] = [b'~'; 16 * 1024];

struct Flood;

wasip2::http::proxy::export!(Flood);

impl Guest for Flood {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let answer = Answer::start_text(out, 200);
        while answer.write(&CHUNK).is_ok() {}
    }
}
