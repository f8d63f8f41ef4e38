//! What a node shows of its cluster, and tells the others of itself.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use wasm_fn_admin::{ClusterSource, NodeAnswer, NodeQuestion, OtherNode};
use wasm_fn_api as api;
use wasm_fn_cluster::ServerHealth;
use wasm_fn_control::peers::{Peers as _, Touch};
use wasm_fn_core::{NodeName, Revision};

use super::{super::host::NodeControl, asking::Asking, sharing::Sharing};

/// What every lease of a rollout begins with.
const ROLLOUT: &str = "rollout.";

/// What a node tells of itself every second, beside its name and revision.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Told {
    ready: Option<bool>,
    /// Whether it answers questions of other nodes.
    answers: bool,
    /// The leases of rollouts, as many as there is room for.
    leads: Vec<String>,
}

/// How long the broker may take to tell how its servers are.
const BROKER_WAIT: Duration = Duration::from_secs(2);

/// A node that was not heard of for longer is not asked.
const ALIVE: Duration = Duration::from_secs(3);

/// How many rollouts a node tells of.
const LEADS_MAX: usize = 20;

/// The cluster of a node, for its admin API.
struct Source {
    sharing: Arc<Sharing>,
    asking: Arc<Asking>,
    name: NodeName,
    control: Weak<NodeControl>,
}

/// The cluster of the node that `control` is of.
pub(in crate::node) fn source(
    sharing: &Arc<Sharing>,
    asking: &Arc<Asking>,
    control: &Arc<NodeControl>,
) -> Arc<dyn ClusterSource> {
    let (name, control) = (sharing.peers().name().clone(), Arc::downgrade(control));
    Arc::new(Source { sharing: Arc::clone(sharing), asking: Arc::clone(asking), name, control })
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClusterSource for Source {
    fn node(&self) -> &NodeName {
        &self.name
    }

    fn seen(&self) -> api::ClusterView {
        self.known()
    }

    fn view(&self) -> BoxFuture<'_, api::ClusterView> {
        Box::pin(async { api::ClusterView { servers: self.servers().await, ..self.known() } })
    }

    fn drain(&self, node: &NodeName) {
        self.sharing.drain(node);
    }

    fn others(&self) -> Vec<OtherNode> {
        // A process that was this node before is heard of for a while.
        let others = self.asking.others().into_iter().filter(|(name, _)| *name != self.name);
        let others = others.map(|(name, member)| {
            let told: Told = serde_json::from_str(&member.text).unwrap_or_default();
            let silent = if member.age >= ALIVE {
                Some(format!("it was not heard of for {} or longer", humantime::format_duration(ALIVE)))
            } else if !told.answers {
                Some(format!("its program, {}, answers no questions", member.program))
            } else {
                None
            };
            OtherNode { name, silent }
        });
        others.collect()
    }

    fn ask(
        &self,
        node: NodeName,
        question: NodeQuestion,
        patience: Duration,
    ) -> BoxFuture<'_, Result<NodeAnswer, String>> {
        Box::pin(async move { self.asking.ask(&node, &question, patience).await })
    }
}

impl Source {
    /// The servers that keep the log; none if the broker does not tell in time.
    async fn servers(&self) -> Vec<api::BrokerServerView> {
        let asked = tokio::time::timeout(BROKER_WAIT, self.sharing.peers().cluster().health()).await;
        let streams = asked.ok().and_then(Result::ok).unwrap_or_default();
        let log = streams.into_iter().next().map(|log| log.servers).unwrap_or_default();
        let server = |server: ServerHealth| {
            let ServerHealth { name, is_leader, is_current, is_offline, lag } = server;
            api::BrokerServerView { name, leader: is_leader, current: is_current, offline: is_offline, lag }
        };
        log.into_iter().map(server).collect()
    }

    /// What this node knows without asking.
    fn known(&self) -> api::ClusterView {
        let cluster = self.sharing.peers().cluster();
        let mut nodes = vec![self.own()];
        nodes.extend(cluster.messages().members().into_iter().map(|member| {
            let told: Told = serde_json::from_str(&member.text).unwrap_or_default();
            view(
                member.name.to_string(),
                member.program,
                member.revision,
                u64::try_from(member.age.as_millis()).unwrap_or(u64::MAX),
                told,
            )
        }));
        let newest = nodes.iter().map(|node| node.revision).max().unwrap_or(0);
        nodes.iter_mut().for_each(|node| node.lag = newest - node.revision);
        nodes.sort_by(|a, b| (&a.name, a.heard_ms).cmp(&(&b.name, b.heard_ms)));
        let (in_touch, since, reason) = match &*self.sharing.peers().touch().borrow() {
            Touch::In => (true, None, None),
            Touch::Out { since_ms, reason } => (false, Some(*since_ms), Some(reason.clone())),
        };
        api::ClusterView {
            cluster: self.sharing.peers().cluster_name().to_string(),
            node: self.name.to_string(),
            in_touch,
            out_of_touch_since_ms: since,
            problem: cluster.fault().map(|fault| fault.to_string()).or(reason),
            nodes,
            servers: Vec::new(),
        }
    }

    fn own(&self) -> api::ClusterNodeView {
        let control = self.control.upgrade();
        let revision = control.as_ref().map_or(Revision(0), |control| control.state().revision());
        let told = control.map(|control| told(&self.sharing, &control)).unwrap_or_default();
        view(self.name.to_string(), env!("CARGO_PKG_VERSION").to_owned(), revision, 0, told)
    }
}

fn view(
    name: String,
    version: String,
    revision: Revision,
    heard_ms: u64,
    told: Told,
) -> api::ClusterNodeView {
    // A name of a function or a stage has no dot.
    let leads = told.leads.into_iter().map(|lease| lease.replacen('.', "/", 1)).collect();
    api::ClusterNodeView { name, version, revision: revision.0, lag: 0, heard_ms, ready: told.ready, leads }
}

fn told(sharing: &Sharing, control: &NodeControl) -> Told {
    let leases = sharing.peers().leases();
    let leases = leases.borrow();
    let leads = leases.iter().filter_map(|lease| lease.strip_prefix(ROLLOUT)).take(LEADS_MAX);
    let ready = Some(control.unready().borrow().is_none());
    Told { ready, answers: true, leads: leads.map(str::to_owned).collect() }
}

/// Tells the other nodes of this one, until its control plane is gone.
pub(in crate::node) async fn present(sharing: Arc<Sharing>, control: Arc<NodeControl>) {
    let (mut states, mut unready, mut leases) =
        (control.follow(), control.unready(), sharing.peers().leases());
    loop {
        let text = serde_json::to_string(&told(&sharing, &control)).expect("it has text keys");
        let revision = states.borrow_and_update().revision();
        sharing.peers().cluster().messages().present(revision, text);
        let changed = tokio::select! {
            changed = states.changed() => changed,
            changed = unready.changed() => changed,
            changed = leases.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
