//! A body that is kept while it is read, so that it can be read again.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{Inbound, RequestBody, RequestBodyError, Source};

/// Keeps what is read of a body until it is dropped.
pub(crate) struct Keeper {
    // `None` for a body without content.
    keeping: Option<Arc<Mutex<Keeping>>>,
}

/// A body, and all that was read of it.
pub(super) struct Keeping {
    // `None` once it was taken for the second run.
    inbound: Option<Inbound>,
    // Copied: a slice would hold on to the connection's whole buffer.
    data: BytesMut,
    trailers: Option<HeaderMap>,
    // Bytes that may be kept yet; `None` once something was read that is not kept.
    room: Option<usize>,
}

/// A body from its beginning: what was kept, then the rest from the client.
pub(super) struct Again {
    data: Bytes,
    trailers: Option<HeaderMap>,
    // `None` for a body without content.
    rest: Option<Inbound>,
}

/// Locks; nothing panics while it holds the lock but the connection itself.
pub(super) fn lock(keeping: &Mutex<Keeping>) -> MutexGuard<'_, Keeping> {
    keeping.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Keeps what is read of the body that it returns, as long as that is at most `bytes_max` bytes, trailers
    /// included.
    pub(crate) fn over(body: RequestBody, bytes_max: usize) -> (Self, RequestBody) {
        match body.0 {
            Source::Client(inbound) if !inbound.ended => {
                let (data, trailers, room) = (BytesMut::new(), None, Some(bytes_max));
                let keeping = Keeping { inbound: Some(inbound), data, trailers, room };
                let keeping = Arc::new(Mutex::new(keeping));
                (Self { keeping: Some(Arc::clone(&keeping)) }, RequestBody(Source::Kept(keeping)))
            }
            source => (Self { keeping: None }, RequestBody(source)),
        }
    }

    /// Whether all that was read is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.keeping.as_ref().is_none_or(|keeping| lock(keeping).room.is_some())
    }

    /// The body from its beginning, of which the other reader gets no more; `None` when not all is kept.
    pub(crate) fn again(self) -> Option<RequestBody> {
        let again = match &self.keeping {
            None => Again { data: Bytes::new(), trailers: None, rest: None },
            Some(keeping) => {
                let mut keeping = lock(keeping);
                keeping.room?;
                let data = std::mem::take(&mut keeping.data).freeze();
                Again { data, trailers: keeping.trailers.take(), rest: keeping.inbound.take() }
            }
        };
        Some(RequestBody(Source::Again(Box::new(again))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(keeping) = &self.keeping {
            lock(keeping).give_up();
        }
    }
}

impl Keeping {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(inbound) = &mut self.inbound else {
            return Poll::Ready(Some(Err(RequestBodyError::TakenOver)));
        };
        let frame = ready!(Pin::new(inbound).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.keep(frame);
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(room) = self.room else { return };
        let bytes = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len(),
            (None, Some(trailers)) => {
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
            }
            (None, None) => 0,
        };
        let Some(room) = room.checked_sub(bytes) else { return self.give_up() };
        self.room = Some(room);
        if let Some(data) = frame.data_ref() {
            self.data.extend_from_slice(data);
        }
        self.trailers = frame.trailers_ref().cloned();
    }

    fn give_up(&mut self) {
        self.room = None;
        self.data = BytesMut::new();
        self.trailers = None;
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.inbound.as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.inbound.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

impl Again {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        // Trailers are the last of a body.
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let ended = self.rest.as_ref().is_none_or(http_body::Body::is_end_stream);
        ended && self.data.is_empty() && self.trailers.is_none()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let kept = self.data.len() as u64;
        let Some(rest) = &self.rest else { return SizeHint::with_exact(kept) };
        let rest = rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(kept.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(kept.saturating_add(upper));
        }
        hint
    }
}
