//! Shows its secrets, which no function should do: `/get/NAME` answers the secret of that name, and `/all`
//! answers all of them as sorted `NAME=value` lines, with its environment below. `/log/NAME` writes the secret
//! to stdout and stderr, and `/panic/NAME` panics with it.

use wasi::config::store;
use wasip2::cli::environment::get_environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ path: "wit", world: "secrets", generate_all });

struct Secrets;

wasip2::http::proxy::export!(Secrets);

impl Guest for Secrets {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        // Whatever route the function has, what it is asked is at the end.
        let mut parts = target.rsplit('/');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let secret = |name| store::get(name).expect("reading a secret does not fail");
        let (status, text) = match (before, last) {
            (_, "all") => (200, format!("{}\n{}", lines(all()), lines(get_environment()))),
            ("get", name) => match secret(name) {
                Some(value) => (200, value),
                None => (404, format!("there is no secret {name}")),
            },
            ("log", name) => {
                let value = secret(name).unwrap_or_default();
                println!("{name} is {value} here");
                eprintln!("{value}");
                (200, "logged".to_owned())
            }
            ("panic", name) => panic!("wrong password {:?}", secret(name).unwrap_or_default()),
            _ => (400, "ask for /get/NAME, /all, /log/NAME or /panic/NAME".to_owned()),
        };
        respond(out, status, &text);
    }
}

fn all() -> Vec<(String, String)> {
    store::get_all().expect("reading secrets does not fail")
}

fn lines(mut entries: Vec<(String, String)>) -> String {
    entries.sort();
    entries.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("the status is valid");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    for chunk in text.as_bytes().chunks(4096) {
        // A client that is gone reads nothing.
        let _ = stream.blocking_write_and_flush(chunk);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
