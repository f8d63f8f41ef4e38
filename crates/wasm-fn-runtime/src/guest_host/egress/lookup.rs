//! Looks up the names of outgoing requests.
//!
//! A lookup blocks a thread and cannot be interrupted, so the number of lookups under way is bounded, for
//! each version and for the node.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{net::lookup_host, sync::Semaphore};

/// Most lookups of a version that are under way at once.
pub(super) const LOOKUPS_MAX: usize = 8;

/// Most lookups of a node that are under way at once.
const NODE_LOOKUPS_MAX: usize = 64;

/// Most addresses of a name that are considered.
pub(super) const ADDRESSES_MAX: usize = 16;

/// The addresses of a name, or why there are none.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of names.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `host`, each with `port`.
    fn resolve(&self, host: String, port: u16) -> Lookup;
}

/// The resolver of the system.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    turns: Arc<Semaphore>,
}

impl SystemResolver {
    /// A resolver whose lookups share one bound.
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(NODE_LOOKUPS_MAX)) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> Lookup {
        let turns = self.turns.clone();
        Box::pin(async move {
            let _turn = turns.acquire().await.map_err(io::Error::other)?;
            Ok(lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
        })
    }
}

/// The addresses of `host`, found by `resolver` when one of `turns` is free.
///
/// # Cancel safety
/// A lookup that was begun goes on, and keeps its turn until it ends.
pub(super) async fn lookup(
    resolver: &dyn Resolve,
    turns: &Arc<Semaphore>,
    host: &str,
    port: u16,
) -> io::Result<Vec<SocketAddr>> {
    let turn = turns.clone().acquire_owned().await.map_err(io::Error::other)?;
    let found = resolver.resolve(host.to_owned(), port);
    let task = tokio::spawn(async move {
        let _turn = turn;
        found.await
    });
    task.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
