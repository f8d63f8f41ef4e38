//! Misbehaves: returns without an answer.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Mute;

wasip2::http::proxy::export!(Mute);

impl Guest for Mute {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}
