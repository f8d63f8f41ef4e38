//! Connections as nodes have them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::poll_fn;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use wasm_fn_cluster::{
    AskError, BrokerFuture, BrokerMessage, ClusterError, ClusterOptions, Connector, HeaderMap,
    ServerConnection, Subscription,
};
use wasm_fn_queue::BrokerError;

use super::{CONNECTS, Event, Line, Network, WAITING_MAX, kind};
use crate::dice::Dice;

/// Longest time for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Connects one life of a node.
pub(in crate::cluster) struct SimConnector {
    network: Network,
    node: usize,
    /// What the true time was at the beginning of the life, and what its clock showed.
    began: (u64, Instant),
    dice: Mutex<Dice>,
}

struct SimConnection {
    network: Network,
    node: usize,
    line: u64,
    began: (u64, Instant),
    lost: watch::Receiver<bool>,
}

/// Asks the broker at once, as if there were no network: for whoever makes the cluster.
#[derive(Debug)]
pub(in crate::cluster) struct DirectConnector(pub(in crate::cluster) Network);

impl SimConnector {
    pub(in crate::cluster) fn new(network: Network, node: usize, began: (u64, Instant), dice: Dice) -> Self {
        Self { network, node, began, dice: Mutex::new(dice) }
    }
}

impl fmt::Debug for SimConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConnector").field("node", &self.node).finish_non_exhaustive()
    }
}

impl fmt::Debug for SimConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConnection")
            .field("node", &self.node)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// The true time.
fn now_ms((began_ms, began): (u64, Instant)) -> u64 {
    began_ms + u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Connector for SimConnector {
    fn connect<'a>(
        &'a self,
        _: &'a ClusterOptions,
    ) -> BrokerFuture<'a, Result<Arc<dyn ServerConnection>, ClusterError>> {
        Box::pin(async move {
            let takes_ms = {
                let mut inner = self.network.lock();
                inner.dice(self.node, CONNECTS).0.within(2..=20)
            };
            sleep(Duration::from_millis(takes_ms)).await;
            let can = |network: &Network| {
                let inner = network.lock();
                let path = &inner.paths[self.node];
                inner.is_up && !path.is_cut_to && !path.is_cut_from
            };
            if !can(&self.network) {
                sleep(CONNECT_WAIT).await;
            }
            if !can(&self.network) {
                let reason = "no answer".to_owned();
                return Err(ClusterError::Broker(BrokerError::Unreachable {
                    brokers: "broker".to_owned(),
                    reason,
                }));
            }
            let (sender, lost) = watch::channel(false);
            let mut inner = self.network.lock();
            inner.lines_made += 1;
            let line = inner.lines_made;
            inner.lines.insert(line, Line { node: self.node, lost: sender, heard: Vec::new() });
            drop(inner);
            let (network, node, began) = (self.network.clone(), self.node, self.began);
            let made: Arc<dyn ServerConnection> =
                Arc::new(SimConnection { network, node, line, began, lost });
            Ok(made)
        })
    }

    fn draw(&self) -> f64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).unit()
    }
}

impl SimConnection {
    fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Sends something to the broker.
    fn send(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        answer: Option<oneshot::Sender<Result<Bytes, AskError>>>,
    ) {
        let asked_ms = now_ms(self.began);
        let mut inner = self.network.lock();
        let at = inner.at_from(asked_ms, self.node, kind(subject));
        let (line, subject) = (self.line, subject.to_owned());
        inner.events.insert(at, Event::Question { line, subject, headers, payload, asked_ms, answer });
    }
}

/// An answer of the broker.
fn message(payload: Bytes) -> BrokerMessage {
    BrokerMessage { payload, ..BrokerMessage::default() }
}

impl ServerConnection for SimConnection {
    fn server(&self) -> String {
        "broker".to_owned()
    }

    fn payload_max(&self) -> usize {
        1 << 20
    }

