//! Several nodes of a cluster on one thread: the real control plane and the real replica, leases and contact
//! of each, over a broker and a network that pretend.
//!
//! Each node has a runtime and a virtual clock of its own, and is driven in short turns, one node after the
//! other. So one can be stopped while its clock goes on, or ended with all that it does. Between the turns
//! messages arrive, faults begin and end, and what must hold is looked at.

mod broker;
mod ending;
mod member;
mod network;
mod peers;
mod plan;
mod store;
mod truth;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tempfile::TempDir;
use wasm_fn_cluster::{ClusterOptions, InitOptions, Monitors, init_over};
use wasm_fn_control::state::{ReleaseStrategy, StageKey};
use wasm_fn_core::{NodeName, StageName, VersionNo};
use wasm_fn_queue::ClientConfig;

use crate::{
    Run,
    dice::Dice,
    model::{Model, Scope},
    node::REQUESTS_MAX,
    people::Wish,
    request::Ask,
    scenario::Scenario,
    trace::Trace,
    world::World,
};

use self::{
    member::{Member, Order, Parts, Standing},
    network::{DirectConnector, Network},
    plan::{Fault, Nodes, Plan},
    truth::Truth,
};

/// How long a node runs in one turn, and in one while nobody calls it, milliseconds.
const TURN_MS: u64 = 4;
const LONG_TURN_MS: u64 = 10;

/// How often nodes are looked at, in turns.
const LOOKS_EVERY: u64 = 5;

/// Longest time until all nodes are in touch at first, and until all have the first functions.
const READY_MAX_MS: u64 = 30_000;

/// How soon the first functions are deployed again if they are not there.
const AGAIN_MS: u64 = 7000;

/// How long after the last fault and the last request everything has to be as it should: the longest wait for
/// a connection, and the time in which a log that is shorter may be a deposed server's.
const SETTLES_MS: u64 = 60_000;

/// Share of the requests for a node that is stopped which wait for it. Others go to another one.
const WAITS_FOR_STOPPED: f64 = 0.2;

/// The subjects of what the broker keeps of a cluster with this name.
const CLUSTER: &str = "sim";
const COMMITS: &str = "wasm-fn.sim.log";
const LEASES: &str = "wasm-fn.sim.leases";

/// Which scenarios are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// All of them.
    Any,
    /// One rollout, of a canary that is as good as stable, on five nodes, and no fault.
    Identical,
}

/// What a node told all others: the canary of a gate must get no more requests.
struct Forbidden {
    key: StageKey,
    canary: VersionNo,
    started_ms: u64,
    gate_no: u32,
}

/// What keeps a node from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// It runs.
    None,
    Stopped,
    /// It takes no more requests, and is going to end.
    Leaving,
    Ended,
}

struct Sim {
    plan: Plan,
    scenario: Arc<Scenario>,
    dice: Dice,
    trace: Arc<Mutex<Trace>>,
    truth: Arc<Truth>,
    network: Network,
    members: Vec<Member>,
    halts: Vec<Halt>,
    /// Orders for each node's next turn.
    orders: Vec<Vec<Order>>,
    now_ms: u64,
    turns: u64,
    /// Faults under way, with when they end.
    under_way: Vec<(u64, Fault)>,
    requests: u64,
    happened: BTreeMap<&'static str, u64>,
    fault: Option<String>,
    /// The first revision of which the broker lost what some node has.
    lost: bool,
    _folder: TempDir,
}

/// Runs `seed`; keeps its trace if told to.
///
/// # Errors
/// The machine: no temporary folder, no runtime.
pub fn run_cluster(seed: u64, kind: ClusterKind, keep_trace: bool) -> io::Result<Run> {
    let mut sim = Sim::new(seed, kind, keep_trace)?;
    sim.live()?;
    Ok(sim.into_run())
}

