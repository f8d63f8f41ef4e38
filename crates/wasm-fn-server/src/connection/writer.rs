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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;
use wasm_fn_thread::TaskBatch;

use super::{poll_average, refusal, state::ConnectionState, transport::Sender};

/// Most bytes that a connection corks; more are not worth a copy.
const CORKED_BYTES_MAX: usize = 4096;

/// Most responses that a thread corks: none waits for more requests than this.
const CORKED_MAX: usize = 32;

thread_local! {
    static CORKED: TaskBatch<Corked> = const { TaskBatch::new(CORKED_MAX) };
}

/// The sending side of a connection.
pub(super) struct CoalescingWriter {
    connection: Arc<ConnectionState>,
    sending: Mutex<Sending>,
}

struct Sending {
    // `None` once the connection is reset.
    sender: Option<Sender>,
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
    /// Sends through `sender`, of `connection`.
    pub(super) fn new(sender: Sender, connection: Arc<ConnectionState>) -> Arc<Self> {
        let sending = Sending { sender: Some(sender), corked: Vec::new(), batched: false, failed: None };
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
        sending.sender()?.poll_write(cx, bytes)
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
        sending.sender()?.poll_flush(cx)
    }

    /// Sends what is corked, and then the end of the stream.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sending = self.lock();
        ready!(sending.poll_uncork(cx))?;
        sending.sender()?.poll_shutdown(cx)
    }

    /// Receives, if the sending side does that too.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().sender()?.poll_read(cx, buffer)
    }

    /// The same for what nobody is to read, as it comes from the network.
    pub(super) fn poll_read_raw(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lock().sender()?.poll_read_raw(cx, buffer)
    }

    /// Ends the connection with a reset. What the client has not received is lost.
    pub(super) fn reset(&self) {
        if let Some(sender) = self.lock().sender.take() {
            sender.reset();
        }
    }

    /// Sends as much of what is corked as goes without waiting. The connection's task is woken for the rest.
    fn send(&self) {
        let mut sending = self.lock();
        let Sending { sender, corked, batched, failed } = &mut *sending;
        *batched = false;
        let sent = match sender {
            Some(sender) => sender.try_send(corked),
            None if corked.is_empty() => Ok(true),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let all = sent.unwrap_or_else(|error| {
            corked.clear();
            *failed = Some(error);
            false
        });
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
    fn sender(&mut self) -> io::Result<&mut Sender> {
        self.sender.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends what is corked, and waits until the client takes it.
    fn poll_uncork(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.corked.is_empty() {
            let Some(sender) = &mut self.sender else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let sent = ready!(sender.poll_write(cx, &[IoSlice::new(&self.corked)]))?;
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
