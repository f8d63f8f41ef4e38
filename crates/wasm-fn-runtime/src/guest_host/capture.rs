//! Captures a guest's standard output and error, line by line, for the log. Values of secrets are masked.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasm_fn_core::VersionNo;
use wasm_fn_secrets::SecretSet;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::logs::{GuestLogStream, LINE_BYTES_MAX, LogRing, Served};

/// Most bytes that a guest may write at once.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The request that an instance is serving now.
pub(crate) struct CurrentRequest(Mutex<Served>);

impl CurrentRequest {
    pub(crate) fn new(served: Served) -> Self {
        Self(Mutex::new(served))
    }

    pub(crate) fn set(&self, served: Served) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = served;
    }

    fn get(&self) -> Served {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a guest's output streams.
#[derive(Clone)]
pub(crate) struct Capture(Arc<Stream>);

/// Whose output it is, and where it goes.
pub(crate) struct CaptureOptions {
    pub(crate) ring: Arc<LogRing>,
    /// What is masked.
    pub(crate) secrets: Arc<SecretSet>,
    pub(crate) serving: Arc<CurrentRequest>,
    pub(crate) version: VersionNo,
    pub(crate) stream: GuestLogStream,
}

struct Stream {
    options: CaptureOptions,
    /// A line that has not ended, and of a longer one so much that every value that begins in what is kept
    /// can be found.
    partial: Mutex<Vec<u8>>,
}

impl Capture {
    pub(crate) fn new(options: CaptureOptions) -> Self {
        Self(Arc::new(Stream { options, partial: Mutex::default() }))
    }

    fn write_bytes(&self, bytes: &[u8]) {
        let partial_bytes_max = LINE_BYTES_MAX + self.0.options.secrets.lookahead();
        let mut partial = self.0.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = partial_bytes_max.saturating_sub(partial.len());
            partial.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.0.emit(&mut partial);
            }
        }
    }
}

impl Stream {
    fn emit(&self, partial: &mut Vec<u8>) {
        let CaptureOptions { ring, secrets, serving, version, stream } = &self.options;
        let masked = secrets.mask(partial, LINE_BYTES_MAX);
        let line = masked.as_deref().unwrap_or(&partial[..partial.len().min(LINE_BYTES_MAX)]);
        let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        partial.clear();
        ring.push(*version, serving.get(), *stream, text);
    }
}

impl Drop for Stream {
    /// Logs a last line without an end.
    fn drop(&mut self) {
        let mut partial = std::mem::take(self.partial.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !partial.is_empty() {
            self.emit(&mut partial);
        }
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for Capture {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_bytes(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
