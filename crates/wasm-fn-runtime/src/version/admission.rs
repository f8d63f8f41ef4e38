//! Admits requests: each needs a place of its version, and then one of the node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use wasm_fn_pool::{ConcurrencyLimit, QueueTicket, Wait};

use super::Version;
use crate::{fault::Fault, node::resources::NodeResources, waiter::Waiter};

/// The right of a request to run on this node. Dropping it passes both places on.
pub(crate) struct Admission {
    pub(crate) version: Arc<Version>,
    pub(crate) queue_wait: Duration,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let node = &self.version.node;
        for limit in [&node.concurrency, &self.version.concurrency] {
            // Only waiters need the clock.
            if !limit.try_release() {
                limit.release(node.now());
            }
        }
    }
}

impl Version {
    /// Admits a request if it need not wait. Returns the version itself otherwise.
    pub(super) fn admit_at_once(self: Arc<Self>) -> Result<Admission, Arc<Self>> {
        if !self.concurrency.try_acquire() {
            return Err(self);
        }
        let node = &self.node;
        if node.concurrency.has_share(self.concurrency.running()) && node.concurrency.try_acquire() {
            return Ok(Admission { version: self, queue_wait: Duration::ZERO });
        }
        self.concurrency.release(node.now());
        Err(self)
    }

    /// Waits for a place in the queue of the version, and then in that of the node.
    pub(super) async fn admit(self: Arc<Self>, began: Instant, left: Duration) -> Result<Admission, Fault> {
        let wait_max = self.limits().queue_wait.min(left);
        let retry_after = Duration::from_secs(1).max(wait_max);
        let own = acquire(&self.concurrency, &self.node, wait_max).await;
        if matches!(own, Acquired::Refused) {
            return Err(Fault::FunctionOverloaded { retry_after });
        }
        let node = self.node.clone();
        let running = self.concurrency.running();
        let held = HeldPlace { version: Some(self) };
        if !node.concurrency.has_share(running) {
            return Err(Fault::FunctionOverloaded { retry_after });
        }
        let nodes = acquire(&node.concurrency, &node, wait_max).await;
        if matches!(nodes, Acquired::Refused) {
            return Err(Fault::NodeOverloaded { retry_after });
        }
        let at_once = matches!((own, nodes), (Acquired::AtOnce, Acquired::AtOnce));
        Ok(held.admit(if at_once { Duration::ZERO } else { began.elapsed() }))
    }
}

/// A place of the version, held while the request waits for one of the node.
struct HeldPlace {
    version: Option<Arc<Version>>,
}

impl HeldPlace {
    /// Completes the admission, with both places.
    fn admit(mut self, queue_wait: Duration) -> Admission {
        Admission { version: self.version.take().expect("given away only here"), queue_wait }
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        if let Some(version) = &self.version {
            version.concurrency.release(version.node.now());
        }
    }
}

/// How a place was acquired.
enum Acquired {
    AtOnce,
    AfterWaiting,
    Refused,
}

/// Acquires a place, waiting at most `wait_max`. It is refused when the queue is full or too slow.
async fn acquire(limit: &ConcurrencyLimit<Waiter>, node: &NodeResources, wait_max: Duration) -> Acquired {
    if limit.try_acquire() {
        return Acquired::AtOnce;
    }
    let (sender, receiver) = oneshot::channel();
    match limit.wait(node.now() + wait_max, Waiter(sender)) {
        Wait::Acquired(_) => Acquired::AtOnce,
        Wait::Full(_) => Acquired::Refused,
        Wait::Queued(ticket) => {
            let mut queued = QueuedRequest { limit, node, ticket: Some(ticket), receiver };
            let woken = tokio::time::timeout(wait_max, &mut queued.receiver).await;
            if matches!(woken, Ok(Ok(()))) {
                queued.ticket = None;
                Acquired::AfterWaiting
            } else {
                Acquired::Refused
            }
        }
    }
}

/// A position in a queue. Dropping it leaves the queue, and passes on a place that was won meanwhile.
struct QueuedRequest<'a> {
    limit: &'a ConcurrencyLimit<Waiter>,
    node: &'a NodeResources,
    /// `None` once the place was taken.
    ticket: Option<QueueTicket>,
    receiver: oneshot::Receiver<()>,
}

impl Drop for QueuedRequest<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.close();
            if !self.limit.cancel(ticket) && self.receiver.try_recv().is_ok() {
                self.limit.release(self.node.now());
            }
        }
    }
}
