//! The response: whole when the guest gave all of it at once, otherwise as it comes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::WasiBody;

use super::Guest;
use crate::fault::{Failed, Fault, Usage};

/// Bytes gathered before the head is sent. A response that fits leaves in one write with its length;
/// a guest that fails before giving as much still gets a proper error.
const GATHER_BYTES_MAX: usize = 64 << 10;

/// The body of a guest's response.
pub struct ResponseBody {
    ready: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// The guest, as long as more is to come.
    rest: Option<Box<Rest>>,
    usage: Usage,
}

struct Rest {
    guest: Guest,
    stream: WasiBody,
}

impl Guest {
    /// Runs the guest until its response is complete or has to wait.
    ///
    /// # Errors
    /// When the guest fails before.
    ///
    /// The future is hardly larger than the guest: it moves with each request.
    pub(crate) fn respond(self) -> impl Future<Output = Result<Response<ResponseBody>, Failed>> + Send {
        let mut waiting = Some(self);
        poll_fn(move |cx| {
            let head = waiting.as_mut().expect("not polled after its answer").poll_head(cx);
            let head = ready!(head);
            let guest = waiting.take().expect("polled just now");
            let usage = guest.usage();
            let (parts, stream) = match head {
                Ok(response) => response.into_parts(),
                Err(fault) => return Poll::Ready(Err(Failed { fault, usage })),
            };
            let rest = Some(Box::new(Rest { guest, stream }));
            let mut body = ResponseBody { ready: VecDeque::new(), trailers: None, usage, rest };
            Poll::Ready(match body.gather(cx) {
                Ok(()) => Ok(Response::from_parts(parts, body)),
                Err(fault) => Err(Failed { fault, usage: body.usage() }),
            })
        })
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
            // The body may depend on others when the guest has returned: its time still counts.
            Poll::Pending => self.guest.poll_wait(cx).map(|fault| Some(Err(fault))),
        }
    }
}

impl ResponseBody {
    /// What the invocation used so far; all of it once the body has ended.
    pub fn usage(&self) -> Usage {
        self.rest.as_ref().map_or(self.usage, |rest| rest.guest.usage())
    }

    /// Takes what is there without waiting.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let mut gathered = 0;
        while gathered < GATHER_BYTES_MAX
            && let Poll::Ready(Some(frame)) = self.poll_rest(cx)
        {
            match frame?.into_data() {
                Ok(data) => {
                    gathered += data.len();
                    self.ready.push_back(data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(())
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        self.usage = rest.guest.usage();
        match &frame {
            Some(Ok(frame)) if frame.is_trailers() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.rest = None,
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    /// The response is complete.
    fn finish(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.guest.detach();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        if let Some(data) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(self.poll_rest(cx));
        let usage = self.usage;
        Poll::Ready(frame.map(|frame| frame.map_err(|fault| Failed { fault, usage })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.ready.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.iter().map(|data| data.len() as u64).sum();
        match (&self.rest, &self.trailers) {
            (None, None) => SizeHint::with_exact(ready),
            _ => SizeHint::default(),
        }
    }
}
