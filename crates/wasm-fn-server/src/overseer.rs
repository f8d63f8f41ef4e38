//! Decides when a connection is told to close and when it is cut.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use crate::{
    Options, clock,
    watch::{Order, Watch, Why},
};

/// Looks after one connection with a single timer, which is set again only when it fires.
pub(crate) struct Overseer<'a> {
    watch: &'a Watch,
    options: &'a Options,
    timer: Pin<Box<Sleep>>,
    // Since when this connection knows that the server drains.
    draining: Option<Instant>,
    closing: bool,
}

/// What to do with the connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Have its protocol finish and close.
    Close,
    /// Drop it.
    Cut,
}

impl<'a> Overseer<'a> {
    /// Looks after the connection of `watch`.
    pub(crate) fn new(watch: &'a Watch, options: &'a Options) -> Self {
        let timer = Box::pin(sleep_until((clock::now() + period(options, false)).into()));
        Self { watch, options, timer, draining: None, closing: false }
    }

    /// The next step, once there is one. The connection is polled first, so that a request that has
    /// arrived counts.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            let order = self.watch.order();
            if order == Order::Cut {
                return Poll::Ready(Step::Cut);
            }
            if order == Order::Drain && self.draining.is_none() {
                let now = clock::now();
                self.draining = Some(now);
                self.timer.as_mut().reset((now + self.options.drain_grace).into());
            }
            // HTTP/2 tells its client which streams it still answers, so nothing is lost by closing
            // at once. HTTP/1 clients may be sending: theirs is answered with `connection: close`.
            if self.draining.is_some() && self.watch.is_http2() && !self.closing {
                self.closing = true;
                return Poll::Ready(Step::Close);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            let due = self.watch.due(self.options, self.draining);
            let soon = now + period(self.options, self.draining.is_some());
            let next = match due {
                Some((at, _)) if at > now => at.min(soon),
                _ => soon,
            };
            self.timer.as_mut().reset(next.into());
            match due {
                Some((at, Why::Idle)) if at <= now && !self.closing => {
                    self.closing = true;
                    return Poll::Ready(Step::Close);
                }
                Some((at, why)) if at <= now => {
                    tracing::debug!(?why, "connection cut");
                    return Poll::Ready(Step::Cut);
                }
                _ => {}
            }
        }
    }
}

/// How often to look: no more than the shortest timeout, so that none is noticed late.
fn period(options: &Options, draining: bool) -> Duration {
    let working = options.head_timeout.min(options.idle_timeout).min(options.stall_timeout);
    let shortest = if draining { working.min(options.drain_grace) } else { working };
    shortest.max(Duration::from_millis(10))
}
