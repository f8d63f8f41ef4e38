//! The shield: a request that a canary failed runs once more, on the version that the canary was to replace.
//!
//! Only before the canary's head was sent, only when it had no effect, and only when all that it read of the
//! body was kept. The second run gets the same head and body, and what is left of the request's time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{Request, request::Parts};
use tokio::time::Sleep;
use wasm_fn_router::HeldVersion;

use crate::{Effects, RequestBody, clock, request_body::Keeper};

/// What a second run of a request needs.
pub(crate) struct Shield<V> {
    fallback: HeldVersion<V>,
    head: Parts,
    body: Keeper,
    effects: Effects,
    /// When the canary has failed if it has not answered; `None` once that came too late for a second run.
    due: Option<Instant>,
    /// Made when the canary first waits: most never do.
    timer: Option<Pin<Box<Sleep>>>,
}

/// A request that runs again, and on which version.
pub(crate) struct SecondRun<V> {
    pub(crate) version: HeldVersion<V>,
    pub(crate) request: Request<RequestBody>,
}

impl<V> Shield<V> {
    /// Keeps up to `bytes_max` of the body of `request`, which it returns for the canary to read; `fallback` takes
    /// it over when the canary fails, or has not answered at `due`.
    pub(crate) fn over(
        request: Request<RequestBody>,
        fallback: HeldVersion<V>,
        due: Instant,
        bytes_max: usize,
    ) -> (Self, Request<RequestBody>) {
        let (head, body) = request.into_parts();
        let (keeper, body) = Keeper::over(body, bytes_max);
        let request = Request::from_parts(head.clone(), body);
        let effects = Effects::default();
        (Self { fallback, head, body: keeper, effects, due: Some(due), timer: None }, request)
    }

    /// Where the canary's effects are noted.
    pub(crate) fn effects(&self) -> Effects {
        self.effects.clone()
    }

    /// Ready once, when the canary has not answered in time and a second run is possible. From then on the canary
    /// can have no effect, and must be dropped. Where none is possible, the canary keeps its full time.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        // The clock is read as well as the timer: a guest that never waits keeps the timers' driver from running.
        if clock::now() < due {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
        }
        self.due = None;
        self.timer = None;
        if self.forbid() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The second run; `None` when the canary had an effect or read too much. Otherwise it can have no effect from
    /// now on, nor read on.
    pub(crate) fn take_over(self) -> Option<SecondRun<V>> {
        if !self.forbid() {
            return None;
        }
        let request = Request::from_parts(self.head, self.body.again()?);
        Some(SecondRun { version: self.fallback, request })
    }

    fn forbid(&self) -> bool {
        self.body.is_whole() && self.effects.forbid()
    }
}

/// When a canary has failed that has not answered a request which came at `arrived`.
pub(crate) fn due(arrived: Instant, after: Duration) -> Instant {
    // A time beyond the clock's end never comes, and neither does one a year away.
    arrived.checked_add(after).unwrap_or(arrived + Duration::from_secs(365 * 86_400))
}
