//! The shield: a request that a canary failed runs once more, on the version that the canary was to replace.
//!
//! Only before the canary's head was sent, only when it had no effect, and only when all that it read of the
//! body was kept. The second run gets the same head and body, and what is left of the request's time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::time::Sleep;
use wasm_fn_router::{Shielding, Tally};

use crate::{Effects, RequestBody, clock, request_body::Keeper};

/// What a second run of a request needs.
pub(crate) struct Shield {
    head: Head,
    body: Keeper,
    effects: Effects,
    /// When the canary has failed if it has not answered; `None` once that came too late for a second run.
    due: Option<Instant>,
    /// Made when the canary first waits: most never do.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A request's head as it is kept: in a list, which takes less to make than a map, and most canaries do not fail.
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Shield {
    /// Keeps the head and up to `bytes_max` of the body of `request`, which it returns for the canary to read, for the
    /// case that the canary fails, or has not answered at `due`.
    ///
    /// Boxed, for few requests are a canary's and every connection would have room for one.
    pub(crate) fn over(
        request: Request<RequestBody>,
        due: Instant,
        bytes_max: usize,
    ) -> (Box<Self>, Request<RequestBody>) {
        let head = Head::of(&request);
        let (head_of_canary, body) = request.into_parts();
        let (keeper, body) = Keeper::over(body, bytes_max);
        let shield =
            Box::new(Self { head, body: keeper, effects: Effects::default(), due: Some(due), timer: None });
        (shield, Request::from_parts(head_of_canary, body))
    }

    /// Where the canary's effects are noted.
    pub(crate) fn effects(&self) -> Effects {
        self.effects.clone()
    }

    /// Ready once, when the canary has not answered in time and a second run is possible. From then on the canary
    /// can have no effect, and must be dropped. Where none is possible, or the client `is_late` itself, the canary keeps
    /// its full time.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>, is_late: impl FnOnce() -> bool) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        // The clock is read as well as the timer: a guest that never waits keeps the timers' driver from running.
        if clock::now() < due {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
        }
        self.due = None;
        self.timer = None;
        if !is_late() && self.forbid() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The request as it came, for a second run. From now on the canary can have no effect, nor read on.
    ///
    /// # Errors
    /// The canary had an effect or read too much.
    pub(crate) fn take_over(self) -> Result<Request<RequestBody>, Shielding> {
        if !self.body.is_whole() {
            return Err(Shielding::BodyTooLarge);
        }
        if !self.effects.forbid() {
            return Err(Shielding::HadEffect);
        }
        let body = self.body.again().ok_or(Shielding::BodyTooLarge)?;
        Ok(self.head.into_request(body))
    }

    fn forbid(&self) -> bool {
        self.body.is_whole() && self.effects.forbid()
    }
}

/// A second run under way, counted on the version that failed first: by how it ends, or as given up by the client when
/// it is dropped before that.
pub(crate) struct SecondRun(Option<Arc<Tally>>);

impl SecondRun {
    /// One that begins for a failure of the version of `tally`.
    pub(crate) fn begin(tally: Arc<Tally>) -> Self {
        Self(Some(tally))
    }

    /// It has ended.
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

/// When a canary has failed that has not answered a request which came at `arrived`.
pub(crate) fn due(arrived: Instant, after: Duration) -> Instant {
    // A time beyond the clock's end never comes, and neither does one a year away.
    arrived.checked_add(after).unwrap_or(arrived + Duration::from_secs(365 * 86_400))
}
