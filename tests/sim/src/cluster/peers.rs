//! The other nodes, as the control plane of one sees them: what the cluster says, in its words.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::watch;
use wasm_fn_cluster::{Cluster, ContactState};
use wasm_fn_control::peers::{PeerFuture, PeerMessage, Peers, Touch};
use wasm_fn_core::{NodeName, Revision};

pub(super) struct SimPeers {
    name: NodeName,
    cluster: Cluster,
    touch: watch::Receiver<Touch>,
}

impl SimPeers {
    /// The peers of the node `name` in `cluster`, on the current tokio runtime.
    pub(super) fn new(name: NodeName, cluster: Cluster) -> Self {
        let mut contact = cluster.contact().watch();
        let (sender, touch) = watch::channel(touch_of(&cluster.contact().state()));
        tokio::spawn(async move {
            while contact.changed().await.is_ok() {
                let now = touch_of(&contact.borrow_and_update());
                if sender.send(now).is_err() {
                    return;
                }
            }
        });
        Self { name, cluster, touch }
    }
}

fn touch_of(state: &ContactState) -> Touch {
    match state {
        ContactState::In => Touch::In,
        ContactState::Out { since_ms, reason } => Touch::Out { since_ms: *since_ms, reason: reason.clone() },
    }
}

impl Peers for SimPeers {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn tell(&self, body: Bytes) {
        self.cluster.messages().tell(body);
    }

    fn hear(&self) -> PeerFuture<'_, PeerMessage> {
        Box::pin(async {
            let message = self.cluster.messages().hear().await;
            PeerMessage { from: message.from, body: message.body }
        })
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
        self.cluster.leases().contend(leases);
    }

    fn has(&self, name: &str) -> bool {
        self.cluster.leases().held(name).is_some()
    }

    fn leases(&self) -> watch::Receiver<BTreeSet<String>> {
        self.cluster.leases().watch()
    }
}
