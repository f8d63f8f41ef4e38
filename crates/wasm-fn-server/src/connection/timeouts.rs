//! Decides when a connection must close and when it is cut.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use super::state::{CloseReason, ConnectionState, Order};
use crate::{clock, options::ServerOptions};

/// Enforces the timeouts of one connection with a single timer, which is reset only when it fires.
pub(crate) struct Timeouts<'a> {
    connection: &'a ConnectionState,
    options: &'a ServerOptions,
    timer: Pin<Box<Sleep>>,
    // When this connection learned that the server drains.
    draining: Option<Instant>,
    closing: bool,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutAction {
    /// Let its protocol finish and close.
    Close,
    /// Drop it.
    Cut,
}

impl<'a> Timeouts<'a> {
    /// Enforces the timeouts of `connection`.
    pub(crate) fn new(connection: &'a ConnectionState, options: &'a ServerOptions) -> Self {
        let timer = Box::pin(sleep_until((clock::now() + period(options, false)).into()));
        Self { connection, options, timer, draining: None, closing: false }
    }

    /// Ready when there is something to do. Poll the connection first, so that a request that has arrived
    /// counts.
    pub(crate) fn poll_action(&mut self, cx: &mut Context<'_>) -> Poll<TimeoutAction> {
        loop {
            let order = self.connection.orders.current();
            if order == Order::Cut {
                return Poll::Ready(TimeoutAction::Cut);
            }
            if order == Order::Drain && self.draining.is_none() {
                let now = clock::now();
                self.draining = Some(now);
                self.timer.as_mut().reset((now + self.options.drain_grace).into());
            }
            // HTTP/2 tells its client which streams it still answers, so closing at once loses nothing. An
            // HTTP/1 client may be sending a request, which is answered with `connection: close`.
            if self.draining.is_some() && self.connection.flags.is_http2() && !self.closing {
                self.closing = true;
                return Poll::Ready(TimeoutAction::Close);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            let due = self.connection.due(self.options, self.draining);
            let soon = now + period(self.options, self.draining.is_some());
            let next = match due {
                Some((at, _)) if at > now => at.min(soon),
                _ => soon,
            };
            self.timer.as_mut().reset(next.into());
            match due {
                Some((at, CloseReason::Idle)) if at <= now && !self.closing => {
                    self.closing = true;
                    return Poll::Ready(TimeoutAction::Close);
                }
                Some((at, why)) if at <= now => {
                    tracing::debug!(?why, "connection cut");
                    return Poll::Ready(TimeoutAction::Cut);
                }
                _ => {}
            }
        }
    }
}

/// How often to check: at least as often as the shortest timeout.
fn period(options: &ServerOptions, draining: bool) -> Duration {
    let working = options.head_timeout.min(options.idle_timeout).min(options.stall_timeout);
    let shortest = if draining { working.min(options.drain_grace) } else { working };
    shortest.max(Duration::from_millis(10))
}
