//! The register of open connections, through which the server gives them orders.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::state::{ConnectionState, Order};
use crate::clock;

/// Every open connection.
pub(crate) struct Connections {
    registry: Mutex<Registry>,
}

struct Registry {
    order: Order,
    next: u64,
    open: HashMap<u64, Arc<ConnectionState>>,
}

/// One open connection. It is removed from the register when this is dropped.
pub(crate) struct OpenConnection {
    connections: Arc<Connections>,
    number: u64,
    connection: Arc<ConnectionState>,
}

impl Connections {
    /// An empty register.
    pub(crate) fn new() -> Self {
        let registry = Registry { order: Order::Serve, next: 0, open: HashMap::new() };
        Self { registry: Mutex::new(registry) }
    }

    /// Registers a connection that is accepted now. It gets the latest order, and each later one.
    pub(crate) fn open(self: &Arc<Self>) -> OpenConnection {
        let mut registry = self.lock();
        let connection = Arc::new(ConnectionState::new(clock::now(), registry.order));
        let number = registry.next;
        registry.next += 1;
        registry.open.insert(number, Arc::clone(&connection));
        OpenConnection { connections: Arc::clone(self), number, connection }
    }

    /// Gives an order to every connection, and to those to come. Returns how many are open.
    pub(crate) fn tell(&self, order: Order) -> usize {
        let mut registry = self.lock();
        registry.order = registry.order.max(order);
        for connection in registry.open.values() {
            connection.orders.tell(order);
        }
        registry.open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// The state of the connection.
    pub(crate) fn connection(&self) -> &Arc<ConnectionState> {
        &self.connection
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.number);
    }
}
