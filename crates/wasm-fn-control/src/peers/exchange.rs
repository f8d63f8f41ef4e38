//! Tells the other nodes what this one saw of the rollouts under way, and hears what they saw.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use wasm_fn_rollout::EVERY;

use super::{
    PeerMessage, Peers,
    message::{self, GateId, KIND},
};
use crate::{
    analysis::{Analyses, Analysis, ClusterNode},
    clock,
    state::StageKey,
};

/// Maximum number of messages about one gate in one turn.
const MESSAGES_MAX: usize = 16;

/// The exchange of evidence with the other nodes.
#[derive(Clone)]
pub(crate) struct Exchange {
    peers: Arc<dyn Peers>,
    node: ClusterNode,
}

impl Exchange {
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Self {
        let node =
            ClusterNode { name: peers.name().clone(), wake: Arc::default(), peers: Arc::clone(&peers) };
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
        let tell = |body| self.peers.tell(body);
        loop {
            let Some(now) = analyses() else { return };
            let waits = turn(&now, tell);
            drop(now);
            tokio::select! {
                biased;
                () = self.node.wake.notified() => {}
                message = self.peers.hear() => {
                    let Some(now) = analyses() else { return };
                    if !hear(&now, &message, tell) {
                        other(message);
                    }
                }
                () = tokio::time::sleep(waits) => {}
            }
        }
    }
}

/// Tells what those of `analyses` have to tell whose turn it is. Returns how long to wait for the next one.
fn turn(analyses: &Analyses, mut tell: impl FnMut(Bytes)) -> Duration {
    let mut waits = EVERY;
    for (key, analysis) in analyses.all() {
        let wait = analysis.waits(clock::instant());
        waits = waits.min(if wait.is_zero() { turn_of(key, &analysis, &mut tell) } else { wait });
    }
    waits
}

/// Tells what `analysis` has to tell. Returns how long to wait for its next turn.
fn turn_of(key: StageKey, analysis: &Analysis, mut tell: impl FnMut(Bytes)) -> Duration {
    let (rollout, gate_no) = analysis.id();
    let id = GateId { key, rollout, gate_no };
    for _ in 0..MESSAGES_MAX {
        let Some(message) = analysis.turn(clock::instant()) else { break };
        tell(message::encode(&id, message));
    }
    analysis.waits(clock::instant())
}

/// Takes `message`, and tells what comes of it. Returns whether it was about evidence.
fn hear(analyses: &Analyses, message: &PeerMessage, tell: impl FnMut(Bytes)) -> bool {
    if message.body.first() != Some(&KIND) {
        return false;
    }
    match message::decode(&message.body) {
        Ok((id, heard)) => {
            let analysis = analyses.get(&id.key);
            if let Some(analysis) = analysis.filter(|it| it.id() == (id.rollout, id.gate_no)) {
                analysis.hear(&message.from, heard, clock::instant());
                turn_of(id.key, &analysis, tell);
            }
        }
        Err(error) => {
            tracing::warn!(node = %message.from, %error, "a message of another node was dropped");
        }
    }
    true
}

#[cfg(test)]
mod tests;
