//! One GET at a time, enough to ask whether a server answers and whether it answers right.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read.
const ANSWER_LEN_MAX: u64 = 64 * 1024;

/// Gets `path` and returns the body of an answer of status 200.
///
/// Asks in HTTP/1.0, so that the body is neither chunked nor followed by anything (RFC 9112, sections 6.3
/// and 7.1).
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("{address} cannot be connected to"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer).context("the answer cannot be read")?;

    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the answer has no end of headers: {answer:?}");
    };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{path} answered `{status}`, expected status 200");
    }
    Ok(body.to_owned())
}
