//! The connections that are open, so that the server can tell all of them something.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    clock,
    watch::{Order, Watch},
};

/// Every open connection.
pub(crate) struct Connections {
    registry: Mutex<Registry>,
}

struct Registry {
    order: Order,
    next: u64,
    open: HashMap<u64, Arc<Watch>>,
}

/// One open connection; taken off the register when dropped.
pub(crate) struct Open {
    connections: Arc<Connections>,
    number: u64,
    watch: Arc<Watch>,
}

impl Connections {
    /// None yet.
    pub(crate) fn new() -> Self {
        let registry = Registry { order: Order::Serve, next: 0, open: HashMap::new() };
        Self { registry: Mutex::new(registry) }
    }

    /// Registers a connection accepted now; it hears the latest order, and each after it.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        let mut registry = self.lock();
        let watch = Arc::new(Watch::new(clock::now(), registry.order));
        let number = registry.next;
        registry.next += 1;
        registry.open.insert(number, Arc::clone(&watch));
        Open { connections: Arc::clone(self), number, watch }
    }

    /// Tells every connection, and those to come; returns how many are open.
    pub(crate) fn tell(&self, order: Order) -> usize {
        let mut registry = self.lock();
        registry.order = registry.order.max(order);
        for watch in registry.open.values() {
            watch.tell(order);
        }
        registry.open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// What the connection is doing.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.number);
    }
}
