//! What the server wants of a connection.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering, fence},
    },
    task::Waker,
};

/// What the server wants of a connection. Orders only ever grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Answer requests.
    Serve,
    /// Finish requests in flight, then close.
    Drain,
    /// Stop now.
    Cut,
}

/// The current order of one connection, and how to wake its task.
pub(crate) struct Orders {
    waker: OnceLock<Waker>,
    order: AtomicU8,
}

impl Orders {
    pub(super) fn new(order: Order) -> Self {
        Self { waker: OnceLock::new(), order: AtomicU8::new(order as u8) }
    }

    /// Gives the connection an order, and wakes its task.
    pub(crate) fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        // A task that registers its waker now either sees the order, or is seen.
        fence(Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the task of the connection.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The current order. The connection's task must register its waker before it asks.
    pub(crate) fn current(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::Cut,
        }
    }

    /// Registers the waker that [`tell`](Self::tell) wakes. Only the first call counts.
    pub(crate) fn register(&self, waker: Waker) {
        let _ = self.waker.set(waker);
        fence(Ordering::SeqCst);
    }
}
