//! Components in a cluster: every node gets those that another has taken, and compiles them before they have
//! traffic.
//!
//! This part knows which component is wanted, and not by which rollout, nor what is in it.

mod words;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use wasm_fn_control::{
    host::Rejection,
    peers::{PeerMessage, Peers as _},
};
use wasm_fn_core::{Digest, NodeName, Revision, Weight};
use wasm_fn_runtime::{NativeCode, Runtime};
use wasm_fn_store::Blobs;

use self::words::{NodeWord, SharedCode, read, write};
use super::{
    super::host::NodeControl,
    peers::{ClusterPeers, Topic},
    sha256_of,
};

/// A node that was not heard of for longer does not have to be ready for a deployment.
const ALIVE: Duration = Duration::from_secs(3);

/// How long it takes to hear of every node: each tells of itself once a second.
const ACQUAINTANCE: Duration = Duration::from_millis(1500);

/// For how long a deployment waits for the other nodes.
const PATIENCE: Duration = Duration::from_mins(10);

/// How often a question is told again, since messages may be lost.
const AGAIN: Duration = Duration::from_secs(1);

/// How long to wait before a component is asked for again.
const RETRY: Duration = Duration::from_secs(2);

/// Nodes whose answers are remembered.
const NODES_MAX: usize = 1000;

/// Components that are fetched and compiled at a time for other nodes.
const AT_ONCE: usize = 2;

/// How long changes are gathered before components are looked for.
const GATHER: Duration = Duration::from_millis(100);

/// What another node answered about a component.
type Answer = Result<(), String>;

/// The answers to a question about a component, which several deployments may have asked.
#[derive(Default)]
struct Asked {
    deployments: usize,
    answers: BTreeMap<NodeName, Answer>,
}

/// A question of one deployment, which is open until this is dropped.
struct Question<'a> {
    sharing: &'a Sharing,
    component: Digest,
}

impl<'a> Question<'a> {
    fn ask(sharing: &'a Sharing, component: Digest) -> Self {
        sharing.open().entry(component).or_default().deployments += 1;
        Self { sharing, component }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut asked) = self.sharing.open().entry(self.component) {
            asked.get_mut().deployments -= 1;
            if asked.get().deployments == 0 {
                asked.remove();
            }
        }
    }
}

/// Shares the components of a node with the others.
pub(crate) struct Sharing {
    peers: Arc<ClusterPeers>,
    runtime: Arc<Runtime>,
    blobs: Arc<Blobs>,
    /// The answers to the questions that are open.
    open: Mutex<BTreeMap<Digest, Asked>>,
    answered: Notify,
    /// Components that are prepared for others at the moment.
    underway: Mutex<BTreeSet<Digest>>,
    turns: Semaphore,
    /// Notified when somebody wants this node to end.
    drained: Notify,
    /// When it has heard of every node that was there before it.
    acquainted: Instant,
}

impl Sharing {
    /// Shares the components in `blobs`, which `runtime` compiles, with `peers`.
    pub(crate) fn start(peers: Arc<ClusterPeers>, runtime: Arc<Runtime>, blobs: Arc<Blobs>) -> Arc<Self> {
        let sharing = Arc::new(Self {
            peers,
            runtime,
            blobs,
            open: Mutex::default(),
            answered: Notify::new(),
            underway: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
            drained: Notify::new(),
            acquainted: Instant::now() + ACQUAINTANCE,
        });
        tokio::spawn(hear(Arc::downgrade(&sharing), Arc::clone(&sharing.peers)));
        sharing
    }

    /// Has the other nodes get a component that this one is about to compile, so that they have it by then.
    pub(crate) fn announce(self: &Arc<Self>, component: Digest) {
        let sharing = Arc::clone(self);
        tokio::spawn(async move {
            if sharing.offer(component).await {
                sharing.say(&NodeWord::Offered { component: component.to_string() });
            }
        });
    }

    /// Whether other nodes are there, which have to prepare what is deployed here.
    pub(crate) async fn has_others(&self) -> bool {
        tokio::time::sleep_until(self.acquainted).await;
        !self.alive().is_empty()
    }

