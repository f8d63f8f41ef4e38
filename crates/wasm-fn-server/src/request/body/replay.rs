//! Records a body while it is read, so that it can be read again.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{BodySource, Inbound, RequestBody, RequestBodyError};

/// Records what is read of a body until this is dropped.
pub(crate) struct BodyRecorder {
    // `None` for a body that needs no recording.
    recording: Option<Arc<Mutex<Recording>>>,
    // What such a body consists of.
    whole: Bytes,
}

/// A body, and everything that was read of it.
pub(super) struct Recording {
    // `None` once the second run has it.
    inbound: Option<Inbound>,
    // A copy: a slice would keep the whole buffer of the connection.
    data: BytesMut,
    trailers: Option<HeaderMap>,
    // Bytes that may still be recorded; `None` once the recording is incomplete.
    room: Option<usize>,
}

/// A body from its beginning: first the recording, then the rest from the client.
pub(super) struct Replay {
    data: Bytes,
    trailers: Option<HeaderMap>,
    // `None` for a body without content.
    rest: Option<Inbound>,
}

/// Locks a recording. Only the connection itself can panic while it holds the lock.
pub(super) fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BodyRecorder {
    /// Records what is read of the returned body, up to `bytes_max` bytes with trailers.
    pub(crate) fn over(body: RequestBody, bytes_max: usize) -> (Self, RequestBody) {
        match body.0 {
            BodySource::Client(inbound) if !inbound.ended => {
                let (data, trailers, room) = (BytesMut::new(), None, Some(bytes_max));
                let recording = Recording { inbound: Some(inbound), data, trailers, room };
                let recording = Arc::new(Mutex::new(recording));
                (
                    Self { recording: Some(Arc::clone(&recording)), whole: Bytes::new() },
                    RequestBody(BodySource::Recorded(recording)),
                )
            }
            source => {
                let whole = match &source {
                    BodySource::Replay(replay) => replay.data.clone(),
                    BodySource::Client(_) | BodySource::Recorded(_) => Bytes::new(),
                };
                (Self { recording: None, whole }, RequestBody(source))
            }
        }
    }

    /// Whether everything that was read is recorded.
    pub(crate) fn is_whole(&self) -> bool {
        self.recording.as_ref().is_none_or(|recording| lock(recording).room.is_some())
    }

    /// The body from its beginning; `None` when the recording is incomplete. The first reader gets no more of
    /// it.
    pub(crate) fn replay(self) -> Option<RequestBody> {
        let replay = match &self.recording {
            None => Replay::of(self.whole.clone()),
            Some(recording) => {
                let mut recording = lock(recording);
                recording.room?;
                let data = std::mem::take(&mut recording.data).freeze();
                Replay { data, trailers: recording.trailers.take(), rest: recording.inbound.take() }
            }
        };
        Some(RequestBody(BodySource::Replay(Box::new(replay))))
    }
}

impl Drop for BodyRecorder {
    fn drop(&mut self) {
        if let Some(recording) = &self.recording {
            lock(recording).give_up();
        }
    }
}

impl Recording {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Some(inbound) = &mut self.inbound else {
            return Poll::Ready(Some(Err(RequestBodyError::TakenOver)));
        };
        let frame = ready!(Pin::new(inbound).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.record(frame);
        }
        Poll::Ready(frame)
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
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

impl Replay {
    /// A body of `data` alone.
    pub(super) fn of(data: Bytes) -> Self {
        Self { data, trailers: None, rest: None }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        // Trailers end a body.
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
