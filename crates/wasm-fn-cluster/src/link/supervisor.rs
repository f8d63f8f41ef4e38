//! Keeps a connection: connects, checks the cluster, waits for the end, and begins anew.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use wasm_fn_queue::{Backoff, BrokerError};

use super::{Api, Connector, ServerConnection, Session};
use crate::{ClusterError, ClusterOptions, names::Names, setup};

/// Longest time for the checks of a new connection. The election of a leader takes up to nine seconds.
const CHECK_WAIT: Duration = Duration::from_secs(15);

/// What keeps a connection, and who knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
    connector: Arc<dyn Connector>,
}

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct LinkOptions {
    pub(crate) options: Arc<ClusterOptions>,
    pub(crate) names: Names,
    pub(crate) connector: Arc<dyn Connector>,
}

/// Whether there is a connection.
#[derive(Clone, Debug)]
enum LinkState {
    Up(Session),
    /// Why there is none; `None` before the first try.
    Down(Option<Arc<ClusterError>>),
}

impl Link {
    /// Keeps a connection, on the current tokio runtime, until `stop`.
    pub(crate) fn start(options: LinkOptions, stop: CancellationToken) -> Self {
        let (sender, state) = watch::channel(LinkState::Down(None));
        let connector = Arc::clone(&options.connector);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = keep(&options, &sender) => {}
            }
            sender.send_replace(LinkState::Down(None));
        });
        Self { state, connector }
    }

    /// A number from 0 to 1, drawn anew each time.
    pub(crate) fn draw(&self) -> f64 {
        self.connector.draw()
    }

    /// The connection, if there is one.
    pub(crate) fn session(&self) -> Option<Session> {
        match &*self.state.borrow() {
            LinkState::Up(session) => Some(session.clone()),
            LinkState::Down(_) => None,
        }
    }

    /// Waits for a connection after the one with the number `after`.
    pub(crate) async fn session_after(&self, after: u64) -> Session {
        let mut state = self.state.clone();
        loop {
            if let LinkState::Up(session) = &*state.borrow_and_update()
                && session.number() > after
            {
                return session.clone();
            }
            if state.changed().await.is_err() {
                // Nobody keeps a connection any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a connection, or for a fault that lasts.
    pub(crate) async fn settled(&self) -> Result<Session, ClusterError> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                LinkState::Up(session) => return Ok(session.clone()),
                LinkState::Down(Some(error)) if error.is_lasting() => return Err((**error).clone()),
                LinkState::Down(_) => {}
            }
            if state.changed().await.is_err() {
                return Err(ClusterError::Broker(BrokerError::Disconnected));
            }
        }
    }

    /// Why there is no connection, for people.
    pub(crate) fn reason(&self) -> String {
        match &*self.state.borrow() {
            LinkState::Up(_) => "broker does not answer".to_owned(),
            LinkState::Down(Some(error)) => error.to_string(),
            LinkState::Down(None) => "there was no connection to the broker yet".to_owned(),
        }
    }

    /// The fault that keeps the node out, if there is one.
    pub(crate) fn fault(&self) -> Option<ClusterError> {
        match &*self.state.borrow() {
            LinkState::Down(Some(error)) => Some((**error).clone()),
            _ => None,
        }
    }
}

async fn keep(options: &LinkOptions, state: &watch::Sender<LinkState>) {
    let cluster = &options.options.cluster;
    let (mut backoff, mut said, mut number) = (Backoff::default(), None, 0);
    loop {
        let error = match open(options, number + 1).await {
            Ok((connection, session)) => {
                number += 1;
                tracing::info!(%cluster, was_away = said.is_some(), "node is connected to its cluster's broker");
                said = None;
                backoff.reset();
                state.send_replace(LinkState::Up(session.clone()));
                tokio::select! {
                    biased;
                    error = connection.lost() => {
                        session.end(error.to_string());
                        ClusterError::Broker(error)
                    }
                    reason = session.ended() => {
                        tracing::debug!(%cluster, reason, "connection is given up");
                        ClusterError::Broker(BrokerError::Silent)
                    }
                }
            }
            Err(error) => error,
        };
        if said.as_ref() == Some(&error) {
            tracing::debug!(%cluster, %error, "broker is tried again");
        } else {
            tracing::warn!(%cluster, %error, "node has no connection to its cluster's broker");
        }
        state.send_replace(LinkState::Down(Some(Arc::new(error.clone()))));
        said = Some(error);
        tokio::time::sleep(backoff.next(options.connector.draw())).await;
    }
}

async fn open(
    options: &LinkOptions,
    number: u64,
) -> Result<(Arc<dyn ServerConnection>, Session), ClusterError> {
    let connection = options.connector.connect(&options.options).await?;
    let api = Api::new(Arc::clone(&connection));
    let record = {
        let check = timeout(CHECK_WAIT, setup::check(&api, &options.names, &options.options));
        tokio::select! {
            biased;
            // What is not permitted is told here, and is never answered.
            error = connection.lost() => return Err(ClusterError::Broker(error)),
            checked = check => checked.map_err(|_| ClusterError::Broker(BrokerError::Silent))??,
        }
    };
    Ok((connection, Session::new(number, api, record)))
}
