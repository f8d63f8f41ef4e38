//! Reading an answer, HTTP/1.1, as it arrives.

use anyhow::{Context as _, Result, bail, ensure};
use httparse::Status;

/// Headers that an answer may have.
const HEADERS_MAX: usize = 64;

/// Bytes of a wrong body that a message shows.
const SHOWN_MAX: usize = 80;

/// What has arrived of one answer. Nothing is read twice, or large answers would cost the client more than
/// the server.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    received: Vec<u8>,
    /// Known once the head is whole.
    framing: Option<Framing>,
    /// Where in `received` the part lies that was not read yet.
    at: usize,
    /// Bytes of the body that were read, and were right.
    body_len: usize,
}

/// How the end of a body is known (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy)]
enum Framing {
    Sized(usize),
    Chunked,
}

impl Answer {
    /// Takes more `bytes`; whether the answer is whole now. Then this is ready for the next.
    ///
    /// # Errors
    ///
    /// It is no answer of status 200 with the `expected` body, any if none is named.
    pub(crate) fn take(&mut self, bytes: &[u8], expected: Option<&[u8]>) -> Result<bool> {
        self.received.extend_from_slice(bytes);
        let framing = match self.framing {
            Some(framing) => framing,
            None => match head(&self.received)? {
                Some((len, framing)) => {
                    self.at = len;
                    *self.framing.insert(framing)
                }
                None => return Ok(false),
            },
        };
        let whole = match framing {
            Framing::Sized(len) => self.sized(len, expected)?,
            Framing::Chunked => self.chunks(expected)?,
        };
        if whole {
            let more = self.received.len() - self.at;
            ensure!(more == 0, "{more} bytes follow the answer");
            self.received.clear();
            *self = Self { received: std::mem::take(&mut self.received), ..Self::default() };
        }
        Ok(whole)
    }

    fn sized(&mut self, len: usize, expected: Option<&[u8]>) -> Result<bool> {
        if self.received.len() - self.at < len {
            return Ok(false);
        }
        self.body(self.at, len, expected)?;
        self.at += len;
        self.end(expected)
    }

    /// Reads the chunks that are whole (RFC 9112, section 7.1).
    fn chunks(&mut self, expected: Option<&[u8]>) -> Result<bool> {
        loop {
            let rest = &self.received[self.at..];
            let size = httparse::parse_chunk_size(rest).ok().context("a chunk of the answer has no size")?;
            let Status::Complete((head, size)) = size else { return Ok(false) };
            let size = usize::try_from(size).context("a chunk of the answer does not fit into memory")?;
            // The last chunk is empty; behind it could be trailers, which nobody here sends.
            let end = head.saturating_add(size).saturating_add(2);
            if rest.len() < end {
                return Ok(false);
            }
            ensure!(rest[end - 2..end] == *b"\r\n", "a chunk of the answer does not end where it says");
            self.body(self.at + head, size, expected)?;
            self.at += end;
            if size == 0 {
                return self.end(expected);
            }
        }
    }

    /// Compares the next `len` bytes of the body, which lie at `at`.
    fn body(&mut self, at: usize, len: usize, expected: Option<&[u8]>) -> Result<()> {
        let found = &self.received[at..at + len];
        if let Some(expected) = expected {
            let expected = &expected[self.body_len..];
            if !expected.starts_with(found) {
                bail!("the answer has {}, expected {} there", shown(found), shown(expected));
            }
        }
        self.body_len += len;
        Ok(())
    }

    /// The body ends here.
    fn end(&self, expected: Option<&[u8]>) -> Result<bool> {
        let len = expected.map_or(self.body_len, <[u8]>::len);
        ensure!(self.body_len == len, "the answer has {} bytes, expected {len}", self.body_len);
        Ok(true)
    }
}

/// Length of the head and the framing that it names; absent when it is not whole.
fn head(received: &[u8]) -> Result<Option<(usize, Framing)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let Status::Complete(len) = head.parse(received).context("the answer is no HTTP")? else {
        return Ok(None);
    };
    ensure!(head.code == Some(200), "status {}, expected 200", head.code.unwrap_or_default());
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    if let Some(length) = header("content-length") {
        let length = length.trim().parse();
        return Ok(Some((len, Framing::Sized(length.context("content-length is no number")?))));
    }
    let chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    ensure!(chunked, "the answer has neither a length nor chunks");
    Ok(Some((len, Framing::Chunked)))
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]))
}

#[cfg(test)]
mod tests;
