//! The other nodes, as the control plane and the sharing of components see them: one connection carries what
//! both tell.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::{Notify, watch};
use wasm_fn_cluster::{Cluster, ContactState, HOUSEKEEPING};
use wasm_fn_control::peers::{PeerFuture, PeerMessage, Peers, Touch};
use wasm_fn_core::{ClusterName, NodeName, Revision};

use crate::config::ClusterPlace;

/// Messages of one kind that nobody has taken yet. The oldest go first.
const WAITING_MAX: usize = 1024;

/// For whom a message is: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The control plane.
    Control = 1,
    /// The sharing of components.
    Components = 2,
}

/// The other nodes of a cluster.
pub(crate) struct ClusterPeers {
    name: NodeName,
    cluster_name: ClusterName,
    cluster: Cluster,
    touch: watch::Receiver<Touch>,
    control: Waiting,
    components: Waiting,
}

/// Messages that wait for their reader.
#[derive(Default)]
struct Waiting {
    messages: Mutex<VecDeque<PeerMessage>>,
    news: Notify,
}

impl Waiting {
    fn messages(&self) -> MutexGuard<'_, VecDeque<PeerMessage>> {
        // Nothing panics while holding the lock.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: PeerMessage) {
        let mut messages = self.messages();
        if messages.len() == WAITING_MAX {
            messages.pop_front();
        }
        messages.push_back(message);
        drop(messages);
        self.news.notify_one();
    }

    async fn take(&self) -> PeerMessage {
        loop {
            let next = self.messages().pop_front();
            if let Some(message) = next {
                return message;
            }
            self.news.notified().await;
        }
    }
}

impl ClusterPeers {
    /// The peers of the node at `place` in `cluster`. Messages are taken from now on.
    pub(crate) fn of(place: &ClusterPlace, cluster: Cluster) -> Arc<Self> {
        let (name, cluster_name) = (place.node.clone(), place.membership.name.clone());
        let mut contact = cluster.contact().watch();
        let first = touch_of(&cluster.contact().state());
        let (sender, touch) = watch::channel(first);
        let peers = Arc::new(Self {
            name,
            cluster_name,
            cluster,
            touch,
            control: Waiting::default(),
            components: Waiting::default(),
        });
        tokio::spawn(async move {
            while contact.changed().await.is_ok() {
                let now = touch_of(&contact.borrow_and_update());
                if sender.send(now).is_err() {
                    return;
                }
            }
        });
        let (weak, messages) = (Arc::downgrade(&peers), peers.cluster.messages().clone());
        tokio::spawn(async move {
            loop {
                let message = messages.hear().await;
                let Some(peers) = weak.upgrade() else { return };
                let (topic, mut body) = (message.body.first().copied(), message.body);
                let waiting = match topic {
                    Some(topic) if topic == Topic::Control as u8 => &peers.control,
                    Some(topic) if topic == Topic::Components as u8 => &peers.components,
                    // A node of a newer release may have more to say.
                    _ => continue,
                };
                let body = body.split_off(1);
                waiting.put(PeerMessage { from: message.from, body });
            }
        });
        peers
    }

    pub(super) fn cluster_name(&self) -> &ClusterName {
        &self.cluster_name
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn send(&self, topic: Topic, body: &[u8]) {
        let mut bytes = BytesMut::with_capacity(body.len() + 1);
        bytes.put_u8(topic as u8);
        bytes.put_slice(body);
        self.cluster.messages().tell(bytes.freeze());
    }

    /// Waits for what another node tells about components. There is one reader.
    pub(super) async fn about_components(&self) -> PeerMessage {
        self.components.take().await
    }
}

impl Peers for ClusterPeers {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn tell(&self, body: Bytes) {
        self.send(Topic::Control, &body);
    }

    fn hear(&self) -> PeerFuture<'_, PeerMessage> {
        Box::pin(self.control.take())
    }

    fn published(&self, revision: Revision) {
        self.cluster.contact().published(revision);
    }

    fn is_in_touch(&self) -> bool {
        self.cluster.contact().is_in_touch()
    }

    fn touch(&self) -> watch::Receiver<Touch> {
        self.touch.clone()
    }

    fn contend(&self, leases: BTreeSet<String>) {
        let mut leases = leases;
        leases.insert(HOUSEKEEPING.to_owned());
        self.cluster.leases().contend(leases);
    }

    fn leases(&self) -> watch::Receiver<BTreeSet<String>> {
        self.cluster.leases().watch()
    }

    fn has(&self, lease: &str) -> bool {
        self.cluster.leases().held(lease).is_some()
    }
}

fn touch_of(state: &ContactState) -> Touch {
    match state {
        ContactState::In => Touch::In,
        ContactState::Out { since_ms, reason } => Touch::Out { since_ms: *since_ms, reason: reason.clone() },
    }
}
