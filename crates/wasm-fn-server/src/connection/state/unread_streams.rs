//! What readers leave of the bodies of HTTP/2 requests.
//!
//! The connection reads and discards what is on its way, so that the streams end in order. Otherwise h2
//! resets a stream, which RFC 9113, section 8.1 allows after the response. Some clients then drop the
//! response.

use std::{
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body::Body as _;
use tokio::time::{Sleep, sleep_until};

use super::upload::UnreadBody;
use crate::clock;

/// Longest rest of known length that is read and discarded, bytes. A client may have sent that much before it
/// learns of larger windows (RFC 9113, section 6.9.2). It should not send more for nothing.
const DISCARDED_BYTES_MAX: u64 = 64 << 10;

/// A body of which nothing arrives for so long is not on its way.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// The bodies of HTTP/2 requests that nobody reads any more. There are no more than a connection has streams.
#[derive(Default)]
pub(crate) struct UnreadStreams {
    any: AtomicBool,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    bodies: Vec<LeftBody>,
    /// Wakes the task when a body has been silent for too long.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A body, and when something of it arrived last.
struct LeftBody {
    rest: UnreadBody,
    heard: Instant,
}

impl UnreadStreams {
    /// Takes what a reader leaves, unless that is known to be long.
    pub(super) fn leave(&self, rest: UnreadBody) {
        if rest.incoming.size_hint().exact().is_none_or(|length| length <= DISCARDED_BYTES_MAX) {
            self.lock().bodies.push(LeftBody { rest, heard: clock::now() });
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there are any.
    pub(super) fn are_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Reads and discards what has arrived. Gives up bodies that are silent.
    pub(super) fn discard(&self, cx: &mut Context<'_>) {
        let mut left = self.lock();
        let Left { bodies, timer } = &mut *left;
        let now = clock::now();
        bodies.retain_mut(|body| body.discard(cx, now));
        let Some(due) = bodies.iter().map(|body| body.heard + SILENCE_MAX).min() else {
            *timer = None;
            self.any.store(false, Ordering::Relaxed);
            return;
        };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        timer.as_mut().reset(due.into());
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Gives up all of them.
    pub(super) fn give_up(&self) {
        *self.lock() = Left::default();
        self.any.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeftBody {
    /// Reads what has arrived until `now`. Returns whether more may come.
    fn discard(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        loop {
            match Pin::new(&mut self.rest.incoming).poll_frame(cx) {
                Poll::Pending => return now < self.heard + SILENCE_MAX,
                Poll::Ready(Some(Ok(frame))) => {
                    self.heard = now;
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match self.rest.left.checked_sub(bytes) {
                        Some(left) => self.rest.left = left,
                        None => return false,
                    }
                }
                Poll::Ready(_) => return false,
            }
        }
    }
}
