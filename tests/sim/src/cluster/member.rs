//! One node of a cluster: its lives, each with a runtime and a virtual clock of its own.
//!
//! Whoever drives it says until when it runs. A node that is stopped is not driven; when it goes on, its
//! clock shows the time that has passed, and everything that waits for it is there at once.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Runtime,
    time::{Instant, advance, sleep_until},
};
use wasm_fn_cluster::{Cluster, ClusterError, ClusterOptions, ReplicatedStore};
use wasm_fn_control::{
    Access, Clock, ControlOptions,
    state::{StageKey, StageRules, State},
};
use wasm_fn_core::{NodeName, Revision};
use wasm_fn_router::Salt;
use wasm_fn_secrets::NodeKey;
use wasm_fn_store::{Blobs, MemoryStore};

use super::{
    network::{Network, SimConnector},
    peers::SimPeers,
    store::{JournalChain, SimReplica, ToldStore},
    truth::Truth,
};
use crate::{
    dice::Dice,
    guest::Node,
    host::SimHost,
    look,
    node::{Plane, SECRETS_KEY},
    people::{self, SimControl, Wish},
    request::{self, Ask},
    world::World,
};

/// What the clocks of all nodes show at first, milliseconds, but for what they are off.
const EPOCH_MS: i64 = 1_000_000_000;

type Kept = ToldStore<ReplicatedStore<SimReplica>>;

/// What a node is made of, whichever life it has.
pub(super) struct Parts {
    pub(super) number: usize,
    pub(super) world: Arc<World>,
    pub(super) truth: Arc<Truth>,
    pub(super) network: Network,
    pub(super) options: ClusterOptions,
    pub(super) folder: PathBuf,
    /// How far its clock is off.
    pub(super) skew_ms: i64,
}

/// A node of a cluster.
pub(super) struct Member {
    pub(super) parts: Parts,
    replica: Arc<MemoryStore>,
    /// The revision that it published last, in whichever life.
    published: Revision,
    lives: u64,
    life: Option<Life>,
}

struct Life {
    // Dropped first: everything else is used by its tasks.
    runtime: Runtime,
    plane: Arc<Plane>,
    control: Arc<SimControl<Kept>>,
    cluster: Cluster,
    store: ReplicatedStore<SimReplica>,
    node: Arc<Node>,
    /// The true time when it began, and what its clock counts from.
    began: (u64, Instant),
}

/// What somebody wants of a node.
pub(super) enum Order {
    Call(Ask),
    Wish(StageKey, Wish),
    /// To leave its cluster.
    Leave,
}

/// How a node stands.
pub(super) struct Standing {
    pub(super) revision: Revision,
    pub(super) is_in_touch: bool,
    /// Why its state does not go on.
    pub(super) fault: Option<String>,
    pub(super) leases: Vec<String>,
    pub(super) state: Arc<State>,
}

impl Member {
    pub(super) fn new(parts: Parts) -> Self {
        let (replica, published) = (Arc::default(), Revision::default());
        Self { parts, replica, published, lives: 0, life: None }
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.parts.options.node
    }

    /// Begins a life at `now_ms`.
    pub(super) fn start(&mut self, now_ms: u64) -> io::Result<()> {
        self.lives += 1;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let opened = runtime.block_on(open(&self.parts, &self.replica, now_ms, self.lives));
        match opened {
            Ok((plane, control, cluster, store, node, began)) => {
                self.life = Some(Life { runtime, plane, control, cluster, store, node, began });
            }
            Err(what) => self.parts.world.fault(what),
        }
        Ok(())
    }

