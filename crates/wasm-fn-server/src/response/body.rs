//! The bodies of responses.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use wasm_fn_core::{Outcome, Usage};

use crate::{
    connection::state::ReaderWait,
    failure::{FailureCause, InvokeFailure},
    invoke::{InvocationBody, Invoke},
    request::run::{RequestRun, RunEnd},
};

/// The body of a guest, or one of ours.
pub(crate) type ResponseBody<V> = Either<GuestAnswer<V>, OwnBody>;

/// A body that no guest gives.
pub(crate) enum OwnBody {
    /// A text.
    Text(Full<Bytes>),
    /// Nothing, although the head of an HTTP/1 response declares this length.
    ///
    /// hyper writes `content-length` only if it is the length of the body. It does not ask a body for frames
    /// if the response cannot have one.
    NothingOf(u64),
}

pin_project! {
    /// The body of a guest. It ends the run of its request.
    pub(crate) struct GuestAnswer<V: Invoke> {
        #[pin]
        body: V::Body,
        run: RequestRun<V>,
        // What the run counts as when the body is complete.
        complete: Outcome,
        // Bytes that the head still promises.
        promised: Option<u64>,
        // Since the last frame was handed over.
        handed: Option<ReaderWait>,
    }

    impl<V: Invoke> PinnedDrop for GuestAnswer<V> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The head's promise is kept, so nobody polls for what may follow.
            if *this.promised == Some(0) {
                this.body.as_mut().complete();
            }
            let usage = this.body.usage();
            this.run.end(RunEnd::Lost(usage));
        }
    }
}

/// An empty body.
pub(crate) fn empty<V: Invoke>() -> ResponseBody<V> {
    Either::Right(OwnBody::Text(Full::default()))
}

/// A body of ours with `text`.
pub(crate) fn own<V: Invoke>(text: Vec<u8>) -> ResponseBody<V> {
    Either::Right(OwnBody::Text(Full::from(text)))
}

/// Why a response is cut off after its head.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutOff {
    /// The invocation failed.
    #[error(transparent)]
    Failed(InvokeFailure),
    /// The client sent more than it may.
    #[error("request body grew over its limit")]
    BodyTooLarge,
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Text(text) => Pin::new(text).poll_frame(cx),
            Self::NothingOf(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::NothingOf(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => text.size_hint(),
            Self::NothingOf(length) => SizeHint::with_exact(*length),
        }
    }
}

impl<V: Invoke> GuestAnswer<V> {
    /// Sends `body`, of which the head promises `promised` bytes. When it is complete, `run` counts as
    /// `complete`.
    pub(crate) fn new(body: V::Body, run: RequestRun<V>, complete: Outcome, promised: Option<u64>) -> Self {
        Self { body, run, complete, promised, handed: None }
    }

    /// Whether all of the body is available, so that it cannot fail.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.size_hint().exact().is_some()
    }
}

/// Ends the run of a canary that was recalled; its response is cut off.
fn recall<V>(run: &mut RequestRun<V>, complete: Outcome, usage: Usage) -> CutOff {
    let failure =
        InvokeFailure { usage, ..InvokeFailure::new(FailureCause::Recalled, "its answer is cut off") };
    cut_off(run, complete, &failure);
    CutOff::Failed(failure)
}

/// Ends a run that failed after its head. If the head was a failure already, the shield has counted that.
fn cut_off<V>(run: &mut RequestRun<V>, complete: Outcome, failure: &InvokeFailure) {
    run.end(if complete.is_failure() { RunEnd::Failed(failure) } else { RunEnd::CutOff(failure) });
}

impl<V: Invoke> Body for GuestAnswer<V> {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let mut this = self.project();
        let handed = this.handed.take();
        let is_first = handed.is_none();
        if let Some(handed) = handed {
            this.run.end_reader_wait(handed);
        }
        if !is_first && this.run.poll_recalled(cx).is_ready() {
            return Poll::Ready(Some(Err(recall(this.run, *this.complete, this.body.usage()))));
        }
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            ready!(this.run.poll_recalled(cx));
            return Poll::Ready(Some(Err(recall(this.run, *this.complete, this.body.usage()))));
        };
        if this.run.body_is_too_large() {
            this.run.end(RunEnd::Refused(FailureCause::BodyTooLarge, this.body.usage()));
            return Poll::Ready(Some(Err(CutOff::BodyTooLarge)));
        }
        let fits = match (&frame, &mut *this.promised) {
            (Some(Ok(frame)), Some(promised)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                promised.checked_sub(bytes).map(|left| *promised = left).is_some()
            }
            (None, Some(promised)) => *promised == 0,
            _ => true,
        };
        let frame = if fits {
            frame
        } else {
            let failure =
                InvokeFailure::new(FailureCause::InvalidResponse, "content-length differs from the body");
            Some(Err(InvokeFailure { usage: this.body.usage(), ..failure }))
        };
        match frame {
            Some(Ok(frame)) => {
                if frame.is_trailers() || this.body.is_end_stream() || *this.promised == Some(0) {
                    this.run.end(RunEnd::Complete(*this.complete, this.body.usage()));
                } else {
                    *this.handed = this.run.wait_for_reader();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(failure)) => {
                let failure = this.run.excuse(failure);
                tracing::debug!(error = %failure, "answer cut off");
                cut_off(this.run, *this.complete, &failure);
                Poll::Ready(Some(Err(CutOff::Failed(failure))))
            }
            None => {
                this.run.end(RunEnd::Complete(*this.complete, this.body.usage()));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.promised.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}
