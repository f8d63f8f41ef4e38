//! A connection to one server: a request at a time, kept open.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A compilation takes this long at most.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// An open connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    token: String,
}

impl Connection {
    /// Connects to `address`; requests carry `token`.
    pub(crate) fn open(address: SocketAddr, token: String) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)
            .with_context(|| format!("{address} cannot be connected to"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address, token })
    }

    /// Gets `path` and expects success.
    pub(crate) fn get(&mut self, path: &str) -> Result<()> {
        self.send("GET", path, "text/plain", b"")
    }

    /// Sends `body` to `path` and expects success.
    pub(crate) fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<()> {
        let Self { address, token, .. } = self;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // One write: two small ones would wait for each other.
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.stream.read_line(&mut header).context("the answer has no end of headers")?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        if length > ANSWER_LEN_MAX {
            bail!("{method} {path} answered {length} bytes, expected at most {ANSWER_LEN_MAX}");
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        if !status.starts_with('2') {
            bail!("{method} {path} answered {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }
}
