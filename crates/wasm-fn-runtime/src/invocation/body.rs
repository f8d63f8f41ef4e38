//! The response: whole if the guest gave all of it at once, streamed otherwise.

use std::{
    borrow::BorrowMut,
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use wasm_fn_core::Usage;
use wasmtime_wasi_http::WasiBody;

use super::guest::Guest;
use crate::fault::{Fault, InvocationError};

/// Bytes that are gathered before the head is sent. A response that fits leaves in one write with its length,
/// and a guest that fails before that still gets a proper error.
const GATHER_BYTES_MAX: usize = 64 << 10;

/// Bytes that a guest may still write when nobody reads its body any more.
const DISCARDED_BYTES_MAX: usize = 1 << 20;

/// The body of a guest's response.
pub struct ResponseBody {
    ready: Gathered,
    // Boxed: few responses have any, and each response is moved often.
    trailers: Option<Box<HeaderMap>>,
    /// The guest, while more is to come.
    rest: Option<Box<Rest>>,
    usage: Usage,
}

/// Data in order. Most responses have one piece, which needs no allocation.
#[derive(Default)]
struct Gathered {
    // Invariant: `None` only if `more` is empty.
    first: Option<Bytes>,
    more: VecDeque<Bytes>,
}

struct Rest {
    guest: Guest,
    stream: WasiBody,
}

impl Guest {
    /// Runs the guest until its response is complete or has to wait.
    ///
    /// # Errors
    /// The guest fails before that.
    ///
    /// The future is hardly larger than the guest, since it is moved with each request.
    pub(crate) fn respond(
        self,
    ) -> impl Future<Output = Result<Response<ResponseBody>, InvocationError>> + Send {
        let mut waiting = Some(self);
        poll_fn(move |cx| {
            let head = waiting.as_mut().expect("not polled after its answer").poll_head(cx);
            let head = ready!(head);
            let guest = waiting.take().expect("polled just now");
            let usage = guest.usage();
            Poll::Ready(match head {
                Ok(response) => {
                    let (parts, stream) = response.into_parts();
                    ResponseBody::gather(Rest { guest, stream }, cx)
                        .map(|body| Response::from_parts(parts, body))
                }
                Err(fault) => Err(InvocationError { fault, usage }),
            })
        })
    }
}

impl Gathered {
    fn push(&mut self, data: Bytes) {
        if self.first.is_none() {
            self.first = Some(data);
        } else {
            self.more.push_back(data);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let next = self.more.pop_front();
        mem::replace(&mut self.first, next)
    }

    fn bytes(&self) -> usize {
        self.first.iter().chain(&self.more).map(Bytes::len).sum()
    }
}

impl Rest {
    /// Lets the guest run and takes the next frame.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Poll::Ready(Err(fault)) = self.guest.poll_run(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        match Pin::new(&mut self.stream).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(self.guest.invalid(format!("its body broke off: {error}")))))
            }
            Poll::Ready(frame) => {
                Poll::Ready(frame.map(|frame| frame.map_err(|never| self.guest.invalid(never.to_string()))))
            }
            // After the guest has returned, the body may depend on others. Its time still counts.
            Poll::Pending => self.guest.poll_wait(cx).map(|fault| Some(Err(fault))),
        }
    }

    /// Takes the next frame from `rest`, and records the usage. After the last frame, the guest finishes by
    /// itself.
    fn poll_of<R>(
        rest: &mut Option<R>,
        usage: &mut Usage,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>>
    where
        R: BorrowMut<Self> + Into<Self>,
    {
        let Some(held) = rest.as_mut() else { return Poll::Ready(None) };
        let held = held.borrow_mut();
        let frame = ready!(held.poll_frame(cx));
        *usage = held.guest.usage();
        match &frame {
            Some(Ok(frame)) if !frame.is_trailers() => {}
            // The response is complete, but the guest is not.
            Some(Ok(_)) | None if !held.guest.has_returned() => {
                if let Some(rest) = rest.take() {
                    rest.into().guest.detach();
                }
            }
            _ => *rest = None,
        }
        Poll::Ready(frame)
    }
}

impl Rest {
    /// Discards what the guest still writes, then lets it finish by itself. A guest that writes too much is
    /// cancelled.
    async fn finish(self) {
        let (mut rest, mut usage, mut discarded) = (Some(self), Usage::default(), 0);
        while discarded < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = poll_fn(|cx| Self::poll_of(&mut rest, &mut usage, cx)).await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

impl From<Box<Self>> for Rest {
    fn from(rest: Box<Self>) -> Self {
        *rest
    }
}

impl ResponseBody {
    /// Gathers what `rest` gives without waiting.
    fn gather(rest: Rest, cx: &mut Context<'_>) -> Result<Self, InvocationError> {
        let (mut usage, mut gathered) = (Usage::default(), 0);
        let (mut ready, mut trailers) = (Gathered::default(), None);
        let mut rest = Some(rest);
        while gathered < GATHER_BYTES_MAX
            && let Poll::Ready(Some(frame)) = Rest::poll_of(&mut rest, &mut usage, cx)
        {
            match frame.map_err(|fault| InvocationError { fault, usage })?.into_data() {
                Ok(data) => {
                    gathered += data.len();
                    ready.push(data);
                }
                Err(frame) => trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
        // Boxed only if there is more; most guests are done.
        Ok(Self { ready, trailers, rest: rest.map(Box::new), usage })
    }

    /// Notes that nobody needs the rest of the body. A guest that works on after its response finishes by
    /// itself, until its deadline.
    pub fn complete(&mut self) {
        if let Some(rest) = self.rest.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.usage = rest.guest.usage();
            runtime.spawn(rest.finish());
        }
    }

    /// What the invocation used so far, and in total once the body has ended.
    pub fn usage(&self) -> Usage {
        self.rest.as_ref().map_or(self.usage, |rest| rest.guest.usage())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = InvocationError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvocationError>>> {
        if let Some(data) = self.ready.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        let Self { rest, usage, .. } = &mut *self;
        let frame = ready!(Rest::poll_of(rest, usage, cx));
        let usage = *usage;
        Poll::Ready(frame.map(|frame| frame.map_err(|fault| InvocationError { fault, usage })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.ready.first.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.rest, &self.trailers) {
            (None, None) => SizeHint::with_exact(self.ready.bytes() as u64),
            _ => SizeHint::default(),
        }
    }
}
