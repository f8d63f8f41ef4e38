//! Relays one outgoing request: `?url=<percent-encoded URL>` is fetched, its status and body come
//! back. An error is answered with 502 and the error code's name, so that egress rules can be seen
//! from outside. Some queries make attempts of other kinds (`attempts.rs`).

mod attempts;

use support::{Answer, Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, ResponseOutparam,
    Scheme,
};

struct Fetch;

wasip2::http::proxy::export!(Fetch);

impl Guest for Fetch {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        if let Some(lines) = attempts::made(&target) {
            return respond(out, 200, &lines);
        }
        let Some(url) = target.value("url") else {
            return respond(out, 400, "query has no `url`, expected ?url=<percent-encoded URL>\n");
        };
        match get(&url) {
            Ok(response) => relay(&response, out),
            Err(code) => respond(out, 502, &format!("{}\n", name(&code))),
        }
    }
}

fn get(url: &str) -> Result<IncomingResponse, ErrorCode> {
    let request = request(url).ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let body = request.body().expect("a new request has its body");
    let pending = outgoing_handler::handle(request, None)?;
    OutgoingBody::finish(body, None)?;
    loop {
        match pending.get() {
            Some(response) => return response.expect("the response is taken once"),
            None => pending.subscribe().block(),
        }
    }
}

fn request(url: &str) -> Option<OutgoingRequest> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.into()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(&path)).ok()?;
    Some(request)
}

fn relay(response: &IncomingResponse, out: ResponseOutparam) {
    let types = response.headers().get("content-type");
    let headers: Vec<_> = types.into_iter().map(|value| ("content-type".into(), value)).collect();
    let body = response.consume().expect("a new response has its body");
    let input = body.stream().expect("a new body has its stream");
    let answer = Answer::start(out, response.status(), &headers);
    // A body that breaks off is answered by one that breaks off: dropped, not finished.
    if support::copy(&input, answer.stream()).is_ok() {
        answer.finish(None);
    }
}

/// The variant's name with its payload, without the type's name in front.
fn name(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).into()
}
