//! Signals of a node: SIGTERM and SIGINT drain it, and end it at once if sent again; SIGUSR2 hands it over
//! to a new process.

use std::{io, pin::pin, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use wasm_fn_server::DrainReport;

use super::Node;

/// The signals that a node handles. Created before the node, so that a signal during the start is not lost.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    swap: Signal,
}

/// Result of a swap.
enum Swap {
    /// Another process serves now.
    HandedOver,
    /// This process continues to serve.
    Failed,
    /// A signal to end the node arrived during the swap.
    Ended,
}

impl Signals {
    /// Installs handlers for the signals, whose default is to end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            swap: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal that ends the node.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs `node` until it has been drained or handed over. Draining takes at most `timeout` in both cases.
    pub(crate) async fn obey(&mut self, mut node: Node, timeout: Duration) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                () = node.ordered_to_end() => break,
                _ = self.swap.recv() => {}
            }
            match self.swap(&mut node).await {
                Swap::HandedOver => return self.leave(node, timeout).await,
                Swap::Failed => {}
                Swap::Ended => break,
            }
        }
        self.drain(node, timeout).await;
    }

    async fn swap(&mut self, node: &mut Node) -> Swap {
        let Self { terminate, interrupt, swap } = self;
        let mut swapping = pin!(node.swap());
        loop {
            tokio::select! {
                // A finished swap takes precedence over a signal that arrived at the same time.
                biased;
                swapped = &mut swapping => return match swapped {
                    Ok(pid) => {
                        tracing::info!(pid, "node was handed over");
                        Swap::HandedOver
                    }
                    Err(error) => {
                        tracing::error!(%error, "node was not handed over, this process continues");
                        Swap::Failed
                    }
                },
                _ = swap.recv() => tracing::warn!("node is being handed over, another SIGUSR2 is ignored"),
                _ = terminate.recv() => return Swap::Ended,
                _ = interrupt.recv() => return Swap::Ended,
            }
        }
    }

    async fn leave(&mut self, node: Node, timeout: Duration) {
        tracing::info!(?timeout, "this process drains; a signal ends it at once");
        self.finish(node.leave(timeout)).await;
    }

    /// Drains `node` for at most `timeout`, or until the next signal.
    pub(crate) async fn drain(&mut self, node: Node, timeout: Duration) {
        tracing::info!(?timeout, "node drains; a second signal ends it at once");
        self.finish(node.drain(timeout)).await;
    }

    async fn finish(&mut self, drained: impl Future<Output = DrainReport>) {
        tokio::select! {
            report = drained => match report.cut {
                0 => tracing::info!("node drained"),
                cut => tracing::warn!(cut, "connections were cut at the drain timeout"),
            },
            () = self.next() => tracing::warn!("node ends without draining"),
        }
    }
}