    /// Puts a component where every node finds it, and waits until this `share` of the nodes that are there
    /// can call it. The others go on with it.
    ///
    /// # Errors
    /// It cannot be put there; so many nodes cannot call it, or are silent for too long, that the share is
    /// not reached.
    pub(crate) async fn prepare_everywhere(&self, component: Digest, share: Weight) -> Result<(), Rejection> {
        let put = self.peers.cluster().components().put(component, &self.blobs.path(component)).await;
        put.map_err(|error| rejection(error.to_string(), "deploy it again when the cluster is in order"))?;
        if !self.has_others().await {
            return Ok(());
        }
        let code = self.share_code(component).await;
        let question = Question::ask(self, component);
        let asked = self.ask_all(component, share, code.as_ref()).await;
        drop(question);
        // It was for the nodes that were asked. One that comes later compiles. While some may be at it, it
        // stays, until it is collected.
        if asked.as_ref().is_ok_and(|unready| *unready > 0) {
            tracing::info!(%component, nodes = asked.as_ref().ok(), "version gets traffic before some nodes are ready");
        } else if let Some(digest) = code.and_then(|code| code.sha256.parse().ok())
            && let Err(error) = self.peers.cluster().components().delete(digest).await
        {
            tracing::warn!(%component, %error, "native code was left in the cluster");
        }
        asked.map(drop)
    }

    /// Puts the native code of a component where every node finds it. Without it, each compiles for itself.
    async fn share_code(&self, component: Digest) -> Option<SharedCode> {
        let NativeCode { name, path, mac } = self.runtime.native_code(component).await?;
        let file = path.clone();
        let digest = tokio::task::spawn_blocking(move || sha256_of(&file)).await.ok()?;
        let put = match digest {
            Ok(digest) => {
                let put = self.peers.cluster().components().put(digest, &path).await;
                put.map(|()| digest).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match put {
            Ok(digest) => Some(SharedCode { name, mac: hex::encode(mac), sha256: digest.to_string() }),
            Err(reason) => {
                tracing::warn!(%component, reason, "native code is not shared: each node compiles");
                None
            }
        }
    }

    /// Asks all nodes until this `share` of them, this one included, can call the component. Returns how many
    /// cannot yet.
    async fn ask_all(
        &self,
        component: Digest,
        share: Weight,
        code: Option<&SharedCode>,
    ) -> Result<usize, Rejection> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answered = self.answered.notified();
            let alive = self.alive();
            let all = alive.len() + 1;
            let (mut missing, mut refused) = (Vec::new(), Vec::new());
            {
                let open = self.open();
                let answers = open.get(&component);
                for node in alive {
                    match answers.and_then(|asked| asked.answers.get(&node)) {
                        Some(Ok(())) => {}
                        Some(Err(reason)) => refused.push((node, reason.clone())),
                        None => missing.push(node),
                    }
                }
            }
            let unready = missing.len() + refused.len();
            if is_enough(all - unready, all, share) {
                return Ok(unready);
            }
            if let Some((node, reason)) = refused.first()
                && !is_enough(all - refused.len(), all, share)
            {
                let message = format!("node {node} cannot prepare the component: {reason}");
                return Err(rejection(
                    message,
                    "look at the log of that node, or drain it, and deploy again",
                ));
            }
            if Instant::now() >= until {
                let names: Vec<_> = missing.iter().map(NodeName::as_str).collect();
                let message = format!("no answer from {} after {PATIENCE:?}", names.join(", "));
                return Err(rejection(
                    message,
                    "look at the log of that node, or drain it, and deploy again",
                ));
            }
            self.say(&NodeWord::Prepare { component: component.to_string(), code: code.cloned() });
            let _ = tokio::time::timeout(AGAIN, answered).await;
        }
    }

    /// The other nodes that were heard of lately.
    fn alive(&self) -> BTreeSet<NodeName> {
        let members = self.peers.cluster().messages().members().into_iter();
        members.filter(|member| member.age < ALIVE).map(|member| member.name).collect()
    }

    /// Has the component here if the cluster has it and can be asked.
    pub(crate) async fn obtain(&self, component: Digest) {
        if !self.peers.is_in_touch() {
            return;
        }
        if let Err(reason) = self.fetch(component).await {
            tracing::debug!(%component, reason, "component is not had from the cluster");
        }
    }

