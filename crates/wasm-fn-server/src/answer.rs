//! The bodies that go back to clients.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use wasm_fn_core::Outcome;

use crate::{Cause, Failure, InvocationBody, Invoke, Usage, tallying::Tallying, watch::ReaderWait};

/// A guest's body, or a text of ours.
pub(crate) type Answer<V> = Either<Guest<V>, Full<Bytes>>;

pin_project! {
    /// A guest's body, which has its request counted when it ends.
    pub(crate) struct Guest<V: Invoke> {
        #[pin]
        body: V::Body,
        tallying: Tallying<V>,
        // What a complete body counts as.
        complete: Outcome,
        // Bytes that the head still promises.
        promised: Option<u64>,
        // Since the last frame was handed over.
        handed: Option<ReaderWait>,
    }

    impl<V: Invoke> PinnedDrop for Guest<V> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let usage = this.body.usage();
            this.tallying.lose(usage);
        }
    }
}

/// An answer without a body.
pub(crate) fn nothing<V: Invoke>() -> Answer<V> {
    Either::Right(Full::default())
}

/// Why an answer is cut off after its head.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// The invocation failed.
    #[error(transparent)]
    Failed(Failure),
    /// The client sent more than it may.
    #[error("request body grew over its limit")]
    BodyTooLarge,
}

impl<V: Invoke> Guest<V> {
    /// Sends `body`, of which the head promises so many bytes, and counts it as `complete` at its end.
    pub(crate) fn new(
        body: V::Body,
        tallying: Tallying<V>,
        complete: Outcome,
        promised: Option<u64>,
    ) -> Self {
        Self { body, tallying, complete, promised, handed: None }
    }

    /// Whether nothing of it is still to come, and so can fail.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.size_hint().exact().is_some()
    }
}

/// Counts an answer of a version that was recalled, which is cut off.
fn recall<V>(tallying: &mut Tallying<V>, complete: Outcome, usage: Usage) -> Cut {
    let failure = Failure { usage, ..Failure::new(Cause::Recalled, "its answer is cut off") };
    cut_off(tallying, complete, &failure);
    Cut::Failed(failure)
}

/// Counts an answer that failed after its head. What became of one whose head was a failure is counted already.
fn cut_off<V>(tallying: &mut Tallying<V>, complete: Outcome, failure: &Failure) {
    if complete.is_failure() {
        tallying.fail(failure);
    } else {
        tallying.cut_off(failure);
    }
}

impl<V: Invoke> Body for Guest<V> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut this = self.project();
        let handed = this.handed.take();
        let is_first = handed.is_none();
        if let Some(handed) = handed {
            this.tallying.end_reader_wait(handed);
        }
        if !is_first && this.tallying.poll_recalled(cx).is_ready() {
            return Poll::Ready(Some(Err(recall(this.tallying, *this.complete, this.body.usage()))));
        }
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            ready!(this.tallying.poll_recalled(cx));
            return Poll::Ready(Some(Err(recall(this.tallying, *this.complete, this.body.usage()))));
        };
        if this.tallying.body_is_too_large() {
            this.tallying.finish(Cause::BodyTooLarge.outcome(), this.body.usage());
            return Poll::Ready(Some(Err(Cut::BodyTooLarge)));
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
            let failure = Failure::new(Cause::InvalidResponse, "content-length differs from the body");
            Some(Err(Failure { usage: this.body.usage(), ..failure }))
        };
        match frame {
            Some(Ok(frame)) => {
                if frame.is_trailers() || this.body.is_end_stream() || *this.promised == Some(0) {
                    this.tallying.finish(*this.complete, this.body.usage());
                } else {
                    *this.handed = this.tallying.wait_for_reader();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(failure)) => {
                let failure = this.tallying.excuse(failure);
                tracing::debug!(error = %failure, "answer cut off");
                cut_off(this.tallying, *this.complete, &failure);
                Poll::Ready(Some(Err(Cut::Failed(failure))))
            }
            None => {
                this.tallying.finish(*this.complete, this.body.usage());
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
