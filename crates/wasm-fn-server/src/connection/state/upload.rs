//! The body of the latest HTTP/1 request: whether its client may still be sending it, and who reads it.
//!
//! The next request stands behind the body, so a body must be read to its end. What its reader leaves, the
//! connection reads and discards, within a limit. Where the rest is too long for that, the response announces
//! that the connection closes (RFC 9112, section 9.3).

use std::{
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http_body::Body as _;
use hyper::body::Incoming;

/// Longest rest of known length that is read and discarded although the response could still announce that
/// the connection closes, bytes. A client that learns that need not send the rest.
const DISCARDED_BYTES_MAX: u64 = 1 << 20;

/// The body of the latest HTTP/1 request.
#[derive(Default)]
pub(crate) struct Upload {
    /// Whether the client may still be sending it.
    open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Tells bodies apart: a reader may hold one whose connection has gone on to the next.
    number: u64,
    /// Whether the connection takes another request behind the body.
    keeps: bool,
    /// Whether the client waits for an invitation that only reading gives. It may leave out the body
    /// otherwise, and what it sends next would be taken for it.
    uninvited: bool,
    /// Whether the response's head was given.
    answered: bool,
    /// Whether nobody will read the rest.
    refused: bool,
    rest: Option<UnreadBody>,
}

/// What a reader leaves of a body.
pub(crate) struct UnreadBody {
    pub(crate) incoming: Incoming,
    /// Bytes of it that may be read: its length if that is known, else a limit.
    pub(crate) left: u64,
}

impl Upload {
    /// Whether the client may still be sending the body.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Notes that a request begins. It has no body unless [`receive`](Self::receive) is called.
    pub(super) fn begin(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// Notes that the request has a body. `keeps` says whether the connection takes another request behind
    /// it, `uninvited` whether the client waits for an invitation. Returns the body's number.
    pub(crate) fn receive(&self, keeps: bool, uninvited: bool) -> u64 {
        let mut state = self.lock();
        *state = State { number: state.number + 1, keeps, uninvited, ..State::default() };
        self.open.store(true, Ordering::Relaxed);
        state.number
    }

    /// Notes that the body is read, which invites its client unless the response's head was given.
    pub(crate) fn invite(&self) {
        let mut state = self.lock();
        state.uninvited &= state.answered;
    }

    /// Notes that body `number` was read to its end.
    pub(crate) fn complete(&self, number: u64) {
        let state = self.lock();
        if state.number == number {
            self.open.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that nobody will read the rest of the body, so that the connection must close.
    pub(crate) fn refuse(&self) {
        let mut state = self.lock();
        state.refused = true;
        state.rest = None;
    }

    /// Takes the rest of body `number` from its reader; `None` if it may not be read.
    pub(super) fn leave(&self, number: u64, rest: Option<UnreadBody>) {
        let mut state = self.lock();
        // If there is another request already, all of this body has been received.
        if state.number != number || !self.is_open() {
            return;
        }
        let fits = |rest: &UnreadBody| {
            state.answered
                || rest.incoming.size_hint().exact().is_none_or(|length| length <= DISCARDED_BYTES_MAX)
        };
        match rest {
            Some(rest) if state.keeps && !state.uninvited && fits(&rest) => state.rest = Some(rest),
            _ => state.refused = true,
        }
    }

    /// Notes that the response's head is given, which may announce that the connection `closes`. Returns
    /// whether it must.
    pub(crate) fn answer(&self, closes: bool) -> bool {
        if !self.is_open() {
            return closes;
        }
        let mut state = self.lock();
        state.answered = true;
        let closes = closes || state.refused || state.uninvited;
        if closes {
            // Nothing comes behind the body. A client that waits for the end of the connection gets it.
            state.keeps = false;
            state.rest = None;
        }
        closes
    }

    /// Reads and discards what a reader left. Returns whether that has just ended.
    pub(super) fn discard(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let Some(rest) = &mut state.rest else { return false };
        let complete = loop {
            match Pin::new(&mut rest.incoming).poll_frame(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => break true,
                Poll::Ready(Some(Err(_))) => break false,
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(left) = rest.left.checked_sub(bytes) else { break false };
                    rest.left = left;
                }
            }
        };
        state.rest = None;
        state.refused = !complete;
        self.open.store(!complete, Ordering::Relaxed);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
