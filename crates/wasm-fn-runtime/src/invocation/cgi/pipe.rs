//! Connects the standard input and output of a command to the bodies of request and response. No task stands
//! in between: the connection polls each side.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::{
    cli::{IsTerminal, StdinStream, StdoutStream},
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};
use wasmtime_wasi_http::WasiBody;

/// Most bytes of output that are buffered while the client is slower than the guest, and of a request's body
/// while its length is found out.
const BUFFER_BYTES_MAX: usize = 64 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request's body as standard input.
#[derive(Clone)]
pub(crate) struct CgiInput(Arc<Mutex<Input>>);

struct Input {
    body: WasiBody,
    ready: Bytes,
    end: Option<InputEnd>,
}

/// How the body has ended.
enum InputEnd {
    Complete,
    /// It broke off, or is over its limit. Every read after that fails, so that it never looks complete.
    Failed(String),
}

impl CgiInput {
    pub(crate) fn new(body: WasiBody) -> Self {
        Self(Arc::new(Mutex::new(Input { body, ready: Bytes::new(), end: None })))
    }

    /// The length of a body of at most [`BUFFER_BYTES_MAX`] that does not announce it. Waits for all of the
    /// body, or for that much of it.
    pub(crate) async fn measure(&self) -> Option<u64> {
        let mut gathered = BytesMut::new();
        poll_fn(|cx| {
            loop {
                std::task::ready!(self.poll_fill(cx));
                let input = &mut *lock(&self.0);
                gathered.extend_from_slice(&std::mem::take(&mut input.ready));
                if input.end.is_some() || gathered.len() > BUFFER_BYTES_MAX {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        let input = &mut *lock(&self.0);
        let length = gathered.len() as u64;
        input.ready = gathered.freeze();
        matches!(input.end, Some(InputEnd::Complete)).then_some(length)
    }

    /// Ready when there are bytes, or the end.
    fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<()> {
        let input = &mut *lock(&self.0);
        while input.ready.is_empty() && input.end.is_none() {
            match std::task::ready!(Pin::new(&mut input.body).poll_frame(cx)) {
                // Trailers have no place in CGI.
                Some(Ok(frame)) => input.ready = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => input.end = Some(InputEnd::Failed(error.to_string())),
                None => input.end = Some(InputEnd::Complete),
            }
        }
        Poll::Ready(())
    }

    /// At most `size` bytes; `None` at the end. No bytes means that there are none yet.
    fn take(&self, size: usize) -> io::Result<Option<Bytes>> {
        let input = &mut *lock(&self.0);
        match &input.end {
            Some(end) if input.ready.is_empty() => match end {
                InputEnd::Complete => Ok(None),
                InputEnd::Failed(reason) => Err(io::Error::other(reason.clone())),
            },
            _ => Ok(Some(input.ready.split_to(size.min(input.ready.len())))),
        }
    }
}

impl IsTerminal for CgiInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for CgiInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CgiInput {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_fill(cx)).await;
    }
}

impl InputStream for CgiInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let taken = self.take(size).map_err(|error| StreamError::LastOperationFailed(error.into()))?;
        taken.ok_or(StreamError::Closed)
    }
}

impl AsyncRead for CgiInput {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_fill(cx));
        buffer.put_slice(&self.take(buffer.remaining())?.unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// Standard output, read back as the response.
#[derive(Clone, Default)]
pub(crate) struct CgiOutput(Arc<Mutex<Output>>);

#[derive(Default)]
struct Output {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl CgiOutput {
    /// The next bytes; `None` when the command has ended and everything was read.
    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let output = &mut *lock(&self.0);
        if let Some(chunk) = output.chunks.pop_front() {
            output.bytes -= chunk.len();
            if let Some(writer) = output.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Some(chunk));
        }
        if output.closed {
            return Poll::Ready(None);
        }
        output.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes that the command has ended.
    pub(crate) fn close(&self) {
        let output = &mut *lock(&self.0);
        output.closed = true;
        if let Some(reader) = output.reader.take() {
            reader.wake();
        }
    }

    fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let output = &mut *lock(&self.0);
        output.bytes += bytes.len();
        output.chunks.push_back(bytes);
        if let Some(reader) = output.reader.take() {
            reader.wake();
        }
    }

    fn room(&self) -> usize {
        BUFFER_BYTES_MAX.saturating_sub(lock(&self.0).bytes)
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let output = &mut *lock(&self.0);
        match BUFFER_BYTES_MAX.saturating_sub(output.bytes) {
            0 => {
                output.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            room => Poll::Ready(room),
        }
    }
}

impl IsTerminal for CgiOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CgiOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CgiOutput {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_room(cx)).await;
    }
}

impl OutputStream for CgiOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.room())
    }
}

impl AsyncWrite for CgiOutput {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.poll_room(cx));
        let size = room.min(bytes.len());
        self.push(Bytes::copy_from_slice(&bytes[..size]));
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
