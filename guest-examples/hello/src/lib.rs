//! The smallest useful function: answers every request with its version.
//!
//! The benches and the rollout examples deploy it, so nothing is formatted or looked up while a
//! request waits. The environment variable `HELLO_VERSION` chooses the version at build time.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

const VERSION: &str = match option_env!("HELLO_VERSION") {
    Some(version) => version,
    None => "v1",
};
const PREFIX: &str = "hello from ";
const BODY_LEN: usize = PREFIX.len() + VERSION.len() + 1;
static BODY: [u8; BODY_LEN] = body();

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        // A refused answer is the host's to report; a panic would only link the machinery that prints it.
        let _refused = answer(out);
    }
}

fn answer(out: ResponseOutparam) -> Result<(), ()> {
    let headers =
        Fields::from_list(&[("content-type".into(), b"text/plain".to_vec())]).map_err(|_refused| ())?;
    let response = OutgoingResponse::new(headers);
    let body = response.body()?;
    ResponseOutparam::set(out, Ok(response));

    let stream = body.write()?;
    // Not `blocking_write_and_flush`: waiting until the bytes are gone would only hold the instance.
    while stream.check_write().map_err(|_closed| ())? < BODY.len() as u64 {
        stream.subscribe().block();
    }
    stream.write(&BODY).map_err(|_closed| ())?;
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|_incomplete| ())
}

/// Joins the body at compile time; `concat!` takes no constants.
const fn body() -> [u8; BODY_LEN] {
    let mut joined = [b'\n'; BODY_LEN];
    let (prefix, rest) = joined.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX.as_bytes());
    let (version, _newline) = rest.split_at_mut(VERSION.len());
    version.copy_from_slice(VERSION.as_bytes());
    joined
}
