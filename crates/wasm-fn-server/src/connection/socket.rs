//! A socket that tracks when bytes arrive and which protocol they begin, and that closes without losing its
//! last response.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    state::ConnectionState,
    transport::{Receiver, Transport},
    writer::CoalescingWriter,
};

/// Start of the HTTP/2 preface (RFC 9113, section 3.4). No HTTP/1 method begins like this.
const PREFACE: &[u8] = b"PRI";

/// How long a closed connection still reads what its client sends.
const LINGER: Duration = Duration::from_secs(2);

/// A socket that updates the state of its connection.
pub(crate) struct TrackedSocket {
    receiver: Receiver,
    writer: Arc<CoalescingWriter>,
    connection: Arc<ConnectionState>,
    opened: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl TrackedSocket {
    /// Tracks `transport`, of `connection`.
    pub(crate) fn new(transport: Transport, connection: Arc<ConnectionState>) -> Self {
        let (receiver, sender) = transport.into_split();
        let writer = CoalescingWriter::new(sender, Arc::clone(&connection));
        Self { receiver, writer, connection, opened: false, lingering: None }
    }

    /// Discards what the client sends until it stops or time is up.
    ///
    /// Closing a socket with unread bytes resets the connection. The client would then lose the response that
    /// says that its body is too large (RFC 9112, section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut trash = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut trash);
            let read = ready!(match &mut self.receiver {
                Receiver::Plain(half) => Pin::new(half).poll_read(cx, &mut buffer),
                Receiver::Tls => self.writer.poll_read_raw(cx, &mut buffer),
            });
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for TrackedSocket {
    fn drop(&mut self) {
        // HTTP/1.0 takes the end of the connection for that of the response, a reset for a failure.
        if self.connection.is_cut_short() {
            self.writer.reset();
        }
    }
}

impl AsyncRead for TrackedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.receiver {
            Receiver::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            Receiver::Tls => self.writer.poll_read(cx, buffer),
        })?;
        let received = &buffer.filled()[before..];
        if !received.is_empty() {
            if !self.opened {
                self.opened = true;
                if received.starts_with(PREFACE) {
                    self.connection.flags.set_http2();
                }
            }
            self.connection.received(received);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TrackedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.writer.poll_shutdown(cx))?;
        }
        if self.connection.upload.is_open() || self.connection.flags.has_refused() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
