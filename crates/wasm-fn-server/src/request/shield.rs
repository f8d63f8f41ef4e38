//! The shield: if a canary fails, its request runs once more, on the version that the canary is to replace.
//!
//! This happens only before the canary's head was sent, only if the canary had no effect (a delivery may run
//! again after one), and only if all that it read of the body was kept. The second run gets the same head and
//! body, and the rest of the request's time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::time::Sleep;
use wasm_fn_router::{Shielding, Tally};

use super::{
    body::{BodyRecorder, RequestBody},
    effects::EffectGuard,
};
use crate::clock;

/// Everything that a second run of a request needs.
pub(crate) struct Shield {
    head: Head,
    body: BodyRecorder,
    effects: EffectGuard,
    /// When a canary that has not answered counts as failed; `None` once it is too late for a second run.
    due: Option<Instant>,
    /// Made when the canary first waits; most never do.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the request may run again although the canary had an effect.
    repeats_effects: bool,
}

/// The head of a request. A list costs less than a map, and most canaries do not fail.
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Shield {
    /// Keeps the head and up to `bytes_max` of the body of `request`, in case the canary fails or has not
    /// answered at `due`. Returns the request for the canary. With `repeats_effects` the request may run
    /// again after an effect, too.
    ///
    /// Boxed: few requests belong to a canary, and every connection would need room for this.
    pub(crate) fn over(
        request: Request<RequestBody>,
        due: Instant,
        bytes_max: usize,
        repeats_effects: bool,
    ) -> (Box<Self>, Request<RequestBody>) {
        let head = Head::of(&request);
        let (head_of_canary, body) = request.into_parts();
        let (keeper, body) = BodyRecorder::over(body, bytes_max);
        let shield = Box::new(Self {
            head,
            body: keeper,
            effects: EffectGuard::default(),
            due: Some(due),
            timer: None,
            repeats_effects,
        });
        (shield, Request::from_parts(head_of_canary, body))
    }

    /// Records the canary's effects.
    pub(crate) fn effects(&self) -> EffectGuard {
        self.effects.clone()
    }

    /// Ready once, when the canary has not answered in time and a second run is possible. Afterwards the
    /// canary can have no effect and must be dropped. If no second run is possible, or the client itself
    /// `is_late`, the canary keeps its full time.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>, is_late: impl FnOnce() -> bool) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        // This reads the clock as well: a guest that never waits keeps the timer driver from running.
        if clock::now() < due {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
        }
        self.due = None;
        self.timer = None;
        if !is_late() && self.forbid() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The original request, for a second run. From now on the canary can neither have an effect nor read on.
    ///
    /// # Errors
    /// The canary had an effect, or read too much.
    pub(crate) fn take_over(self) -> Result<Request<RequestBody>, Shielding> {
        if !self.body.is_whole() {
            return Err(Shielding::BodyTooLarge);
        }
        if !self.effects.forbid() && !self.repeats_effects {
            return Err(Shielding::HadEffect);
        }
        let body = self.body.replay().ok_or(Shielding::BodyTooLarge)?;
        Ok(self.head.into_request(body))
    }

    fn forbid(&self) -> bool {
        self.body.is_whole() && (self.effects.forbid() || self.repeats_effects)
    }
}

/// A second run. It is counted on the version that failed first, by how it ends. If it is dropped before
/// that, the client has given up.
pub(crate) struct SecondRun(Option<Arc<Tally>>);

impl SecondRun {
    /// Begins a second run after a failure of the version of `tally`.
    pub(crate) fn begin(tally: Arc<Tally>) -> Self {
        Self(Some(tally))
    }

    /// Ends the run.
    pub(crate) fn end(mut self, shielding: Shielding) {
        self.count(shielding);
    }

    fn count(&mut self, shielding: Shielding) {
        if let Some(tally) = self.0.take() {
            tally.shielded(shielding);
        }
    }
}

impl Drop for SecondRun {
    fn drop(&mut self) {
        self.count(Shielding::ClientGone);
    }
}

impl Head {
    fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    fn into_request<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        request.headers_mut().reserve(self.headers.len());
        for (name, value) in self.headers {
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// When a canary counts as failed that has not answered a request from `arrived`.
pub(crate) fn due(arrived: Instant, after: Duration) -> Instant {
    // A time beyond the end of the clock never comes; a year is as good.
    arrived.checked_add(after).unwrap_or(arrived + Duration::from_secs(365 * 86_400))
}
