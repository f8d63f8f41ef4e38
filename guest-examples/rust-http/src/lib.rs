//! A function in Rust: a wasi:http 0.2 handler that answers every request with a greeting.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a new response has its body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a new body has its stream");
        stream.blocking_write_and_flush(format!("hello from {path}\n").as_bytes()).expect("the client reads");
        // The stream belongs to the body and must be gone before the body is finished.
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body is complete");
    }
}
