//! Tells the other nodes what this one saw of the rollouts under way, and hears what they saw.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use wasm_fn_core::NodeName;
use wasm_fn_rollout::EVERY;

use super::{
    PeerMessage, Peers,
    message::{self, GateId, KIND},
};
use crate::{analysis::Analyses, clock};

/// Maximum number of messages about one gate in one turn.
const MESSAGES_MAX: usize = 16;

/// This node, as its analyses know it.
#[derive(Clone)]
pub(crate) struct ClusterNode {
    /// Its name.
    pub(crate) name: NodeName,
    /// Notified when there is something to tell at once.
    pub(crate) wake: Arc<Notify>,
}

/// The exchange of evidence with the other nodes.
pub(crate) struct Exchange {
    peers: Arc<dyn Peers>,
    node: ClusterNode,
}

impl Exchange {
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Self {
        let node = ClusterNode { name: peers.name().clone(), wake: Arc::default() };
        Self { peers, node }
    }

    /// This node.
    pub(crate) fn node(&self) -> &ClusterNode {
        &self.node
    }

    /// Tells and hears, until `analyses` gives none. Messages of another kind go to `other`.
    pub(crate) async fn run(
        &self,
        analyses: impl Fn() -> Option<Arc<Analyses>>,
        other: impl Fn(PeerMessage),
    ) {
        loop {
            let Some(now) = analyses() else { return };
            let waits = self.turn(&now);
            drop(now);
            tokio::select! {
                biased;
                () = self.node.wake.notified() => {}
                message = self.peers.hear() => {
                    let Some(now) = analyses() else { return };
                    if !self.hear(&now, &message) {
                        other(message);
                    }
                }
                () = tokio::time::sleep(waits) => {}
            }
        }
    }

    /// Tells what there is to tell. Returns how long to wait for the next turn.
    pub(crate) fn turn(&self, analyses: &Analyses) -> Duration {
        let mut waits = EVERY;
        for (key, analysis) in analyses.all() {
            let (rollout, gate_no) = analysis.id();
            let id = GateId { key, rollout, gate_no };
            for _ in 0..MESSAGES_MAX {
                let Some(message) = analysis.turn(clock::instant()) else { break };
                self.peers.tell(message::encode(&id, message));
            }
            waits = waits.min(analysis.waits());
        }
        waits
    }

    /// Takes `message`. Returns whether it was about evidence.
    pub(crate) fn hear(&self, analyses: &Analyses, message: &PeerMessage) -> bool {
        if message.body.first() != Some(&KIND) {
            return false;
        }
        match message::decode(&message.body) {
            Ok((id, heard)) => {
                let analysis = analyses.get(&id.key);
                if let Some(analysis) = analysis.filter(|it| it.id() == (id.rollout, id.gate_no)) {
                    analysis.hear(&message.from, heard, clock::instant());
                }
            }
            Err(error) => {
                tracing::warn!(node = %message.from, %error, "a message of another node was dropped");
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
