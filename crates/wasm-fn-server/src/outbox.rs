//! What one connection sends: at once, or together with what others hold.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};

use crate::{hold, watch::Watch};

/// What a connection may hold, bytes: more is not worth a copy.
const HELD_BYTES_MAX: usize = 4096;

/// The sending half of a connection's socket.
pub(crate) struct Outbox {
    watch: Arc<Watch>,
    sending: Mutex<Sending>,
}

struct Sending {
    half: OwnedWriteHalf,
    /// What was taken and is not sent; it goes before anything else.
    held: Vec<u8>,
    /// Whether a task will send what is held.
    joined: bool,
    /// What became of what was held.
    failed: Option<io::Error>,
}

impl Outbox {
    /// Sends through `half`, of the connection that `watch` watches.
    pub(crate) fn new(half: OwnedWriteHalf, watch: Arc<Watch>) -> Arc<Self> {
        let sending = Sending { half, held: Vec::new(), joined: false, failed: None };
        Arc::new(Self { watch, sending: Mutex::new(sending) })
    }

    /// Takes what fits of `bytes` to send it, or to hold it when it belongs to a whole answer: how much.
    pub(crate) fn poll_write(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut sending = self.lock();
        if let Some(error) = sending.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length = bytes.iter().map(|part| part.len()).sum();
        let fits = length <= HELD_BYTES_MAX.saturating_sub(sending.held.len());
        if fits && self.watch.answer_is_whole() && (sending.joined || hold::may_wait()) {
            bytes.iter().for_each(|part| sending.held.extend_from_slice(part));
            let joined = mem::replace(&mut sending.joined, true);
            drop(sending);
            if !joined {
                hold::join(Arc::clone(self));
            }
            return Poll::Ready(Ok(length));
        }
        ready!(sending.poll_release(cx))?;
        match bytes {
            [bytes] => Pin::new(&mut sending.half).poll_write(cx, bytes),
            _ => Pin::new(&mut sending.half).poll_write_vectored(cx, bytes),
        }
    }

    /// Ready when all was sent, or will be.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        if let Some(error) = sending.failed.take() {
            return Poll::Ready(Err(error));
        }
        if sending.joined {
            return Poll::Ready(Ok(()));
        }
        ready!(sending.poll_release(cx))?;
        Pin::new(&mut sending.half).poll_flush(cx)
    }

    /// Sends what is held, and that no more follows.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        ready!(sending.poll_release(cx))?;
        Pin::new(&mut sending.half).poll_shutdown(cx)
    }

    /// Sends what is held, as far as that goes without waiting; otherwise the connection's task is woken for it.
    pub(crate) fn send(&self) {
        let mut sending = self.lock();
        sending.joined = false;
        let held = mem::take(&mut sending.held);
        let sent = if held.is_empty() { Ok(0) } else { sending.half.try_write(&held) };
        let all = matches!(sent, Ok(sent) if sent == held.len());
        sending.held = held;
        match sent {
            Ok(sent) => drop(sending.held.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                sending.held.clear();
                sending.failed = Some(error);
            }
        }
        drop(sending);
        if !all {
            self.watch.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// Sends what is held, waiting for the client to take it.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.half).poll_write(cx, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