    /// Ends its life, at once.
    pub(super) fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.runtime.block_on(async {
            self.parts.world.say(format_args!("ends"));
            self.parts.world.end();
        });
        drop(life);
        look::at_accounts(&self.parts.world);
    }

    /// Runs until `until_ms`, after `orders`.
    pub(super) fn run(&mut self, orders: Vec<Order>, until_ms: u64, looks: bool) {
        let Some(life) = &mut self.life else { return };
        let asked_ms = self.parts.network.asked_ms(self.parts.number);
        let world = &self.parts.world;
        world.lock().model.heard(asked_ms);
        let until = life.began.1 + Duration::from_millis(until_ms.saturating_sub(life.began.0));
        life.runtime.block_on(async {
            orders.into_iter().for_each(|order| life.take(order));
            sleep_until(until).await;
            if looks {
                look::at_node(world, &life.control, &life.node, &mut self.published);
            }
        });
    }

    /// Goes on after it was stopped: its clock shows `now_ms` before anything else happens.
    pub(super) fn go_on(&mut self, now_ms: u64) {
        let Some(life) = &mut self.life else { return };
        let now = life.began.1 + Duration::from_millis(now_ms.saturating_sub(life.began.0));
        life.runtime.block_on(async {
            advance(now.saturating_duration_since(Instant::now())).await;
            self.parts.world.say(format_args!("goes on"));
        });
    }

    /// Another node has told it that the canary of a gate must get no more requests, which counts from now on
    /// if it has that gate.
    pub(super) fn hear_forbidden(&self, told: &super::Forbidden, now_ms: u64) {
        let Some(life) = &self.life else { return };
        let state = life.control.state();
        let has = state.rollout(&told.key).is_some_and(|rollout| {
            let id = (rollout.canary, rollout.started_ms, rollout.gate_no);
            id == (told.canary, told.started_ms, told.gate_no)
        });
        if has {
            self.parts.world.happened("forbidden by another node");
            let id = (told.canary, told.started_ms);
            self.parts.world.lock().model.forbid(told.key.clone(), id, told.gate_no, now_ms);
        }
    }

    /// Somebody's wish, drawn for this node.
    pub(super) fn draw_wish(&self) -> Option<Wish> {
        self.life.as_ref().map(|life| Wish::draw(&life.plane))
    }

    pub(super) fn stands(&self) -> Option<Standing> {
        let life = self.life.as_ref()?;
        life.runtime.block_on(async {
            let told: BTreeSet<_> = life.cluster.leases().watch().borrow().clone();
            let leases = told.into_iter().filter(|name| life.cluster.leases().held(name).is_some()).collect();
            let taken = matches!(life.cluster.fault(), Some(ClusterError::NameTaken { .. }));
            let taken = taken.then(|| "its name is taken".to_owned());
            Some(Standing {
                revision: life.control.state().revision(),
                is_in_touch: life.cluster.contact().is_in_touch(),
                fault: life.store.fault().map(|error| error.to_string()).or(taken),
                leases,
                state: life.control.state(),
            })
        })
    }

    /// Reads its whole journal again.
    pub(super) fn look_back(&self) {
        let Some(life) = &self.life else { return };
        let waiting = self.parts.world.lock().requests.pending.len();
        if waiting > 0 {
            self.parts.world.fault(format!("{waiting} requests wait for an answer that should have come"));
        }
        life.runtime.block_on(look::back(&self.parts.world, &life.control, &*self.replica));
    }
}

impl Life {
    fn take(&self, order: Order) {
        match order {
            Order::Call(ask) => {
                tokio::spawn(request::live(Arc::clone(&self.plane), ask));
            }
            Order::Wish(key, wish) => {
                tokio::spawn(people::wish(Arc::clone(&self.plane), Arc::clone(&self.control), key, wish));
            }
            Order::Leave => {
                let cluster = self.cluster.clone();
                tokio::spawn(async move { cluster.leave().await });
            }
        }
    }
}

type Opened =
    (Arc<Plane>, Arc<SimControl<Kept>>, Cluster, ReplicatedStore<SimReplica>, Arc<Node>, (u64, Instant));

async fn open(parts: &Parts, kept: &Arc<MemoryStore>, now_ms: u64, life: u64) -> Result<Opened, String> {
    let Parts { number, world, truth, network, options, folder, skew_ms } = parts;
    let began = (now_ms, Instant::now());
    world.begin_at(now_ms);
    world.say(format_args!("begins its life {life}"));
    let dice = Dice::new(world.lock().dice.bits());
    let connector = SimConnector::new(network.clone(), *number, began, dice);
    let cluster = Cluster::start_over(options.clone(), Arc::new(connector));
    let cluster = cluster.map_err(|error| error.to_string())?;
    let replica = SimReplica {
        kept: Arc::clone(kept),
        world: Arc::clone(world),
        truth: Arc::clone(truth),
        disk: world.scenario.disk,
    };
    let store = cluster.store(replica, Arc::new(JournalChain)).await.map_err(|error| error.to_string())?;
    let node = Node::new(Arc::clone(world));
    let salts = Arc::clone(world);
    let peers = SimPeers::new(options.node.clone(), cluster.clone());
    let shows_ms = (EPOCH_MS + skew_ms).unsigned_abs() + now_ms;
    let control = SimControl::open(ControlOptions {
        host: Arc::new(SimHost::new(Arc::clone(&node))),
        store: ToldStore { store: store.clone(), world: Arc::clone(world), truth: Arc::clone(truth) },
        blobs: Arc::new(Blobs::open(folder, 1024).map_err(|error| error.to_string())?.in_place()),
        access: Access::only("wfn_sim".to_owned()),
        secrets_key: NodeKey::parse(SECRETS_KEY).expect("it is a key"),
        clock: Clock::showing(shows_ms),
        stage_rules: StageRules::new(),
        salt: Box::new(move || {
            let dice = &mut salts.lock().dice;
            Salt([dice.bits(), dice.bits()])
        }),
        peers: Some(Arc::new(peers)),
    });
    let control = control.await.map_err(|error| error.to_string())?;
    let plane = Plane { world: Arc::clone(world), tables: control.tables(), folder: folder.clone() };
    Ok((Arc::new(plane), control, cluster, store, node, began))
}
