//! Ending a node: the first signal drains it, the second ends it at once.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Node;

/// SIGTERM and SIGINT. Made before the node is, so that one which comes during the start counts.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which ends the process.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Drains `node` for at most `timeout`, or until the next signal.
    pub(crate) async fn drain(&mut self, node: Node, timeout: Duration) {
        tracing::info!(?timeout, "node drains; a second signal ends it at once");
        tokio::select! {
            report = node.drain(timeout) => match report.cut {
                0 => tracing::info!("node drained"),
                cut => tracing::warn!(cut, "connections were cut at the drain timeout"),
            },
            () = self.next() => tracing::warn!("node ends without draining"),
        }
    }
}
