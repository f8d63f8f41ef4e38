//! A connection to one server: a request at a time, kept open, blocking.

#[cfg(test)]
mod tests;

use std::{
    io::{BufRead, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a connection waits for whatever it waits for, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest head that is read, bytes.
const HEAD_LEN_MAX: u64 = 64 << 10;

/// Longest body that is read, bytes.
const BODY_LEN_MAX: usize = 1 << 20;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer, if it is a success.
    ///
    /// # Errors
    ///
    /// The status is not one of 200 to 299; says what the answer says.
    pub fn success(self) -> Result<Self> {
        let Self { status, body } = &self;
        ensure!(
            (200..300).contains(status),
            "the answer is {status}, expected a success: {}",
            String::from_utf8_lossy(body).trim()
        );
        Ok(self)
    }
}

impl Connection {
    /// Connects to `address`. It waits a minute for each answer.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("{address} cannot be connected to"))?;
        stream.set_nodelay(true)?;
        Self { stream: BufReader::new(stream), address, token: None }.patient(PATIENCE)
    }

    /// The same, waiting for at most `patience` for each answer.
    ///
    /// # Errors
    ///
    /// `patience` is zero.
    pub fn patient(self, patience: Duration) -> Result<Self> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(self)
    }

    /// The same, whose requests carry `token`.
    #[must_use]
    pub fn bearing(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Gets `path`.
    ///
    /// # Errors
    ///
    /// The connection ended, or what came in time is no whole answer with a length or in chunks.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask(path)?;
        self.answer()
    }

    /// Sends a request for `path`, whose answer is left to [`answer`](Self::answer).
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub fn ask(&mut self, path: &str) -> Result<()> {
        self.write("GET", path, "", b"")
    }

    /// Sends `body`, which is of the media type `kind`, to `path`.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get).
    pub fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Answer> {
        let fields = format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        self.write(method, path, &fields, body)?;
        self.answer().with_context(|| format!("{method} {path} was not answered"))
    }

    /// Waits for the answer to the oldest request that has none.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get).
    pub fn answer(&mut self) -> Result<Answer> {
        read_answer(&mut self.stream)
    }

    /// Whether nothing has come that was not read: neither a part of an answer nor the end of the connection.
    ///
    /// # Errors
    ///
    /// The socket cannot be asked.
    pub fn is_silent(&self) -> Result<bool> {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true)?;
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        let waits = matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock);
        Ok(waits && self.stream.buffer().is_empty())
    }

    /// `fields` are lines of the head, each with its end.
    fn write(&mut self, method: &str, path: &str, fields: &str, body: &[u8]) -> Result<()> {
        let mut message = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{fields}", self.address);
        if let Some(token) = &self.token {
            message.extend(["authorization: Bearer ", token, "\r\n"]);
        }
        message.push_str("\r\n");
        // One write: two small ones would wait for each other.
        let message = [message.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&message).with_context(|| format!("{method} {path} cannot be sent"))
    }
}

/// Reads one answer, which has a length or comes in chunks, to its end.
fn read_answer(stream: &mut impl BufRead) -> Result<Answer> {
    let mut head = (&mut *stream).take(HEAD_LEN_MAX);
    let mut line = String::new();
    let mut next = || -> Result<String> {
        line.clear();
        head.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the answer ended within its head, after {:?}", line);
        Ok(line.trim_end().to_owned())
    };
    let first = next()?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else { bail!("found {first:?}, expected the status of an answer") };
    let (mut length, mut chunked) = (None, false);
    loop {
        let line = next()?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { bail!("found {line:?}, expected a field") };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let mut body = Vec::new();
    match length {
        Some(length) => read_part(stream, &mut body, length)?,
        None if chunked => read_chunks(stream, &mut body)?,
        None => bail!("the answer has no length"),
    }
    Ok(Answer { status, body })
}

/// Reads a body that comes in chunks (RFC 9112, section 7.1), without trailers.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        (&mut *stream).take(HEAD_LEN_MAX).read_line(&mut line).context("the answer ended within its body")?;
        let size = line.trim_end().split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { bail!("found {line:?}, expected the size of a chunk") };
        read_part(stream, body, size)?;
        let mut end = [0; 2];
        stream.read_exact(&mut end).context("the answer ended within its body")?;
        ensure!(end == *b"\r\n", "found {end:?} after a chunk, expected the end of its line");
        if size == 0 {
            return Ok(());
        }
    }
}

/// Reads so many bytes to the end of `body`.
fn read_part(stream: &mut impl BufRead, body: &mut Vec<u8>, length: usize) -> Result<()> {
    let begun = body.len();
    let whole = begun.saturating_add(length);
    ensure!(whole <= BODY_LEN_MAX, "the answer is of {whole} bytes, expected at most {BODY_LEN_MAX}");
    body.resize(whole, 0);
    stream.read_exact(&mut body[begun..]).context("the answer ended within its body")
}
