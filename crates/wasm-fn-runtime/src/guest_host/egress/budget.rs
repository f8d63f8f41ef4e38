//! What the outgoing requests of one invocation use together.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use super::policy::EgressPolicy;
use crate::guest_host::logs::Served;

/// What the outgoing requests of one invocation have used.
pub(super) struct Budget {
    policy: Arc<EgressPolicy>,
    /// The invocation, for the log.
    served: Served,
    requests: AtomicU32,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    /// Whether the log says that a limit was reached.
    is_logged: AtomicBool,
}

impl Budget {
    pub(super) fn new(policy: Arc<EgressPolicy>, served: Served) -> Self {
        Self {
            policy,
            served,
            requests: AtomicU32::new(0),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
        }
    }

    /// Counts one more request.
    ///
    /// # Errors
    /// The invocation has sent as many as it may.
    pub(super) fn begin(&self) -> Result<(), Error> {
        let max = self.policy.limits.requests;
        let counted =
            self.requests.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1));
        if counted.is_err() {
            self.log(&format!("more than {max} outgoing requests (`egress_requests`)"));
            return Err(Error::ConnectionLimitReached);
        }
        Ok(())
    }

    fn send(&self, bytes: usize) -> Result<(), Error> {
        let max = self.policy.limits.bytes;
        if add(&self.sent_bytes, bytes) > max {
            self.log(&format!("more than {max} bytes sent (`egress_bytes`)"));
            return Err(Error::HttpRequestBodySize(Some(max)));
        }
        Ok(())
    }

    /// Counts bytes of a response's body.
    ///
    /// # Errors
    /// The invocation has received more than it may.
    pub(super) fn receive(&self, bytes: usize) -> Result<(), Error> {
        let max = self.policy.limits.bytes;
        if add(&self.received_bytes, bytes) > max {
            self.log(&format!("more than {max} bytes received (`egress_bytes`)"));
            return Err(Error::HttpResponseBodySize(Some(max)));
        }
        Ok(())
    }

    /// Logs once that a limit is reached. The guest may go on and reach it again, as often as it likes.
    fn log(&self, what: &str) {
        if !self.is_logged.swap(true, Relaxed) {
            self.policy.log_denied(self.served, what);
        }
    }
}

/// Adds `bytes` to `count`. Returns the sum.
fn add(count: &AtomicU64, bytes: usize) -> u64 {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    count.fetch_add(bytes, Relaxed).saturating_add(bytes)
}

/// The body of a request, whose bytes are counted.
pub(super) struct CountedBody {
    pub(super) body: WasiBody,
    pub(super) budget: Arc<Budget>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(polled.map(|frame| {
            let frame = frame?;
            self.budget.send(frame.data_ref().map_or(0, Bytes::len))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