impl Sim {
    fn new(seed: u64, kind: ClusterKind, keep_trace: bool) -> io::Result<Self> {
        // Neighbouring seeds are to have nothing in common, nor with those of a node that is alone.
        let mut dice = Dice::new(!seed);
        let mut dice = Dice::new(dice.bits());
        let scenario = match kind {
            ClusterKind::Any => Scenario::of_cluster(&mut dice),
            ClusterKind::Identical => Scenario::of_cluster_with_identical(&mut dice),
        };
        let mut plan = Plan::draw(&scenario, &mut dice);
        if kind == ClusterKind::Identical {
            plan = plan.with_nodes(5);
        }
        let scenario = Arc::new(scenario);
        let trace = Arc::new(Mutex::new(Trace::new(keep_trace)));
        let truth = Arc::new(Truth::new(Arc::clone(&scenario)));
        let network = Network::new(dice.bits(), plan.nodes, plan.weather);
        let folder = tempfile::tempdir()?;
        make(&network, &plan)?;
        let mut members = Vec::new();
        for number in 0..plan.nodes {
            let name: NodeName = format!("node-{}", number + 1).parse().expect("it is a name");
            let lease_ms = u64::try_from(plan.lease.as_millis()).unwrap_or(u64::MAX);
            let model = Model::of(Scope::Node { whole: Arc::clone(&truth.whole), lease_ms });
            let (own, scenario) = (Dice::new(dice.bits()), Arc::clone(&scenario));
            let world = World::of_node(name.to_string(), scenario, own, Arc::clone(&trace), model);
            truth.join(Arc::clone(&world));
            members.push(Member::new(Parts {
                number,
                world,
                truth: Arc::clone(&truth),
                network: network.clone(),
                options: options(&plan, name),
                folder: folder.path().join(number.to_string()),
                skew_ms: plan.skews_ms[number],
            }));
        }
        let halts = vec![Halt::None; plan.nodes];
        let orders = (0..plan.nodes).map(|_| Vec::new()).collect();
        let mut sim = Self {
            plan,
            scenario,
            dice,
            trace,
            truth,
            network,
            members,
            halts,
            orders,
            now_ms: 0,
            turns: 0,
            under_way: Vec::new(),
            requests: 0,
            happened: BTreeMap::new(),
            fault: None,
            lost: false,
            _folder: folder,
        };
        let (plan, scenario) = (sim.plan.clone(), Arc::clone(&sim.scenario));
        sim.say(format_args!("seed {seed}: {plan:?} {scenario:?}"));
        Ok(sim)
    }

    fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).say(self.now_ms, "", what);
    }

    fn fail(&mut self, what: String) {
        self.say(format_args!("FAULT {what}"));
        self.fault.get_or_insert(what);
    }

    /// Takes what does not hold on some node; returns whether there is anything.
    fn has_failed(&mut self) -> bool {
        let found = self.members.iter().find_map(|member| member.parts.world.found());
        self.fault = self.fault.take().or(found);
        self.fault.is_some()
    }

    fn live(&mut self) -> io::Result<()> {
        for member in &mut self.members {
            member.start(0)?;
        }
        if !self.becomes(READY_MAX_MS, |stands| stands.is_in_touch)? {
            self.fail("not all nodes are in touch".to_owned());
            return Ok(());
        }
        self.begin()?;
        let began_ms = self.now_ms;
        let lasts_ms: u64 = self.scenario.loads.iter().map(|load| load.lasts_ms).sum();
        let mut faults: Vec<_> = self.plan.faults.clone();
        faults.reverse();
        let mut commands: Vec<_> = self.scenario.pauses.clone();
        commands.reverse();
        let mut command_ms = self.next_command();
        let mut call_ms = self.now_ms;
        while self.now_ms < began_ms + lasts_ms && !self.has_failed() {
            let ran_ms = self.now_ms - began_ms;
            while let Some((_, fault)) = faults.pop_if(|(at_ms, _)| *at_ms <= ran_ms) {
                self.strike(fault)?;
            }
            if let Some((_, command)) = commands.pop_if(|(at_ms, _)| *at_ms <= ran_ms) {
                self.wish(Some(Wish::Command(command)));
            }
            if self.now_ms >= command_ms {
                self.wish(None);
                command_ms = self.next_command();
            }
            while call_ms <= self.now_ms {
                self.call();
                let per_second = self.scenario.loads.first().map_or(1.0, |load| load.per_second);
                call_ms += self.dice.wait_ms(1000.0 / per_second);
            }
            self.turn(TURN_MS)?;
            if self.plan.calm {
                let overdue = self.truth.whole().watch(self.now_ms);
                overdue.unwrap_or_else(|what| self.fail(what));
            }
        }
        self.settle()
    }

    /// Has every function deployed; in a quiet scenario, the canary after it.
    fn begin(&mut self) -> io::Result<()> {
        let count = self.scenario.functions.len();
        let has_all = |stands: &Standing| stands.state.functions().count() == count;
        let until_ms = self.now_ms + READY_MAX_MS;
        while !self.becomes(AGAIN_MS, has_all)? {
            if self.has_failed() || self.now_ms > until_ms {
                self.fail("not all nodes have the first functions".to_owned());
                return Ok(());
            }
            // A message that is lost may cost a try.
            let state = self.truth.last();
            for at in 0..count {
                let key = self.key(at);
                if state.function(&key.0).is_err() {
                    let (component, strategy) = (0, ReleaseStrategy::AllAtOnce);
                    let wish = Wish::Deploy { component, strategy, replace: false };
                    self.orders[0].push(Order::Wish(key, wish));
                }
            }
        }
        if !self.scenario.quiet {
            return Ok(());
        }
        for _ in 0..self.scenario.past.unwrap_or(0) {
            self.call();
            self.turn(LONG_TURN_MS)?;
        }
        let strategy = self.scenario.strategy(&mut self.dice);
        self.wish(Some(Wish::Deploy { component: 1, strategy, replace: false }));
        Ok(())
    }

    /// Waits until `is_so` for all nodes, at most `most_ms`; returns whether it is.
    fn becomes(&mut self, most_ms: u64, is_so: impl Fn(&Standing) -> bool) -> io::Result<bool> {
        let until_ms = self.now_ms + most_ms;
        while self.now_ms < until_ms && !self.has_failed() {
            if self.members.iter().all(|member| member.stands().is_some_and(|stands| is_so(&stands))) {
                return Ok(true);
            }
            self.turn(TURN_MS)?;
        }
        Ok(false)
    }

    /// One turn of every node that runs; then what is on its way arrives, and what was to end does.
    fn turn(&mut self, lasts_ms: u64) -> io::Result<()> {
        self.turns += 1;
        let until_ms = self.now_ms + lasts_ms;
        let looks = self.turns.is_multiple_of(LOOKS_EVERY);
        for (number, member) in self.members.iter_mut().enumerate() {
            if matches!(self.halts[number], Halt::None | Halt::Leaving) {
                member.run(std::mem::take(&mut self.orders[number]), until_ms, looks);
            }
        }
        self.now_ms = until_ms;
        for heard in self.network.move_on(until_ms) {
            if let Some(told) = forbidden(&heard.payload) {
                self.members[heard.to].hear_forbidden(&told, until_ms);
            }
        }
        let ended: Vec<_> = self.under_way.extract_if(.., |(at_ms, _)| *at_ms <= until_ms).collect();
        for (_, fault) in ended {
            self.mend(fault)?;
        }
        if looks {
            self.look_at_leases();
        }
        Ok(())
    }

    /// Checks that nobody has what another one has.
    fn look_at_leases(&mut self) {
        let mut holders = BTreeMap::new();
        let mut twice = None;
        for (number, member) in self.members.iter().enumerate() {
            if self.halts[number] == Halt::Stopped {
                continue;
            }
            let Some(stands) = member.stands() else { continue };
            for lease in stands.leases {
                if let Some(other) = holders.insert(lease.clone(), member.name().clone()) {
                    twice = Some(format!("{lease} is had by {other} and {}", member.name()));
                }
            }
        }
        if let Some(what) = twice {
            self.fail(what);
        }
    }

    fn next_command(&mut self) -> u64 {
        let every_ms = self.scenario.command_every_ms;
        if every_ms.is_finite() { self.now_ms + self.dice.wait_ms(every_ms) } else { u64::MAX }
    }

    /// A node that takes requests, or one that is stopped.
    fn any_node(&mut self, stopped: bool) -> Option<usize> {
        let can = |halt: &Halt| *halt == Halt::None || (stopped && *halt == Halt::Stopped);
        let nodes: Vec<_> = (0..self.members.len()).filter(|&node| can(&self.halts[node])).collect();
        (!nodes.is_empty()).then(|| self.dice.pick(&nodes))
    }

    /// Somebody wants something of some node: `wish`, or anything.
    fn wish(&mut self, wish: Option<Wish>) {
        let Some(node) = self.any_node(false) else { return };
        let key = self.any_key();
        if let Some(wish) = wish.or_else(|| self.members[node].draw_wish()) {
            self.orders[node].push(Order::Wish(key, wish));
        }
    }

    /// Somebody calls a function, through a balancer.
    fn call(&mut self) {
        if self.requests == REQUESTS_MAX {
            return;
        }
        self.requests += 1;
        let key = self.any_key();
        let ask = Ask::draw(key, &self.scenario, &mut self.dice);
        let stopped = self.dice.chance(WAITS_FOR_STOPPED);
        if let Some(node) = self.any_node(stopped) {
            self.orders[node].push(Order::Call(ask));
        }
    }

    fn any_key(&mut self) -> StageKey {
        let last = self.scenario.functions.len() as u64 - 1;
        let at = usize::try_from(self.dice.within(0..=last)).expect("an index fits");
        self.key(at)
    }

    fn key(&self, at: usize) -> StageKey {
        (self.scenario.functions[at].clone(), StageName::live())
    }

    /// `fault` begins.
    fn strike(&mut self, fault: Fault) -> io::Result<()> {
        let halts = |sim: &mut Self, node: usize, halt| {
            let runs = sim.halts[node] == Halt::None;
            if runs {
                sim.halts[node] = halt;
            }
            runs
        };
        let strikes = match fault {
            Fault::Pause { node, .. } => {
                let strikes = halts(self, node, Halt::Stopped);
                if strikes {
                    self.network.pause(node, true);
                }
                strikes
            }
            Fault::Crash { node, .. } => {
                let strikes = halts(self, node, Halt::Ended);
                if strikes {
                    self.members[node].kill();
                    self.orders[node].clear();
                }
                strikes
            }
            Fault::Restart { node, .. } => {
                let strikes = halts(self, node, Halt::Leaving);
                if strikes {
                    self.orders[node].push(Order::Leave);
                }
                strikes
            }
            Fault::Cut { .. } => true,
            Fault::Depose { nodes, .. } => {
                self.each(nodes, |network, node| network.depose(node, true));
                true
            }
            Fault::Stall { for_ms } => {
                self.network.stall(self.now_ms + for_ms);
                true
            }
            Fault::Broker { changes, tables, .. } => {
                let is_up = !self.under_way.iter().any(|(_, other)| matches!(other, Fault::Broker { .. }));
                if is_up {
                    self.network.stop();
                    self.network.lose(LEASES, tables, 1);
                    self.network.lose(COMMITS, changes, 0);
                    let has =
                        self.network.read(|broker| broker.payloads(COMMITS).last().map_or(0, |it| it.0));
                    self.lost |= has < self.truth.head().0;
                }
                is_up
            }
        };
        if strikes {
            self.say(format_args!("{fault:?} begins"));
            *self.happened.entry(fault.as_str()).or_default() += 1;
            self.under_way.push((self.now_ms + fault.for_ms(), fault));
            self.set_paths();
        }
        Ok(())
    }

    /// `fault` ends.
    fn mend(&mut self, fault: Fault) -> io::Result<()> {
        self.say(format_args!("{fault:?} ends"));
        match fault {
            Fault::Pause { node, .. } => {
                self.network.pause(node, false);
                self.halts[node] = Halt::None;
                self.members[node].go_on(self.now_ms);
            }
            Fault::Crash { node, .. } => {
                self.halts[node] = Halt::None;
                self.members[node].start(self.now_ms)?;
            }
            Fault::Restart { node, .. } => {
                self.members[node].kill();
                self.orders[node].clear();
                self.halts[node] = Halt::None;
                self.members[node].start(self.now_ms)?;
            }
            Fault::Depose { nodes, .. } => self.each(nodes, |network, node| network.depose(node, false)),
            Fault::Broker { elects_ms, .. } => self.network.start(self.now_ms + elects_ms),
            Fault::Cut { .. } | Fault::Stall { .. } => {}
        }
        self.set_paths();
        Ok(())
    }

    fn each(&self, nodes: Nodes, act: impl Fn(&Network, usize)) {
        (0..self.members.len()).filter(|&node| nodes.has(node)).for_each(|node| act(&self.network, node));
    }

    /// Cuts what is to be cut, and nothing else.
    fn set_paths(&self) {
        for node in 0..self.members.len() {
            let (mut cut_to, mut cut_from) = (false, false);
            for (_, fault) in &self.under_way {
                if let Fault::Cut { nodes, to, from, .. } = fault
                    && nodes.has(node)
                {
                    (cut_to, cut_from) = (cut_to || *to, cut_from || *from);
                }
            }
            self.network.cut(node, cut_to, cut_from);
        }
        self.network.release();
    }

    fn into_run(mut self) -> Run {
        self.has_failed();
        let mut happened = std::mem::take(&mut self.happened);
        let worlds = self.members.iter().map(|member| member.parts.world.lock().happened.clone());
        for (what, count) in worlds.chain([self.network.happened()]).flatten() {
            *happened.entry(what).or_default() += count;
        }
        let verdicts = self.truth.whole().verdicts;
        let trace = std::mem::take(&mut *self.trace.lock().unwrap_or_else(PoisonError::into_inner));
        Run::new(self.fault, trace, happened, verdicts)
    }
}

