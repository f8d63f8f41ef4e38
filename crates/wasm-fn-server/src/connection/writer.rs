//! Sends what one connection writes: at once, or together with what other connections write.
//!
//! A whole response is corked until its thread has polled the connections that were ready. Their responses
//! then leave in one go. A client on this machine, such as a proxy, is woken once for all of them. The
//! processor's caches hold first the code that answers requests and then the code that sends, instead of both
//! in turn. When no other connection is ready, nothing waits.
//!
//! So a response waits for the requests behind it, and these must not take long: a thread with long polls
//! corks nothing. When a thread is busy for long after all, another one sends what it corked.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};
use wasm_fn_thread::TaskBatch;

use super::{poll_average, refusal, state::ConnectionState};

/// Most bytes that a connection corks; more are not worth a copy.
const CORKED_BYTES_MAX: usize = 4096;

/// Most responses that a thread corks: none waits for more requests than this.
const CORKED_MAX: usize = 32;

thread_local! {
    static CORKED: TaskBatch<Corked> = const { TaskBatch::new(CORKED_MAX) };
}

/// The sending half of a connection's socket.
pub(super) struct CoalescingWriter {
    connection: Arc<ConnectionState>,
    sending: Mutex<Sending>,
}

struct Sending {
    // `None` once the connection is reset.
    half: Option<OwnedWriteHalf>,
    /// Bytes that were accepted but not sent. They go before anything else.
    corked: Vec<u8>,
    /// Whether a batch will send them.
    batched: bool,
    /// The error that sending them met.
    failed: Option<io::Error>,
}

/// A connection that corks a response. It sends the response when this is dropped.
struct Corked(Arc<CoalescingWriter>);

impl Drop for Corked {
    fn drop(&mut self) {
        self.0.send();
    }
}

impl CoalescingWriter {
    /// Sends through `half`, of `connection`.
    pub(super) fn new(half: OwnedWriteHalf, connection: Arc<ConnectionState>) -> Arc<Self> {
        let sending = Sending { half: Some(half), corked: Vec::new(), batched: false, failed: None };
        Arc::new(Self { connection, sending: Mutex::new(sending) })
    }

    /// Accepts as much of `bytes` as fits, and sends it, or corks it if it belongs to a whole response.
    /// Returns how much.
    pub(super) fn poll_write(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut sending = self.lock();
        if let Some(error) = sending.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length = bytes.iter().map(|part| part.len()).sum();
        if let ([head], true) = (bytes, self.connection.refuses_head())
            && let Some(refusal) = refusal::explained(head, &self.connection.partial_head)
        {
            self.connection.flags.set_refused();
            sending.corked.extend_from_slice(&refusal);
            return Poll::Ready(Ok(length));
        }
        let fits = length <= CORKED_BYTES_MAX.saturating_sub(sending.corked.len());
        if fits && self.connection.flags.is_whole() && (sending.batched || poll_average::is_short()) {
            bytes.iter().for_each(|part| sending.corked.extend_from_slice(part));
            let batched = mem::replace(&mut sending.batched, true);
            drop(sending);
            if !batched {
                CORKED.with(|corked| corked.add(Corked(Arc::clone(self)), drop));
            }
            return Poll::Ready(Ok(length));
        }
        ready!(sending.poll_uncork(cx))?;
        match bytes {
            [bytes] => sending.half()?.poll_write(cx, bytes),
            _ => sending.half()?.poll_write_vectored(cx, bytes),
        }
    }

    /// Ready when everything was sent, or will be.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        if let Some(error) = sending.failed.take() {
            return Poll::Ready(Err(error));
        }
        self.connection.flushed();
        if sending.batched {
            return Poll::Ready(Ok(()));
        }
        ready!(sending.poll_uncork(cx))?;
        sending.half()?.poll_flush(cx)
    }

    /// Sends what is corked, and then the end of the stream.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        ready!(sending.poll_uncork(cx))?;
        sending.half()?.poll_shutdown(cx)
    }

    /// Ends the connection with a reset. What the client has not received is lost.
    pub(super) fn reset(&self) {
        if let Some(half) = self.lock().half.take()
            && half.as_ref().set_zero_linger().is_ok()
        {
            // Otherwise it would end the stream first.
            half.forget();
        }
    }

    /// Sends as much of what is corked as goes without waiting. The connection's task is woken for the rest.
    fn send(&self) {
        let mut sending = self.lock();
        sending.batched = false;
        let corked = mem::take(&mut sending.corked);
        let sent =
            if corked.is_empty() { Ok(0) } else { sending.half().and_then(|half| half.try_write(&corked)) };
        let all = matches!(sent, Ok(sent) if sent == corked.len());
        sending.corked = corked;
        match sent {
            Ok(sent) => drop(sending.corked.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                sending.corked.clear();
                sending.failed = Some(error);
            }
        }
        drop(sending);
        if !all {
            self.connection.orders.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    fn half(&mut self) -> io::Result<Pin<&mut OwnedWriteHalf>> {
        self.half.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends what is corked, and waits until the client takes it.
    fn poll_uncork(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.corked.is_empty() {
            let Some(half) = &mut self.half else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let sent = ready!(Pin::new(half).poll_write(cx, &self.corked))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.corked.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