    /// Puts a component that was uploaded where every node finds it, if the cluster can be reached. It is put
    /// there at the latest when it is deployed. Returns whether it is there.
    pub(crate) async fn offer(&self, component: Digest) -> bool {
        if !self.peers.is_in_touch() {
            return false;
        }
        let put = self.peers.cluster().components().put(component, &self.blobs.path(component)).await;
        if let Err(error) = &put {
            tracing::warn!(%component, %error, "uploaded component is not shared yet");
        }
        put.is_ok()
    }

    /// Has the component here, from the cluster if need be.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn fetch(&self, component: Digest) -> Result<(), String> {
        let found = self.blobs.find(component).await.map_err(|error| error.to_string())?;
        if found.is_some() {
            return Ok(());
        }
        let blobs = Arc::clone(&self.blobs);
        let scratch = tokio::task::spawn_blocking(move || blobs.scratch()).await;
        let scratch = scratch.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let draft = scratch.path().join("component");
        let got = self.peers.cluster().components().get(component, &draft).await;
        got.map_err(|error| error.to_string())?;
        let blobs = Arc::clone(&self.blobs);
        let adopted = tokio::task::spawn_blocking(move || {
            let adopted = blobs.adopt(component, &draft);
            drop(scratch);
            adopted
        });
        adopted.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Gets the component and compiles it, as often as it takes until the node can. Whoever asks again
    /// meanwhile gets the same answer.
    async fn prepare(self: Arc<Self>, component: Digest, code: Option<SharedCode>) {
        if !self.underway().insert(component) {
            return;
        }
        let answer = self.prepare_here(component, code).await;
        self.underway().remove(&component);
        let component = component.to_string();
        self.say(&match answer {
            Ok(()) => NodeWord::Prepared { component },
            Err(reason) => NodeWord::Refused { component, reason },
        });
    }

    async fn prepare_here(&self, component: Digest, code: Option<SharedCode>) -> Answer {
        let _turn = self.turns.acquire().await.map_err(|_| "the node is stopping".to_owned())?;
        // The one that was uploaded may be unused here until its version exists.
        let _pin = self.blobs.pin(component);
        self.fetch(component).await?;
        if let Some(code) = code
            && !self.runtime.missing(vec![component]).await.is_empty()
            && let Err(reason) = self.take_code(component, code).await
        {
            tracing::info!(%component, reason, "native code of another node is not taken: it is compiled here");
        }
        self.compile(component).await
    }

