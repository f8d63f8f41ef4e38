//! A socket that notes when bytes arrive and which protocol they open with, and that closes without destroying what it
//! sent last.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::{Sleep, sleep},
};

use crate::{outbox::Outbox, watch::Watch};

/// How the preface of HTTP/2 begins (RFC 9113, section 3.4), and no HTTP/1 method does.
const PREFACE: &[u8] = b"PRI";

/// How long a closed connection goes on taking what its client still sends.
const LINGER: Duration = Duration::from_secs(2);

/// A socket, of which `watch` hears.
pub(crate) struct Observed {
    receiving: OwnedReadHalf,
    outbox: Arc<Outbox>,
    watch: Arc<Watch>,
    opened: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Observed {
    /// Tells `watch` what arrives on `stream`.
    pub(crate) fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        let (receiving, sending) = stream.into_split();
        let outbox = Outbox::new(sending, Arc::clone(&watch));
        Self { receiving, outbox, watch, opened: false, lingering: None }
    }

    /// Throws away what the client sends, until it stops or time is up.
    ///
    /// Closing a socket with unread bytes resets the connection, and the client would lose the answer
    /// that it is about to read: that its body is too large (RFC 9112, section 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut trash = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut trash);
            let read = ready!(Pin::new(&mut self.receiving).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.receiving).poll_read(cx, buffer))?;
        let received = &buffer.filled()[before..];
        if !received.is_empty() {
            if !self.opened {
                self.opened = true;
                if received.starts_with(PREFACE) {
                    self.watch.speaks_http2();
                }
            }
            self.watch.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.outbox.poll_shutdown(cx))?;
        }
        if self.watch.has_unread() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