    fn lost(&self) -> BrokerFuture<'_, BrokerError> {
        let mut lost = self.lost.clone();
        Box::pin(async move {
            // The network has the sender until then.
            let _ = lost.wait_for(|lost| *lost).await;
            BrokerError::Disconnected
        })
    }

    fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> BrokerFuture<'_, Result<BrokerMessage, AskError>> {
        if self.is_lost() {
            return Box::pin(async { Err(AskError::Lost) });
        }
        let (sender, answer) = oneshot::channel();
        self.send(subject, headers, payload, Some(sender));
        Box::pin(async move {
            let answered = async {
                match answer.await {
                    Ok(found) => found,
                    // It is lost, which nobody knows.
                    Err(_) => std::future::pending().await,
                }
            };
            timeout(patience, answered).await.unwrap_or(Err(AskError::Silent)).map(message)
        })
    }

    fn subscribe(&self, subject: &str) -> BrokerFuture<'_, Result<Subscription, AskError>> {
        let subject = subject.to_owned();
        Box::pin(async move {
            let (sender, mut messages) = mpsc::channel(WAITING_MAX);
            let mut inner = self.network.lock();
            let line = inner.lines.get_mut(&self.line).ok_or(AskError::Lost)?;
            line.heard.push((subject, sender));
            drop(inner);
            let heard: Subscription = Box::pin(poll_fn(move |cx| messages.poll_recv(cx)));
            Ok(heard)
        })
    }

    fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> BrokerFuture<'_, Result<(), AskError>> {
        let is_sent = self.tell(subject, headers, payload);
        Box::pin(async move { is_sent.then_some(()).ok_or(AskError::Lost) })
    }

    fn tell(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> bool {
        let is_there = !self.is_lost();
        if is_there {
            self.send(subject, headers, payload, None);
        }
        is_there
    }

    fn flush(&self) -> BrokerFuture<'_, Result<(), AskError>> {
        Box::pin(async {
            sleep(Duration::from_millis(1)).await;
            if self.is_lost() { Err(AskError::Lost) } else { Ok(()) }
        })
    }
}

impl Drop for SimConnection {
    fn drop(&mut self) {
        self.network.lock().lines.remove(&self.line);
    }
}

impl Connector for DirectConnector {
    fn connect<'a>(
        &'a self,
        _: &'a ClusterOptions,
    ) -> BrokerFuture<'a, Result<Arc<dyn ServerConnection>, ClusterError>> {
        let network = self.0.clone();
        Box::pin(async move {
            let made: Arc<dyn ServerConnection> = Arc::new(Direct(network));
            Ok(made)
        })
    }

    fn draw(&self) -> f64 {
        0.5
    }
}

#[derive(Debug)]
struct Direct(Network);

impl ServerConnection for Direct {
    fn server(&self) -> String {
        "broker".to_owned()
    }

    fn payload_max(&self) -> usize {
        1 << 20
    }

    fn lost(&self) -> BrokerFuture<'_, BrokerError> {
        Box::pin(std::future::pending())
    }

    fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        _: Duration,
    ) -> BrokerFuture<'_, Result<BrokerMessage, AskError>> {
        let answer = self.0.lock().broker.handle(subject, &headers, &payload).answer;
        Box::pin(async move { answer.map(message).ok_or(AskError::Nobody) })
    }

    fn subscribe(&self, _: &str) -> BrokerFuture<'_, Result<Subscription, AskError>> {
        Box::pin(async { Err(AskError::Nobody) })
    }

    fn publish(&self, _: &str, _: HeaderMap, _: Bytes) -> BrokerFuture<'_, Result<(), AskError>> {
        Box::pin(async { Err(AskError::Nobody) })
    }

    fn tell(&self, _: &str, _: HeaderMap, _: Bytes) -> bool {
        false
    }

    fn flush(&self) -> BrokerFuture<'_, Result<(), AskError>> {
        Box::pin(async { Ok(()) })
    }
}
