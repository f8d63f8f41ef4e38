//! A request's body on its way to the guest, and what becomes of it.

mod kept;

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::watch::Watch;

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
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicU8);

const TOO_LARGE: u8 = 1;
const BROKEN: u8 = 2;
const COMPLETE: u8 = 3;

impl Fate {
    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether it grew over the limit.
    pub(crate) fn is_too_large(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TOO_LARGE
    }

    /// Whether the client has sent all of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Relaxed) == COMPLETE
    }

    /// Whether the client stopped sending.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed) == BROKEN
    }
}

impl RequestBody {
    /// Lets at most `limit` bytes through, on the connection of `watch`.
    pub(crate) fn new(incoming: Incoming, limit: u64, watch: Arc<Watch>) -> Self {
        let ended = incoming.is_end_stream();
        let fate = (!ended).then(Arc::default);
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
    fn become_of(&self, fate: u8) {
        if let Some(shared) = &self.fate {
            shared.0.store(fate, Ordering::Relaxed);
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
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
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