/// Makes the cluster.
fn make(network: &Network, plan: &Plan) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let options = options(plan, "maker".parse().expect("it is a name"));
    let wanted = InitOptions {
        replicas: plan.replicas,
        key: None,
        base: None,
        inbox: None,
        components_bytes_max: None,
        monitors: Monitors::default(),
    };
    let made = runtime.block_on(init_over(&DirectConnector(network.clone()), &options, &wanted));
    made.map(drop).map_err(io::Error::other)
}

fn options(plan: &Plan, node: NodeName) -> ClusterOptions {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tls = Arc::new(tls);
    ClusterOptions {
        brokers: vec!["nats://127.0.0.1:1".parse().expect("it is an address")],
        cluster: CLUSTER.parse().expect("it is a name"),
        node,
        program: "0.0.0".to_owned(),
        credentials: Arc::new(|| Ok(None)),
        tls: Arc::new(move || Arc::clone(&tls)),
        addresses: Arc::new(|_: SocketAddr| Ok(())),
        lease: plan.lease,
        // Snapshots are files, which nodes of the simulation do not have.
        log_keep: u64::MAX,
        cluster_id: None,
        key: None,
    }
}

/// What `payload`, a message from node to node, forbids.
fn forbidden(payload: &[u8]) -> Option<Forbidden> {
    let json = payload.strip_prefix(b"e\x01").filter(|json| json.ends_with(b"\"withheld\":true}"))?;
    let told: Value = serde_json::from_slice(json).ok()?;
    let text = |name: &str| told.get(name)?.as_str();
    let number = |name: &str| told.get(name)?.as_u64();
    let key = (text("function")?.parse().ok()?, text("stage")?.parse().ok()?);
    let canary = VersionNo::new(u32::try_from(number("canary")?).ok()?)?;
    let gate_no = u32::try_from(number("gate_no")?).ok()?;
    Some(Forbidden { key, canary, started_ms: number("started_ms")?, gate_no })
}