    /// Compiles the component, as often as it takes until there is room for it.
    async fn compile(&self, component: Digest) -> Answer {
        if self.runtime.missing(vec![component]).await.is_empty() {
            return Ok(());
        }
        loop {
            match self.runtime.compile(component, None).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_busy() => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Takes the native code that another node has shared, if it is for this engine and processor.
    async fn take_code(&self, component: Digest, code: SharedCode) -> Result<(), String> {
        let SharedCode { name, mac, sha256 } = code;
        let digest: Digest = sha256.parse().map_err(|_| "its digest cannot be read".to_owned())?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(mac, &mut bytes).map_err(|_| "its hash cannot be read".to_owned())?;
        let blobs = Arc::clone(&self.blobs);
        let scratch = tokio::task::spawn_blocking(move || blobs.scratch()).await;
        let scratch = scratch.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let path = scratch.path().join("code");
        let got = self.peers.cluster().components().get(digest, &path).await;
        got.map_err(|error| error.to_string())?;
        let code = NativeCode { name, path, mac: bytes };
        match self.runtime.take_native_code(component, code).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it is for another engine or processor".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Has the node called `node` end, if it hears of it.
    pub(crate) fn drain(&self, node: &NodeName) {
        if node == self.peers.name() {
            self.drained.notify_one();
        } else {
            self.say(&NodeWord::Drain { node: node.to_string() });
        }
    }

    pub(super) fn peers(&self) -> &Arc<ClusterPeers> {
        &self.peers
    }

    /// Begins to leave the cluster: others decide in its place, and do not wait for it.
    pub(crate) fn retire(&self) {
        self.peers.cluster().retire();
    }

    /// Leaves the cluster.
    pub(crate) async fn leave(&self) {
        self.peers.cluster().leave().await;
    }

    /// Waits until somebody wants this node to end.
    pub(crate) async fn drained(&self) {
        self.drained.notified().await;
    }

    fn say(&self, word: &NodeWord) {
        self.peers.send(Topic::Components, &write(word));
    }

    fn take(self: &Arc<Self>, message: &PeerMessage) {
        let word = match read(&message.body) {
            Ok(word) => word,
            Err(reason) => {
                tracing::debug!(node = %message.from, reason, "message of another node is passed over");
                return;
            }
        };
        match word {
            NodeWord::Offered { component } => {
                if let Ok(component) = component.parse() {
                    let sharing = Arc::clone(self);
                    tokio::spawn(async move {
                        let Ok(_turn) = sharing.turns.acquire().await else { return };
                        sharing.obtain(component).await;
                    });
                }
            }
            NodeWord::Prepare { component, code } => {
                if let Ok(component) = component.parse() {
                    tokio::spawn(Arc::clone(self).prepare(component, code));
                }
            }
            NodeWord::Prepared { component } => self.answer(&component, &message.from, Ok(())),
            NodeWord::Refused { component, reason } => self.answer(&component, &message.from, Err(reason)),
            NodeWord::Drain { node } if node == self.peers.name().as_str() => {
                tracing::info!(asked = %message.from, "another node was told that this one is to end");
                self.drained.notify_one();
            }
            NodeWord::Drain { .. } => {}
        }
    }

    /// Notes an answer to a question of this node.
    fn answer(&self, component: &str, from: &NodeName, answer: Answer) {
        let Ok(component) = component.parse::<Digest>() else { return };
        if let Some(Asked { answers, .. }) = self.open().get_mut(&component)
            && (answers.len() < NODES_MAX || answers.contains_key(from))
        {
            answers.insert(from.clone(), answer);
            self.answered.notify_waiters();
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Digest, Asked>> {
        // Nothing panics while holding the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn underway(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        // Nothing panics while holding the lock.
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what other nodes tell, until the node is gone.
async fn hear(sharing: Weak<Sharing>, peers: Arc<ClusterPeers>) {
    loop {
        let message = peers.about_components().await;
        let Some(sharing) = sharing.upgrade() else { return };
        sharing.take(&message);
    }
}

/// Gets the components of all versions that `control` has and this node has not, and compiles those with
/// traffic.
pub(crate) async fn complete(sharing: Arc<Sharing>, control: Arc<NodeControl>) {
    let mut states = control.follow();
    let (mut seen, mut tried) = (None::<Revision>, HashSet::new());
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let changed =
            state.functions().filter(|(_, function)| seen.is_none_or(|seen| function.revision > seen));
        let (mut components, mut served) = (BTreeSet::new(), BTreeSet::new());
        for (_, function) in changed {
            components.extend(function.versions.values().map(|version| version.build.digest));
            let shares = function.stages.values().flat_map(|stage| stage.split.shares());
            let versions = shares.filter_map(|(version, _)| function.versions.get(version));
            served.extend(versions.map(|version| version.build.digest));
        }
        let mut failed = false;
        for component in components {
            if let Err(reason) = sharing.fetch(component).await {
                failed = true;
                if tried.insert(component) {
                    tracing::warn!(%component, reason, "component cannot be had from the cluster");
                }
            }
        }
        // A node that was not there when they were deployed has not compiled them.
        for component in served {
            if let Err(reason) = sharing.compile(component).await {
                tracing::warn!(%component, reason, "component cannot be compiled");
            }
        }
        if failed {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        seen = Some(state.revision());
        if states.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Whether `ready` of `all` nodes are this `share` of them.
fn is_enough(ready: usize, all: usize, share: Weight) -> bool {
    let points = |weight: Weight| usize::from(weight.basis_points());
    ready.saturating_mul(points(Weight::FULL)) >= all.saturating_mul(points(share))
}

fn rejection(message: String, help: &str) -> Rejection {
    Rejection { code: "cluster-not-prepared", message, help: Some(help.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_the_nodes_is_reached_with_this_one() {
        let enough = |ready, all, share: &str| is_enough(ready, all, share.parse().unwrap());
        assert!(enough(5, 5, "100%") && !enough(4, 5, "100%"));
        assert!(enough(4, 5, "80%") && !enough(3, 5, "80%"));
        assert!(enough(2, 3, "66%") && !enough(2, 3, "67%"));
        assert!(enough(1, 64, "0%"));
    }
}
