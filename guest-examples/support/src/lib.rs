//! What several example guests share: reading the request's target, answering in plain text, and
//! copying a body chunk by chunk. `hello` stays without it, as the example to start from.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// The most bytes that one read of [`copy`] asks for.
const CHUNK_BYTES_MAX: u64 = 64 * 1024;

/// Where a request was sent: its path, and its query without the question mark.
pub struct Target {
    pub path: String,
    pub query: String,
}

/// A started answer; ends properly only through [`finish`](Self::finish).
pub struct Answer {
    // Dropped before `body`: the stream is the body's child resource.
    stream: OutputStream,
    body: OutgoingBody,
}

impl Target {
    pub fn of(request: &IncomingRequest) -> Self {
        let whole = request.path_with_query().unwrap_or_default();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        Self { path: path.into(), query: query.into() }
    }

    /// The percent-decoded value of the first `key=value` pair of the query.
    pub fn value(&self, key: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| percent_decode(value))
    }

    /// The query's whole number under `key`; `None` when it is absent or not a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }
}

impl Answer {
    /// Sends the status and headers.
    ///
    /// # Panics
    /// When the host refuses the headers or the status.
    pub fn start(out: ResponseOutparam, status: u16, headers: &[(String, Vec<u8>)]) -> Self {
        let headers = Fields::from_list(headers).expect("the host accepts the headers");
        let response = OutgoingResponse::new(headers);
        response.set_status_code(status).expect("the host accepts the status");
        let body = response.body().expect("a new response has its body");
        let stream = body.write().expect("a new body has its stream");
        ResponseOutparam::set(out, Ok(response));
        Self { stream, body }
    }

    /// Sends the status with `content-type: text/plain`.
    pub fn start_text(out: ResponseOutparam, status: u16) -> Self {
        Self::start(out, status, &[("content-type".into(), b"text/plain".to_vec())])
    }

    pub fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Writes all of `bytes`, waiting whenever the host has no room.
    pub fn write(&self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let room = usize::try_from(room(&self.stream)?).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.stream.write(now)?;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the body. An answer that is dropped instead reaches the client as a truncated one.
    pub fn finish(self, trailers: Option<Fields>) {
        drop(self.stream);
        // The host has already dropped a body whose client left.
        let _gone = OutgoingBody::finish(self.body, trailers);
    }
}

/// Answers with `text` and nothing else.
pub fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let answer = Answer::start_text(out, status);
    if answer.write(text.as_bytes()).is_ok() {
        answer.finish(None);
    }
}

/// Moves bytes from `input` to `output` until the input ends, holding at most one chunk.
///
/// Reads only when the output has room, so a slow reader slows the writer instead of filling memory.
pub fn copy(input: &InputStream, output: &OutputStream) -> Result<(), StreamError> {
    loop {
        let room = room(output)?;
        match input.read(room.min(CHUNK_BYTES_MAX)) {
            Ok(chunk) if chunk.is_empty() => {
                // The sender may be waiting for what was copied so far.
                output.flush()?;
                input.subscribe().block();
            }
            Ok(chunk) => output.write(&chunk)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(failed) => return Err(failed),
        }
    }
}

/// Decodes `%XX`; anything malformed stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(hex.unwrap_or(*first));
        if hex.is_some() {
            rest = &tail[2..];
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Waits until `output` takes at least one byte; says how many it takes.
fn room(output: &OutputStream) -> Result<u64, StreamError> {
    loop {
        match output.check_write()? {
            0 => output.subscribe().block(),
            bytes => return Ok(bytes),
        }
    }
}
