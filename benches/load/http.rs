//! One request at a time, enough to ask whether a server answers and whether it answers right.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{certificate::Certificate, open_loop::Answer, requests::Requests};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer that is read.
const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// Refuses unless the server answers the first of the requests as it must; the size of the answer with its
/// head, bytes. It is asked over TLS if it has a `certificate`.
pub(crate) fn check(
    address: SocketAddr,
    certificate: Option<&Certificate>,
    requests: &Requests,
) -> Result<u64> {
    let (request, stream) = (requests.first(&address.to_string()), connect(address)?);
    let expected = Some(requests.answer.as_bytes());
    match certificate {
        None => exchange(stream, &request, expected),
        Some(certificate) => exchange(certificate.client(address, stream)?, &request, expected),
    }
}

/// Refuses unless `path` is answered with status 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    exchange(connect(address)?, request.as_bytes(), None).map(|_size| ())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("{address} cannot be connected to"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn exchange(mut stream: impl Read + Write, request: &[u8], expected: Option<&[u8]>) -> Result<u64> {
    stream.write_all(request).context("the request cannot be sent")?;
    let (mut answer, mut len, mut buffer) = (Answer::default(), 0, [0; 16 * 1024]);
    while len < ANSWER_LEN_MAX {
        let more = stream.read(&mut buffer).context("the answer cannot be read")?;
        if more == 0 {
            bail!("the connection was closed after {len} bytes of the answer");
        }
        len += more;
        if answer.take(&buffer[..more], expected)? {
            return Ok(len as u64);
        }
    }
    bail!("the answer has more than {ANSWER_LEN_MAX} bytes")
}
