//! The response in a command's output: a header block, an empty line, the body (RFC 3875, section 6).

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use wasm_fn_secrets::SecretSet;

use super::pipe::CgiOutput;

/// Longest header block; the same as for requests.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Longest part of an invalid line that is shown, bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// Reads the header block of a command's output.
pub(crate) struct HeadReader {
    /// What is masked where the output is shown.
    secrets: Arc<SecretSet>,
    collected: BytesMut,
    /// Where the line starts that is not complete yet, and how much of it was looked at. A command that
    /// writes single bytes has each looked at once.
    line_start: usize,
    scanned: usize,
}

impl HeadReader {
    pub(crate) fn new(secrets: Arc<SecretSet>) -> Self {
        Self { secrets, collected: BytesMut::new(), line_start: 0, scanned: 0 }
    }

    /// Reads the header block of `output`, then leaves the rest to the body.
    ///
    /// # Errors
    /// The block is invalid, or the command ended before it was complete; says why.
    pub(crate) fn poll_head(
        &mut self,
        output: &CgiOutput,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<CgiBody>, String>> {
        loop {
            if let Some((head_end, body_start)) = self.find_end() {
                let head = self.collected.split_to(head_end).freeze();
                self.collected.advance(body_start - head_end);
                let first = std::mem::take(&mut self.collected).freeze();
                let body = CgiBody { first: (!first.is_empty()).then_some(first), output: output.clone() };
                return Poll::Ready(parse_head(&head, &self.secrets).map(|response| response.map(|()| body)));
            }
            if self.collected.len() > HEAD_BYTES_MAX {
                return Poll::Ready(Err(format!("its header block is over {HEAD_BYTES_MAX} bytes")));
            }
            match std::task::ready!(output.poll_chunk(cx)) {
                Some(chunk) => self.collected.extend_from_slice(&chunk),
                None if self.collected.is_empty() => {
                    return Poll::Ready(Err("it wrote nothing".to_owned()));
                }
                None => {
                    return Poll::Ready(
                        Err("its header block has no end, expected an empty line".to_owned()),
                    );
                }
            }
        }
    }

    /// Where the header block ends, and where the body starts: after the first empty line.
    fn find_end(&mut self) -> Option<(usize, usize)> {
        let bytes = &self.collected[..];
        while let Some(length) = bytes[self.scanned..].iter().position(|&b| b == b'\n') {
            let (start, end) = (self.line_start, self.scanned + length);
            (self.line_start, self.scanned) = (end + 1, end + 1);
            if matches!(&bytes[start..end], b"" | b"\r") {
                return Some((start, end + 1));
            }
        }
        self.scanned = bytes.len();
        None
    }
}

pub(super) fn parse_head(head: &[u8], secrets: &SecretSet) -> Result<Response<()>, String> {
    let mut response = Response::new(());
    let mut status = None;
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let shown = || {
            let masked = secrets.mask(line, SHOWN_BYTES_MAX);
            let shown = masked.as_deref().unwrap_or(&line[..line.len().min(SHOWN_BYTES_MAX)]);
            String::from_utf8_lossy(shown).into_owned()
        };
        let colon = line
            .iter()
            .position(|&b| b == b':')
            .ok_or_else(|| format!("header line {:?} has no colon", shown()))?;
        let name = HeaderName::from_bytes(&line[..colon])
            .map_err(|_| format!("header line {:?} has no valid name", shown()))?;
        let value = line[colon + 1..].trim_ascii();
        let means_something = !value.is_empty();
        if name.as_str() == "status" {
            if means_something {
                let found = parse_status(value);
                let invalid = || format!("header line {:?} has no status from 200 to 999", shown());
                status = Some(found.ok_or_else(invalid)?);
            }
            continue;
        }
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("header line {:?} has no valid value", shown()))?;
        match name {
            // A script has one of each at most (section 6.3), and none is as good as an empty one.
            header::LOCATION | header::CONTENT_TYPE if means_something => {
                response.headers_mut().insert(name, value);
            }
            header::LOCATION | header::CONTENT_TYPE => {}
            name if is_for_the_server(&name) => {}
            name => {
                response.headers_mut().append(name, value);
            }
        }
    }
    // A location without a status is a redirect (section 6.2.3).
    let located = response.headers().contains_key(header::LOCATION);
    let implied = if located { StatusCode::FOUND } else { StatusCode::OK };
    *response.status_mut() = status.unwrap_or(implied);
    Ok(response)
}

/// A final status, which a reason may follow (section 6.3.3).
fn parse_status(value: &[u8]) -> Option<StatusCode> {
    let (code, reason) = value.split_at_checked(3)?;
    let ends = reason.first().is_none_or(u8::is_ascii_whitespace);
    let code = StatusCode::from_bytes(code).ok()?;
    (ends && !code.is_informational()).then_some(code)
}

/// Whether the header is for the server and not for the client: it frames the message (section 6.3.4), or is
/// an extension of CGI (section 6.3.5).
///
/// `Content-Length` goes on. The server holds the program to it, and it is all that a response to `HEAD` says
/// about the body.
fn is_for_the_server(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-cgi-")
        || matches!(
            name,
            "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
}

/// The rest of a command's output.
pub(crate) struct CgiBody {
    first: Option<Bytes>,
    output: CgiOutput,
}

impl Body for CgiBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.output.poll_chunk(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
