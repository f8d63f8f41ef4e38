//! A request's body on its way to the guest, and what becomes of it.

mod kept;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{clock, watch::Watch};

pub(crate) use kept::Keeper;
use kept::{Again, Keeping, lock};

/// The body of a request: data and trailers as the client sends them, no faster than they are read.
pub struct RequestBody(Source);

enum Source {
    /// For whoever reads it first and only.
    Client(Inbound),
    /// For a run that may not be the last.
    Kept(Arc<Mutex<Keeping>>),
    /// For the run after that.
    Again(Box<Again>),
}

/// A body as the client sends it.
struct Inbound {
    incoming: Incoming,
    limit: u64,
    left: u64,
    // `None` for a request without a body: nothing can become of it.
    fate: Option<Arc<Fate>>,
    watch: Arc<Watch>,
    ended: bool,
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It grew over the limit.
    #[error("request body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// The client or its connection failed.
    #[error("client broke off the request body")]
    Broken(#[source] hyper::Error),
    /// The request runs again elsewhere, which has the rest.
    #[error("request was taken over by another version")]
    TakenOver,
}

/// What became of a body, for the side that answers.
#[derive(Debug)]
pub(crate) struct Fate {
    end: AtomicU8,
    opened: Instant,
    /// Since when its reader waits for the client: nanoseconds after `opened`, at least 1; 0 while it does not.
    waiting_since: AtomicU64,
    /// How long its reader waited for the client before that, nanoseconds.
    waited: AtomicU64,
}

const TOO_LARGE: u8 = 1;
const BROKEN: u8 = 2;
const COMPLETE: u8 = 3;

impl Fate {
    /// Of a body on a connection that was opened then.
    fn new(opened: Instant) -> Self {
        Self { end: AtomicU8::new(0), opened, waiting_since: AtomicU64::new(0), waited: AtomicU64::new(0) }
    }

    fn is_open(&self) -> bool {
        self.end.load(Ordering::Relaxed) == 0
    }

    /// Whether it grew over the limit.
    pub(crate) fn is_too_large(&self) -> bool {
        self.end.load(Ordering::Relaxed) == TOO_LARGE
    }

    /// Whether the client has sent all of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.end.load(Ordering::Relaxed) == COMPLETE
    }

    /// Whether the client stopped sending.
    pub(crate) fn is_broken(&self) -> bool {
        self.end.load(Ordering::Relaxed) == BROKEN
    }

    /// Whether its reader waits for what the client has not sent yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting_since.load(Ordering::Relaxed) != 0
    }

    /// How long its readers have waited for the client until `now`.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        let before = Duration::from_nanos(self.waited.load(Ordering::Relaxed));
        match self.waiting_since.load(Ordering::Relaxed) {
            0 => before,
            since => before + Duration::from_nanos(self.stamp(now).saturating_sub(since)),
        }
    }

    /// Its reader has asked for more, which the client has not sent. The clock is read only where a wait begins or ends.
    fn begin_wait(&self) {
        if !self.is_awaited() {
            self.waiting_since.store(self.stamp(clock::now()), Ordering::Relaxed);
        }
    }

    /// Its reader got what it asked for.
    fn end_wait(&self) {
        if self.is_awaited() {
            let waited = self.waited(clock::now()).as_nanos();
            self.waited.store(u64::try_from(waited).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.waiting_since.store(0, Ordering::Relaxed);
        }
    }

    fn stamp(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.opened).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }
}

impl RequestBody {
    /// Lets at most `limit` bytes through, on the connection of `watch`.
    pub(crate) fn new(incoming: Incoming, limit: u64, watch: Arc<Watch>) -> Self {
        let ended = incoming.is_end_stream();
        let fate = (!ended).then(|| Arc::new(Fate::new(watch.opened())));
        Self(Source::Client(Inbound { incoming, limit, left: limit, fate, watch, ended }))
    }

    /// What becomes of it, if it comes from the client directly.
    pub(crate) fn fate(&self) -> Option<Arc<Fate>> {
        match &self.0 {
            Source::Client(inbound) => inbound.fate.clone(),
            Source::Kept(_) | Source::Again(_) => None,
        }
    }
}

impl Inbound {
    /// The next of what the client sends. Notes how long it has to be waited for.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Some(fate) = &self.fate {
            if frame.is_pending() { fate.begin_wait() } else { fate.end_wait() }
        }
        frame
    }

    fn become_of(&self, fate: u8) {
        if let Some(shared) = &self.fate {
            shared.end.store(fate, Ordering::Relaxed);
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if !self.ended {
            self.watch.leave_unread();
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size_hint", &self.size_hint()).finish_non_exhaustive()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match &mut self.0 {
            Source::Client(inbound) => Pin::new(inbound).poll_frame(cx),
            Source::Kept(keeping) => lock(keeping).poll_frame(cx),
            Source::Again(again) => again.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Client(inbound) => inbound.is_end_stream(),
            Source::Kept(keeping) => lock(keeping).is_end_stream(),
            Source::Again(again) => again.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Client(inbound) => inbound.size_hint(),
            Source::Kept(keeping) => lock(keeping).size_hint(),
            Source::Again(again) => again.size_hint(),
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        // A guest that reads on after the error gets it again: never a body that looks complete.
        if self.fate.as_ref().is_some_and(|fate| fate.is_too_large()) {
            return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: self.limit })));
        }
        let frame = match ready!(self.poll_client(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.become_of(BROKEN);
                return Poll::Ready(Some(Err(RequestBodyError::Broken(error))));
            }
            None => {
                self.ended = true;
                if self.fate.as_ref().is_some_and(|fate| fate.is_open()) {
                    self.become_of(COMPLETE);
                }
                return Poll::Ready(None);
            }
        };
        self.ended = frame.is_trailers() || self.incoming.is_end_stream();
        if self.ended {
            self.become_of(COMPLETE);
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.become_of(TOO_LARGE);
                Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: self.limit })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream() && !self.fate.as_ref().is_some_and(|fate| fate.is_too_large())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
