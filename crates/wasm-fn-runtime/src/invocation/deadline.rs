//! The deadline of an invocation.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use crate::clock;

/// The moment at which an invocation is cut off.
pub(crate) struct Deadline {
    at: Instant,
    /// Whether little time was left when there was code to run.
    is_short: bool,
    /// Made when the guest first waits; most never do.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, is_short: false, timer: None }
    }

    /// Notes that work with the time limit `limit` cannot begin before `from`.
    pub(crate) fn begin(&mut self, from: Instant, limit: Duration) {
        self.is_short = !self.leaves(from, limit);
    }

    /// Whether work that began at `from` has nearly all of its `limit`: nine tenths.
    pub(super) fn left_time(&self, from: Instant, limit: Duration) -> bool {
        !self.is_short && self.leaves(from, limit)
    }

    fn leaves(&self, from: Instant, limit: Duration) -> bool {
        self.at.saturating_duration_since(from) >= limit.mul_f64(0.9)
    }

    /// Waits for `work`, but no longer than until the deadline. Returns `None` then.
    pub(crate) async fn limit<F: Future>(&mut self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// Ready when the deadline has passed. Otherwise the task is woken at the deadline.
    ///
    /// This reads the clock as well as the timer: a guest that never waits keeps the timer driver from
    /// running.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_passed() {
            return Poll::Ready(());
        }
        let at = self.at;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        timer.as_mut().poll(cx)
    }

    pub(super) fn has_passed(&self) -> bool {
        clock::now() >= self.at
    }
}
