//! Shows its configuration: the environment as sorted `KEY=value` lines.
//!
//! Also writes one line to stdout and one to stderr, so that log capture can be tested.

use support::respond;
use wasip2::cli::environment::get_environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Env;

wasip2::http::proxy::export!(Env);

impl Guest for Env {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        println!("env: stdout line");
        eprintln!("env: stderr line");
        let mut variables = get_environment();
        variables.sort();
        let text: String = variables.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        respond(out, 200, &text);
    }
}
