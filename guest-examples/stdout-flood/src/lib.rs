//! Misbehaves: writes `?lines=N` lines of `len=M` bytes to stdout before it answers, to attack log
//! capture.

use std::io::{BufWriter, Write};
use support::{Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct StdoutFlood;

wasip2::http::proxy::export!(StdoutFlood);

impl Guest for StdoutFlood {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        let lines = target.number("lines").unwrap_or(0);
        let len = target.number("len").and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        match write(lines, len) {
            Ok(()) => respond(out, 200, &format!("wrote {lines} lines of {len} bytes\n")),
            Err(error) => respond(out, 500, &format!("stdout: {error}\n")),
        }
    }
}

fn write(lines: u64, len: usize) -> std::io::Result<()> {
    let line = [vec![b'x'; len], b"\n".to_vec()].concat();
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    for _ in 0..lines {
        stdout.write_all(&line)?;
    }
    stdout.flush()
}
