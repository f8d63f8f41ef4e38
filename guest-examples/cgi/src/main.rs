//! A WASI preview-1 command that answers by CGI rules (RFC 3875): plain `main`, request in the
//! environment and stdin, response on stdout.
//!
//! Answers with the variables that it got, sorted, a blank line, and stdin. `?status=NNN` chooses
//! the status.

use std::io::{Write, copy, stdin, stdout};
use std::process::ExitCode;

/// The meta-variables that are shown beside `HTTP_*`.
const SHOWN: [&str; 5] = ["REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "CONTENT_LENGTH"];

fn main() -> ExitCode {
    match respond() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cgi: {error}");
            ExitCode::FAILURE
        }
    }
}

fn respond() -> std::io::Result<()> {
    let mut variables: Vec<(String, String)> = std::env::vars()
        .filter(|(key, _)| key.starts_with("HTTP_") || SHOWN.contains(&key.as_str()))
        .collect();
    variables.sort();

    let mut out = stdout().lock();
    writeln!(out, "Content-Type: text/plain")?;
    if let Some(status) = status() {
        writeln!(out, "Status: {status}")?;
    }
    writeln!(out)?;
    for (key, value) in variables {
        writeln!(out, "{key}={value}")?;
    }
    writeln!(out)?;
    copy(&mut stdin().lock(), &mut out)?;
    out.flush()
}

fn status() -> Option<u16> {
    let query = std::env::var("QUERY_STRING").ok()?;
    query.split('&').find_map(|pair| pair.strip_prefix("status="))?.parse().ok()
}
