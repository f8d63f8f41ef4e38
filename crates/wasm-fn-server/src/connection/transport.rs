//! What carries the bytes of a connection: a TCP socket, or TLS over one.
//!
//! The halves of a TCP socket are independent. Those of TLS share the state of the session, so the side that
//! sends holds both. The code that is paid per message without TLS is one comparison.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::server::TlsStream;

/// An open connection on which HTTP can begin.
pub(crate) enum Transport {
    /// Nothing protects the bytes.
    Plain(TcpStream),
    /// The handshake is over.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The side that receives.
pub(super) enum Receiver {
    Plain(OwnedReadHalf),
    /// The [`Sender`] receives, too.
    Tls,
}

/// The side that sends.
pub(super) enum Sender {
    Plain(OwnedWriteHalf),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Splits the connection into its two sides.
    pub(super) fn into_split(self) -> (Receiver, Sender) {
        match self {
            Self::Plain(stream) => {
                let (receiver, sender) = stream.into_split();
                (Receiver::Plain(receiver), Sender::Plain(sender))
            }
            Self::Tls(stream) => (Receiver::Tls, Sender::Tls(stream)),
        }
    }
}

impl Sender {
    /// Receives, of a connection whose sides are not independent.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            // This half of a socket cannot receive, so it has ended for whoever asks it.
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Receives what nobody is to read, as it comes from the network.
    pub(super) fn poll_read_raw(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.get_mut().0).poll_read(cx, buffer),
        }
    }

    /// Accepts as much of `bytes` as fits, and sends it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, bytes) {
            (Self::Plain(half), [bytes]) => Pin::new(half).poll_write(cx, bytes),
            (Self::Plain(half), _) => Pin::new(half).poll_write_vectored(cx, bytes),
            (Self::Tls(stream), [bytes]) => Pin::new(stream).poll_write(cx, bytes),
            (Self::Tls(stream), _) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    /// Ready when everything that was accepted was sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Sends the end of the stream; with TLS, the alert `close_notify` before it.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Sends as much of `bytes` as goes without waiting, and removes what was accepted. Returns whether all
    /// of it was sent; if not, flushing sends the rest.
    pub(super) fn try_send(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Plain(_) if bytes.is_empty() => Ok(true),
            Self::Plain(half) => match half.try_write(bytes) {
                Ok(sent) => {
                    let all = sent == bytes.len();
                    drop(bytes.drain(..sent));
                    Ok(all)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            },
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                if !bytes.is_empty() {
                    let accepted = session.writer().write(bytes)?;
                    drop(bytes.drain(..accepted));
                }
                // The session may also hold what was accepted earlier.
                while session.wants_write() {
                    match session.write_tls(&mut WithoutWaiting(socket)) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                }
                Ok(bytes.is_empty())
            }
        }
    }

    /// Ends the connection with a reset. What the client has not received is lost.
    pub(super) fn reset(self) {
        match self {
            Self::Plain(half) => {
                if half.as_ref().set_zero_linger().is_ok() {
                    // Otherwise it would end the stream first.
                    half.forget();
                }
            }
            // Without `close_notify`, the client knows that the end is not one, reset or not.
            Self::Tls(stream) => drop(stream.get_ref().0.set_zero_linger()),
        }
    }
}

/// A socket that is written to as far as it takes it.
struct WithoutWaiting<'a>(&'a TcpStream);

impl Write for WithoutWaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match bytes {
            // Most often it is one record, and the kernel sends one buffer sooner than a list of them.
            [bytes] => self.0.try_write(bytes),
            _ => self.0.try_write_vectored(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
