//! Streams the request back: the body chunk by chunk as it arrives, then its trailers.
//!
//! `content-type` is copied; `x-echo-method` and `x-echo-path` say what the guest saw.

use support::Answer;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, Method, ResponseOutparam, Trailers};

/// `trailer` announces trailers, without which HTTP/1.1 drops them.
const COPIED: [&str; 2] = ["content-type", "trailer"];

struct Echo;

wasip2::http::proxy::export!(Echo);

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let incoming = request.consume().expect("a new request has its body");
        let answer = Answer::start(out, 200, &headers(&request));
        let input = incoming.stream().expect("a new body has its stream");
        // A body that breaks off is answered by one that breaks off: dropped, not finished.
        if support::copy(&input, answer.stream()).is_err() {
            return;
        }
        drop(input);
        if let Ok(trailers) = trailers(incoming) {
            answer.finish(trailers);
        }
    }
}

fn headers(request: &IncomingRequest) -> Vec<(String, Vec<u8>)> {
    let path = request.path_with_query().unwrap_or_default();
    let mut headers = vec![
        ("x-echo-method".into(), method(request.method()).into_bytes()),
        ("x-echo-path".into(), path.into_bytes()),
    ];
    let received = request.headers();
    for name in COPIED {
        headers.extend(received.get(name).into_iter().map(|value| (name.into(), value)));
    }
    headers
}

fn method(method: Method) -> String {
    match method {
        Method::Get => "GET".into(),
        Method::Head => "HEAD".into(),
        Method::Post => "POST".into(),
        Method::Put => "PUT".into(),
        Method::Delete => "DELETE".into(),
        Method::Connect => "CONNECT".into(),
        Method::Options => "OPTIONS".into(),
        Method::Trace => "TRACE".into(),
        Method::Patch => "PATCH".into(),
        Method::Other(name) => name,
    }
}

/// Waits for the request's trailers; a copy, because received fields cannot be sent on.
fn trailers(body: IncomingBody) -> Result<Option<Fields>, ()> {
    let pending = IncomingBody::finish(body);
    loop {
        match pending.get() {
            Some(received) => {
                let received = received?.map_err(|_broken_off| ())?;
                return Ok(received.as_ref().map(Trailers::clone));
            }
            None => pending.subscribe().block(),
        }
    }
}
