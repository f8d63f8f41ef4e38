//! The response in a command's output: a header block, an empty line, the body (RFC 3875, section 6).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};

use super::pipe::CgiOutput;

/// Longest header block; the same as for requests.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Reads the header block of `output`, then leaves the rest to the body.
///
/// # Errors
/// The block is invalid, or the command ended before it was complete; says why.
pub(crate) fn poll_head(
    output: &CgiOutput,
    collected: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<CgiBody>, String>> {
    loop {
        if let Some((head_end, body_start)) = head_end(collected) {
            let head = collected.split_to(head_end).freeze();
            collected.advance(body_start - head_end);
            let first = std::mem::take(collected).freeze();
            let body = CgiBody { first: (!first.is_empty()).then_some(first), output: output.clone() };
            return Poll::Ready(parse_head(&head).map(|response| response.map(|()| body)));
        }
        if collected.len() > HEAD_BYTES_MAX {
            return Poll::Ready(Err(format!("its header block is over {HEAD_BYTES_MAX} bytes")));
        }
        match std::task::ready!(output.poll_chunk(cx)) {
            Some(chunk) => collected.extend_from_slice(&chunk),
            None if collected.is_empty() => return Poll::Ready(Err("it wrote nothing".to_owned())),
            None => {
                return Poll::Ready(Err("its header block has no end, expected an empty line".to_owned()));
            }
        }
    }
}

/// Where the header block ends, and where the body starts: after the first empty line.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut line_start = 0;
    for (at, _) in bytes.iter().enumerate().filter(|&(_, &b)| b == b'\n') {
        let line = bytes[line_start..at].strip_suffix(b"\r").unwrap_or(&bytes[line_start..at]);
        if line.is_empty() {
            return Some((line_start, at + 1));
        }
        line_start = at + 1;
    }
    None
}

fn parse_head(head: &[u8]) -> Result<Response<()>, String> {
    let mut response = Response::new(());
    let mut located = false;
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let shown = || String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let colon = line
            .iter()
            .position(|&b| b == b':')
            .ok_or_else(|| format!("header line {:?} has no colon", shown()))?;
        let name = HeaderName::from_bytes(&line[..colon])
            .map_err(|_| format!("header line {:?} has no valid name", shown()))?;
        let value = line[colon + 1..].trim_ascii();
        if name.as_str() == "status" {
            let code = value.get(..3).and_then(|code| StatusCode::from_bytes(code).ok());
            *response.status_mut() = code
                .filter(|code| !code.is_informational())
                .ok_or_else(|| format!("header line {:?} has no status from 200 to 999", shown()))?;
            continue;
        }
        located |= name == http::header::LOCATION;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("header line {:?} has no valid value", shown()))?;
        if !is_hop_by_hop(&name) {
            response.headers_mut().append(name, value);
        }
    }
    // A location without a status is a redirect (section 6.2.3).
    if located && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::FOUND;
    }
    Ok(response)
}

/// Whether the server sets the header itself, to frame the message.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "content-length"
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
