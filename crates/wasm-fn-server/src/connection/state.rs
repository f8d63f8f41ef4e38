//! The state of a connection, as seen from outside its protocol: its times, its properties, and what the
//! server wants of it.
//!
//! Requests only store to it. The connection's timer reads it now and then, so no request touches a timer.

mod flags;
mod order;
mod partial_head;
mod timing;
mod unread_streams;
mod upload;

use std::{
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use crate::{clock, options::ServerOptions};

use flags::Flags;
pub(crate) use order::Order;
use order::Orders;
pub(crate) use partial_head::PartialHead;
pub(crate) use timing::CloseReason;
use timing::Timing;
use unread_streams::UnreadStreams;
pub(crate) use upload::UnreadBody;
use upload::Upload;

/// The state of one connection. Its task, its requests and the server share it.
pub(crate) struct ConnectionState {
    pub(crate) timing: Timing,
    pub(crate) flags: Flags,
    pub(crate) upload: Upload,
    unread_streams: UnreadStreams,
    pub(crate) partial_head: PartialHead,
    pub(crate) orders: Orders,
}

/// A request that was received and has not ended. It ends when this is dropped.
pub(crate) struct InFlight {
    connection: Arc<ConnectionState>,
    ended: Option<Instant>,
}

/// A frame that was handed to the connection, until the client has made room for the next one.
pub(crate) struct ReaderWait {
    connection: Arc<ConnectionState>,
    number: u64,
    since: Instant,
}

impl ConnectionState {
    /// A connection accepted at `opened`, under `order`.
    pub(crate) fn new(opened: Instant, order: Order) -> Self {
        Self {
            timing: Timing::new(opened),
            flags: Flags::default(),
            upload: Upload::default(),
            unread_streams: UnreadStreams::default(),
            partial_head: PartialHead::default(),
            orders: Orders::new(order),
        }
    }

    /// When the task can have begun to work on the request whose head is now complete: when it was polled, or
    /// when the request before ended. Streams of HTTP/2 overlap, so they read the clock.
    pub(crate) fn moment(&self) -> Instant {
        if self.flags.is_http2() { clock::now() } else { self.timing.moment() }
    }

    /// Notes that the poll of the connection's task ends.
    pub(crate) fn pause(&self) {
        if !self.timing.is_measured() {
            self.timing.measure(clock::now());
        }
    }

    /// Notes that `bytes` arrived in the current poll.
    pub(crate) fn received(&self, bytes: &[u8]) {
        if !self.flags.is_http2()
            && !self.upload.is_open()
            && let Some(begins) = self.timing.received()
        {
            self.partial_head.see(bytes, begins);
        }
    }

    /// Whether what HTTP/1 sends now is no response of ours, but one to a head that hyper refuses.
    pub(crate) fn refuses_head(&self) -> bool {
        !self.flags.is_http2() && !self.flags.is_answering() && !self.timing.is_busy()
    }

    /// Notes that everything that was given to HTTP/1 was sent.
    pub(crate) fn flushed(&self) {
        if self.flags.is_answering() && !self.timing.is_busy() {
            self.flags.set_answering(false);
        }
    }

    /// Whether the connection ends before the response to HTTP/1.0 that its end would complete.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.flags.is_http10() && (self.flags.is_cut() || self.timing.is_busy())
    }

    /// Takes the rest of body `number`, which its reader leaves unread, and wakes the task to discard it;
    /// `None` if the rest may not be read.
    pub(crate) fn leave_body(&self, number: u64, rest: Option<UnreadBody>) {
        self.upload.leave(number, rest);
        self.orders.wake();
    }

    /// Takes the rest of the body of an HTTP/2 request, which its reader leaves unread, and wakes the task to
    /// discard it.
    pub(crate) fn leave_stream(&self, rest: UnreadBody) {
        self.unread_streams.leave(rest);
        self.orders.wake();
    }

    /// Reads and discards what readers left of bodies.
    pub(crate) fn discard_bodies(&self, cx: &mut Context<'_>) {
        if self.upload.is_open() && self.upload.discard(cx) {
            self.timing.ended(clock::now());
        }
        if self.unread_streams.are_any() {
            if self.orders.current() >= Order::Drain {
                self.unread_streams.give_up();
            } else {
                self.unread_streams.discard(cx);
            }
        }
    }

    /// When the connection is overdue if nothing changes, and why; `None` while guests work. `draining` is
    /// the start of a drain.
    pub(crate) fn due(
        &self,
        options: &ServerOptions,
        draining: Option<Instant>,
    ) -> Option<(Instant, CloseReason)> {
        self.timing.due(options, draining, self.upload.is_open())
    }

    /// Notes that the head of a request is complete.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.timing.begin();
        self.upload.begin();
        InFlight { connection: Arc::clone(self), ended: None }
    }

    /// Notes that a frame goes to the connection. Its response waits until the client has made room for more.
    pub(crate) fn wait_for_reader(self: &Arc<Self>) -> ReaderWait {
        let since = clock::now();
        let number = self.timing.begin_wait(since);
        ReaderWait { connection: Arc::clone(self), number, since }
    }
}

impl InFlight {
    /// The connection of the request.
    pub(crate) fn connection(&self) -> &Arc<ConnectionState> {
        &self.connection
    }

    /// Ends the request at `at`, for callers that have read the clock already.
    pub(crate) fn end(mut self, at: Instant) {
        self.ended = Some(at);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let at = self.ended.unwrap_or_else(clock::now);
        let ConnectionState { timing, flags, .. } = &*self.connection;
        // Streams of HTTP/2 have tasks of their own.
        if !flags.is_http2() {
            timing.advance(at);
            timing.measure(at);
        }
        timing.end(at);
    }
}

impl ReaderWait {
    /// Ends the wait, since the client has made room for more. Returns how long that took.
    pub(crate) fn end(self) -> Duration {
        clock::now().saturating_duration_since(self.since)
    }
}

impl Drop for ReaderWait {
    fn drop(&mut self) {
        self.connection.timing.end_wait(self.number);
    }
}

#[cfg(test)]
mod tests;
