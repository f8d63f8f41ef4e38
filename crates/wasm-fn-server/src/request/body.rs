//! The body of a request, and how far the client has sent it.

mod replay;

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
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::framing;
use crate::{
    clock,
    connection::state::{ConnectionState, UnreadBody},
};

pub(crate) use replay::BodyRecorder;
use replay::{Recording, Replay, lock};

/// The body of a request: data and trailers from the client, received no faster than they are read.
pub struct RequestBody(BodySource);

enum BodySource {
    /// For the only run.
    Client(Inbound),
    /// For a run that may not be the last.
    Recorded(Arc<Mutex<Recording>>),
    /// For the second run, or for a delivery.
    Replay(Box<Replay>),
}

/// A body from the client.
struct Inbound {
    // `None` once this is dropped.
    incoming: Option<Incoming>,
    limit: u64,
    left: u64,
    // `None` for a request without a body.
    progress: Option<Arc<BodyProgress>>,
    connection: Arc<ConnectionState>,
    // `None` for HTTP/2 and for a request without a body.
    upload: Option<UploadShare>,
    ended: bool,
}

/// The reader's share in the body of an HTTP/1 request.
struct UploadShare {
    number: u64,
    // Whether nothing was read yet of a body for which the client waits to be invited.
    uninvited: bool,
}

/// Why a request body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It is longer than the limit.
    #[error("request body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// The client or its connection failed.
    #[error("client broke off the request body")]
    Broken(#[source] hyper::Error),
    /// The request runs again on another version, which gets the rest.
    #[error("request was taken over by another version")]
    TakenOver,
}

/// How far the client has sent a body, for the code that answers.
#[derive(Debug)]
pub(crate) struct BodyProgress {
    end: AtomicU8,
    opened: Instant,
    /// Since when the reader waits for the client: nanoseconds after `opened`, at least 1; 0 while it does
    /// not.
    waiting_since: AtomicU64,
    /// How long the reader waited for the client before that, nanoseconds.
    waited: AtomicU64,
}

const TOO_LARGE: u8 = 1;
const BROKEN: u8 = 2;
const COMPLETE: u8 = 3;

impl BodyProgress {
    /// The progress of a body on a connection from `opened`.
    fn new(opened: Instant) -> Self {
        Self { end: AtomicU8::new(0), opened, waiting_since: AtomicU64::new(0), waited: AtomicU64::new(0) }
    }

    fn is_open(&self) -> bool {
        self.end.load(Ordering::Relaxed) == 0
    }

    /// Whether the body is longer than the limit.
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

    /// Whether the reader waits for the client.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting_since.load(Ordering::Relaxed) != 0
    }

    /// How long readers have waited for the client until `now`.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        let before = Duration::from_nanos(self.waited.load(Ordering::Relaxed));
        match self.waiting_since.load(Ordering::Relaxed) {
            0 => before,
            since => before + Duration::from_nanos(self.stamp(now).saturating_sub(since)),
        }
    }

    /// Notes that the reader wants data that the client has not sent. The clock is read only when a wait
    /// begins or ends.
    fn begin_wait(&self) {
        if !self.is_awaited() {
            self.waiting_since.store(self.stamp(clock::now()), Ordering::Relaxed);
        }
    }

    /// Notes that the reader got its data.
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
    /// A body that is here already.
    pub(crate) fn whole(data: Bytes) -> Self {
        Self(BodySource::Replay(Box::new(Replay::of(data))))
    }

    /// The body of the request with `head`, of at most `limit` bytes, from `connection`.
    pub(crate) fn new(
        incoming: Incoming,
        head: &Parts,
        limit: u64,
        connection: Arc<ConnectionState>,
    ) -> Self {
        let ended = incoming.is_end_stream();
        let progress = (!ended).then(|| Arc::new(BodyProgress::new(connection.timing.opened())));
        let upload = (!ended && !connection.flags.is_http2()).then(|| {
            let uninvited = framing::expects_continue(&head.headers);
            let number = connection.upload.receive(framing::keeps_connection(head), uninvited);
            UploadShare { number, uninvited }
        });
        let incoming = Some(incoming);
        Self(BodySource::Client(Inbound {
            incoming,
            limit,
            left: limit,
            progress,
            connection,
            upload,
            ended,
        }))
    }

    /// The progress of the body, if it comes from the client directly.
    pub(crate) fn progress(&self) -> Option<Arc<BodyProgress>> {
        match &self.0 {
            BodySource::Client(inbound) => inbound.progress.clone(),
            BodySource::Recorded(_) | BodySource::Replay(_) => None,
        }
    }
}

impl Inbound {
    /// The next frame from the client. Measures how long the reader waits for it.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = Pin::new(incoming).poll_frame(cx);
        if let Some(progress) = &self.progress {
            if frame.is_pending() { progress.begin_wait() } else { progress.end_wait() }
        }
        if let Some(upload) = &mut self.upload
            && upload.uninvited
        {
            upload.uninvited = false;
            self.connection.upload.invite();
        }
        frame
    }

    /// Whether the client has sent all of it, and all of that was read.
    fn is_complete(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn is_too_large(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.is_too_large())
    }

    fn set_end(&mut self, end: u8) {
        if let Some(progress) = &self.progress {
            progress.end.store(end, Ordering::Relaxed);
        }
        self.ended = end == COMPLETE;
        if let (true, Some(upload)) = (self.ended, &self.upload) {
            self.connection.upload.complete(upload.number);
        }
    }

    /// The rest, if it can be read and is not too long.
    fn unread(&mut self) -> Option<UnreadBody> {
        if self.progress.as_ref().is_some_and(|progress| !progress.is_open()) {
            return None;
        }
        let incoming = self.incoming.take()?;
        let left = incoming.size_hint().exact().unwrap_or(self.left);
        Some(UnreadBody { incoming, left })
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let rest = self.unread();
        match (&self.upload, rest) {
            (Some(upload), rest) => self.connection.leave_body(upload.number, rest),
            (None, Some(rest)) => self.connection.leave_stream(rest),
            (None, None) => {}
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
            BodySource::Client(inbound) => Pin::new(inbound).poll_frame(cx),
            BodySource::Recorded(recording) => lock(recording).poll_frame(cx),
            BodySource::Replay(replay) => replay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodySource::Client(inbound) => inbound.is_end_stream(),
            BodySource::Recorded(recording) => lock(recording).is_end_stream(),
            BodySource::Replay(replay) => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodySource::Client(inbound) => inbound.size_hint(),
            BodySource::Recorded(recording) => lock(recording).size_hint(),
            BodySource::Replay(replay) => replay.size_hint(),
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
        // A guest that reads on after the error gets it again. The body must never look complete.
        if self.is_too_large() {
            return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: self.limit })));
        }
        let frame = match ready!(self.poll_client(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.set_end(BROKEN);
                return Poll::Ready(Some(Err(RequestBodyError::Broken(error))));
            }
            None => {
                if !self.ended && self.progress.as_ref().is_some_and(|progress| progress.is_open()) {
                    self.set_end(COMPLETE);
                }
                return Poll::Ready(None);
            }
        };
        if frame.is_trailers() || self.is_complete() {
            self.set_end(COMPLETE);
        }
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.set_end(TOO_LARGE);
                Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: self.limit })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_complete() && !self.is_too_large()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
