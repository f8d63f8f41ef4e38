//! One connection, from when it was checked until it is of no use.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Api, AskError, ServerConnection, Subscription};
use crate::ClusterRecord;

/// One connection, from when it was checked until it is of no use. Questions are asked through [`Api`].
#[derive(Clone, Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// 1 for the first connection of the process.
    number: u64,
    api: Api,
    record: ClusterRecord,
    ended: CancellationToken,
    reason: OnceLock<String>,
}

impl Session {
    pub(super) fn new(number: u64, api: Api, record: ClusterRecord) -> Self {
        let (ended, reason) = (CancellationToken::new(), OnceLock::new());
        Self { shared: Arc::new(Shared { number, api, record, ended, reason }) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.shared.number
    }

    /// What the broker says that the cluster is.
    pub(crate) fn record(&self) -> &ClusterRecord {
        &self.shared.record
    }

    /// Gives the connection up, for `reason`. Another is made.
    pub(crate) fn end(&self, reason: impl Into<String>) {
        let _ = self.shared.reason.set(reason.into());
        self.shared.ended.cancel();
    }

    /// Waits until the connection was given up.
    pub(crate) async fn ended(&self) -> String {
        self.shared.ended.cancelled().await;
        self.shared.reason.get().cloned().unwrap_or_default()
    }

    /// Hears messages with `subject`.
    pub(crate) async fn subscribe(&self, subject: &str) -> Result<Subscription, AskError> {
        self.connection().subscribe(subject).await
    }

    /// Sends a message without waiting. Returns whether it was taken: it is not while the connection cannot
    /// take more.
    pub(crate) fn tell(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> bool {
        self.connection().tell(subject, headers, payload)
    }

    /// Waits until the broker has read what was sent before.
    pub(crate) async fn flush(&self) -> Result<(), AskError> {
        self.connection().flush().await
    }

    fn connection(&self) -> &dyn ServerConnection {
        self.shared.api.connection()
    }
}

impl Deref for Session {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.shared.api
    }
}
