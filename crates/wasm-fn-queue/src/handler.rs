//! Who handles the messages of a queue.

use std::time::Duration;

use wasm_fn_events::QueueMessage;

/// Handles the messages of one queue.
pub trait QueueHandler: Send + Sync + 'static {
    /// How many messages may be in progress now, those that are included. With 0 none are asked for.
    fn room(&self) -> usize;

    /// Handles `message` in its delivery number `attempt`, from 1. Deliveries for which nobody but the node
    /// was to blame are not counted, as far as this process knows of them.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the delivery off; the message comes again.
    fn handle(&self, message: QueueMessage, attempt: u32) -> impl Future<Output = Settled> + Send;

    /// Hears how the connection to the broker is.
    fn report(&self, report: QueueReport);
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is handled.
    Acknowledged,
    /// It is to come again.
    Retry {
        /// After this.
        after: Duration,
    },
    /// It is given up, and is kept elsewhere. It does not come again.
    Dead,
    /// Nobody handled it, and this counts as no attempt.
    Released {
        /// When it is to come again.
        after: Duration,
    },
}

/// News of the connection to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueReport {
    /// Messages can come.
    Connected,
    /// None can.
    Failed {
        /// Why. For people.
        reason: String,
    },
    /// What the broker has.
    Backlog {
        /// Messages that were not delivered yet.
        pending: u64,
        /// Messages that were delivered and are not settled: those in progress, and those that wait to be
        /// delivered again.
        unsettled: u64,
    },
    /// A message came again that is in progress here, or that was handled: the broker did not hear of it in
    /// time. It is not handled again.
    Repeated,
}
