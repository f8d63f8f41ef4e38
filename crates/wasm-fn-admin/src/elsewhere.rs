//! What the other nodes of a cluster say, asked for again and again as long as somebody wants to know.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use crate::nodes::{Others, Told};

/// How often other nodes are asked, at most.
const EVERY: Duration = Duration::from_secs(1);

/// How many times longer than an answer took it is waited before the next question.
const REST: u32 = 10;

/// What the other nodes said last. The questions end when the last clone is dropped.
#[derive(Debug)]
pub(crate) struct Elsewhere<V> {
    /// The name of this node.
    node: String,
    told: watch::Receiver<Option<Arc<V>>>,
}

impl<V> Clone for Elsewhere<V> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), told: self.told.clone() }
    }
}

impl<V: Send + Sync + 'static> Elsewhere<V> {
    /// Begins to ask `others`, whose answers `read` reads; `None` if there are none to ask.
    pub(crate) fn follow(others: Others, read: fn(Told<Bytes>) -> V) -> Option<Self> {
        let node = others.cluster()?.node().to_string();
        let (sender, told) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                sender.send_replace(Some(Arc::new(read(others.ask().await))));
                let rest = EVERY.max(asked.elapsed() * REST);
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = sender.closed() => return,
                }
            }
        });
        Some(Self { node, told })
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// What the others said last, once they have been asked.
    pub(crate) async fn first(&self) -> Option<Arc<V>> {
        let mut told = self.told.clone();
        let first = told.wait_for(Option::is_some).await;
        first.ok().and_then(|told| told.clone())
    }

    /// What the others said last.
    pub(crate) fn last(&self) -> Option<Arc<V>> {
        self.told.borrow().clone()
    }
}
